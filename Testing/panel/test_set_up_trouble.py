"""What goes wrong while PyTorch is set up, with the real pip: told in plain words, and it can be tried again."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import user
from scripted_home import ROOM, doctorSays
from section_bench import SectionBench, makeWorkspace, parameters

PATIENCE_S = 60


@pytest.fixture
def home(tmp_path):
    """The application's folder; its PythonSlicer is a doctor that says what the test wants."""
    doctorSays(tmp_path, "ready", "missing", **ROOM)
    return tmp_path


@pytest.fixture
def bench(slicer, home):
    from SKCDFSegmenterLib.Panels.ProjectPanel import ProjectPanel

    made = SectionBench(ProjectPanel, makeWorkspace(home), parameters(), installs=True)
    yield made
    made.close()


@pytest.fixture
def realPip(slicer, monkeypatch, tmp_path):
    """Slicer's pip of a Slicer before 5.12; it installs into a folder of its own, and knows no server yet."""

    def install(arguments: list[str]) -> None:
        options = ["install", "--disable-pip-version-check", "--target", str(tmp_path / "packages")]
        slicer.util.executePythonModule("pip", [*options, *arguments])

    settings = {
        "RETRIES": "1",
        "TIMEOUT": "5",
        "CONFIG_FILE": "/dev/null",
        "FIND_LINKS": "",
        "NO_CACHE_DIR": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(slicer.util, "pip_install", install, raising=False)
    return tmp_path / "packages"


class CutsOff(http.server.BaseHTTPRequestHandler):
    """A server of packages that breaks off in the middle of each of them."""

    def do_GET(self) -> None:
        name = self.path.strip("/").split("/")[-1]
        isFile = name.endswith(".whl")
        body = (
            b"PK" + bytes(100_000)
            if isFile
            else f'<a href="/{name}-9.0-py3-none-any.whl">{name}</a>'.encode()
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/zip" if isFile else "text/html")
        self.send_header("Content-Length", str(len(body) * 10 if isFile else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def cuttingServer() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), CutsOff)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


def look(bench: Any) -> None:
    """Opens the module, and waits for its look at the computer."""
    bench.section.enter()
    assert user.pump(lambda: bench.workspace.readiness is not None, PATIENCE_S)
    settle(bench)


def settle(bench: Any) -> None:
    busy = lambda: bench.installer.running or bench.workspace.checkingReadiness  # noqa: E731
    assert user.pump(lambda: not busy(), PATIENCE_S)
    user.pump(seconds=0.1)


def install(bench: Any, dialogs: Any) -> str:
    """Presses the button and agrees; what the panel says in the end."""
    dialogs.answer("Install", "Install")
    user.click(bench.ui.setUpButton)
    settle(bench)
    assert len(dialogs.shown) == 1, "no other window comes up"
    return str(bench.ui.setUpLabel.text).replace("\u200b", "")


@pytest.mark.slow
def test_without_a_network_it_is_a_sentence_and_the_log_has_what_pip_said(
    bench, dialogs, realPip, monkeypatch, screenshot
):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    look(bench)
    said = install(bench, dialogs)
    screenshot(bench.section.widget, "set_up_no_network")
    assert "the server with the packages cannot be reached" in said and "proxy" in said
    assert not any(jargon in said for jargon in ("exit status", "PythonSlicer", "Traceback", "Errno"))
    assert "Connection refused" in bench.workspace.log.text
    assert bench.ui.setUpButton.isVisible() and bench.ui.setUpButton.enabled


@pytest.mark.slow
def test_a_download_that_breaks_off_is_a_sentence_and_leaves_nothing(
    bench, dialogs, realPip, monkeypatch, cuttingServer
):
    monkeypatch.setenv("PIP_INDEX_URL", cuttingServer)
    look(bench)
    said = install(bench, dialogs)
    assert "the download broke off" in said and "Press the button again" in said
    assert "Traceback" not in said and "Collecting safetensors" in bench.workspace.log.text
    assert not realPip.exists() or not any(realPip.iterdir())


class TestWhatHasFailedIsForgotten:
    @pytest.fixture(autouse=True)
    def failed(self, bench, dialogs, slicer, monkeypatch):
        def fails(_arguments: list[str]) -> None:
            raise RuntimeError("no luck")

        monkeypatch.setattr(slicer.util, "pip_install", fails, raising=False)
        look(bench)
        assert "no luck" in install(bench, dialogs)

    def test_when_one_looks_again(self, bench, home):
        doctorSays(home, "missing", "ready", **ROOM)
        user.click(bench.ui.checkAgainButton)
        settle(bench)
        assert "no luck" not in bench.ui.setUpLabel.text and "PyTorch" in bench.ui.setUpLabel.text

    def test_when_all_is_there(self, bench, home):
        doctorSays(home)
        bench.workspace.checkReadiness()  # as after another installation
        settle(bench)
        assert not bench.ui.setUpBox.isVisible()


def test_a_look_that_ends_while_the_phantom_is_made_leaves_its_button_usable(bench, home):
    doctorSays(home, "half", detail="files are missing", **ROOM)
    bench.ui.projectSection.enabled = False  # as while the phantom is made
    look(bench)
    bench.ui.projectSection.enabled = True
    assert bench.ui.repairButton.isVisible() and bench.ui.repairButton.enabled
    assert bench.ui.wheelsButton.enabled


def test_a_damaged_package_is_not_called_missing_alone(bench, home):
    doctorSays(home, "ready", "half", **ROOM)
    look(bench)
    assert "missing or damaged: safetensors, nibabel" in bench.ui.setUpLabel.text


def test_training_without_pytorch_begins_nothing(slicer, home, tmp_path):
    from skcdf.labels import LabelSet
    from SKCDFSegmenterLib.Panels.TrainingBox import TrainingBox

    doctorSays(home, "broken", **ROOM)
    workspace = makeWorkspace(home)
    bench = SectionBench(TrainingBox, workspace, parameters())
    try:
        folder = tmp_path / "project"
        workspace.createProject(folder, LabelSet.from_names("toy", ("spleen",)), "CT", "Toys", synthetic=True)
        workspace.checkReadiness()
        assert user.pump(lambda: workspace.readiness is not None, PATIENCE_S)
        user.click(bench.ui.trainButton)
        assert "Needed first: PyTorch. Set it up at the top of this panel." in bench.ui.statusLabel.text
        assert not any(Path(workspace.project.runs_folder).iterdir()) and not workspace.teaching.running
        doctorSays(home)
        workspace.checkReadiness()
        assert user.pump(lambda: workspace.readiness.ready, PATIENCE_S)
        assert not bench.ui.statusLabel.text, "what it asked for is there"
    finally:
        bench.close()


@pytest.mark.slow
def test_without_safetensors_segment_says_so_before_it_is_pressed(slicer, home):
    from SKCDFSegmenterLib.Panels.SegmentPanel import SegmentPanel
    from SKCDFSegmenterLib.SampleScans import addPhantomVolume

    doctorSays(home, "ready", "missing", **ROOM)
    workspace = makeWorkspace(home)
    bench = SectionBench(SegmentPanel, workspace, parameters())
    try:
        workspace.checkReadiness()
        assert user.pump(lambda: workspace.readiness is not None, PATIENCE_S)
        bench.parameterNode.inputVolume = addPhantomVolume()
        bench.changed()
        assert (
            "Needed first: safetensors." in bench.ui.statusLabel.text and not bench.ui.segmentButton.enabled
        )
    finally:
        bench.close()


@pytest.mark.slow
def test_what_could_not_be_known_of_a_scan_is_asked_anew_after_a_run(slicer, home):
    import types

    import qt

    from skcdf.errors import SkcdfError
    from SKCDFSegmenterLib.Panels.CheckLine import CheckLine
    from SKCDFSegmenterLib.ScanChecks import ScansOutcome

    asked: list[Any] = []
    parent, label, workspace = qt.QWidget(), qt.QLabel(), makeWorkspace(home)
    line = CheckLine(types.SimpleNamespace(checkLabel=label), parent, workspace, lambda: None)
    line._checks = types.SimpleNamespace(
        start=lambda *question: asked.append(question[-1]), stop=lambda: None, running=False
    )
    question = ((), "settings", None)
    for outcome in (ScansOutcome(errors=(SkcdfError("The disk is full."),)), ScansOutcome()):
        line.ask(*question)
        assert user.pump(lambda: asked, 5), "it is not asked again"
        asked.pop()(outcome)
        line.ask(*question)
        user.pump(seconds=0.7)
        assert not asked, "what is known already"
        line.pause()  # a run begins
    line.ask(*question)
    user.pump(seconds=0.7)
    assert not asked, "a good answer stays"
    workspace.shutdown()
