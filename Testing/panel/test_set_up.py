"""What a computer without PyTorch says and does: told, installed after one question, repaired, restarted."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
import user
from scripted_home import ROOM, answers, doctorSays
from section_bench import SectionBench, makeWorkspace, parameters


@pytest.fixture
def home(tmp_path):
    """The application's folder; its PythonSlicer is a doctor that says what the test wants."""
    doctorSays(tmp_path, "missing", "missing", **ROOM)
    return tmp_path


@pytest.fixture
def bench(slicer, home):
    from SKCDFSegmenterLib.Panels.ProjectPanel import ProjectPanel

    made = SectionBench(ProjectPanel, makeWorkspace(home), parameters(), installs=True)
    yield made
    made.close()


@pytest.fixture
def pip(slicer, monkeypatch, home):
    """What Slicer's pip was asked for; afterwards the doctor finds everything."""
    asked: list[Any] = []

    def install(requirements: Any) -> None:
        asked.append(requirements)
        doctorSays(home)

    monkeypatch.setattr(slicer.util, "pip_install", install, raising=False)
    return asked


TORCH_EXTENSION = """
asked = []

class PyTorchUtilsLogic:
    def uninstallTorch(self):
        asked.append("uninstall")

    def installTorch(self, askConfirmation=False, torchVersionRequirement=""):
        asked.append(f"install {torchVersionRequirement} asked {askConfirmation}")
        installed()
"""


@pytest.fixture
def torchExtension(monkeypatch, tmp_path, home):
    """The PyTorch extension; what its logic was asked for. Afterwards the doctor finds everything."""
    folder = tmp_path / "extension"
    folder.mkdir()
    (folder / "PyTorchUtils.py").write_text(TORCH_EXTENSION)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "PyTorchUtils", raising=False)
    module = importlib.import_module("PyTorchUtils")
    module.installed = lambda: doctorSays(home)
    yield module.asked
    sys.modules.pop("PyTorchUtils")


def look(bench: Any) -> None:
    """Opens the module, and waits for its look at the computer."""
    bench.section.enter()
    assert user.pump(lambda: bench.workspace.readiness is not None, 30)
    settle(bench)


def settle(bench: Any) -> None:
    """Waits until nothing is installed or looked for any more."""
    busy = lambda: bench.installer.running or bench.workspace.checkingReadiness  # noqa: E731
    assert user.pump(lambda: not busy(), 30)
    user.pump(seconds=0.1)  # the panel finds its size


def test_the_module_is_there_before_it_looks(bench, screenshot):
    bench.section.enter()
    assert not bench.workspace.checkingReadiness  # the panel is drawn first
    assert user.pump(lambda: bench.workspace.checkingReadiness, 5)
    assert not bench.ui.checkAgainButton.enabled and bench.ui.phantomButton.enabled
    screenshot(bench.section.widget, "set_up_looking")


def test_where_all_is_there_nothing_is_told(bench, home):
    doctorSays(home)
    look(bench)
    assert not bench.ui.setUpBox.isVisible()


def test_what_is_missing_is_told_with_size_and_place(bench, screenshot):
    look(bench)
    assert bench.ui.setUpButton.isVisible() and bench.ui.setUpButton.text == "Set up PyTorch (2.6 GB)"
    assert "not installed yet" in bench.ui.setUpLabel.text
    assert "80 GB free" in bench.ui.findingsLabel.text
    assert not bench.ui.repairButton.isVisible() and not bench.ui.handBox.isVisible()
    screenshot(bench.section.widget, "set_up_missing")


def test_one_question_installs_all_of_it(bench, dialogs, pip, torchExtension, screenshot):
    look(bench)
    dialogs.answer("Set up PyTorch", "Install")
    user.click(bench.ui.setUpButton)
    assert not bench.ui.setUpButton.enabled and "Installing" in bench.ui.setUpLabel.text
    assert bench.ui.setUpProgress.isVisible()
    screenshot(bench.section.widget, "set_up_installing")
    settle(bench)
    assert len(dialogs.shown) == 1 and "2.6 GB" in dialogs.texts[0]
    assert len(pip) == 1 and torchExtension == ["install >=2.2 asked False"]
    assert not bench.ui.setUpBox.isVisible()


def test_declined_nothing_happens(bench, dialogs, pip, torchExtension):
    look(bench)
    dialogs.answer("Set up PyTorch", "Cancel")
    user.click(bench.ui.setUpButton)
    settle(bench)
    assert not pip and not torchExtension and bench.ui.setUpButton.enabled


def test_a_half_installation_is_repaired(bench, home, dialogs, torchExtension, screenshot):
    doctorSays(home, "half", detail="its list of files is missing", **ROOM)
    look(bench)
    assert bench.ui.repairButton.isVisible() and not bench.ui.setUpButton.isVisible()
    assert "its list of files is missing" in bench.ui.findingsLabel.text
    screenshot(bench.section.widget, "set_up_half")
    dialogs.answer("Repair PyTorch", "Install")
    user.click(bench.ui.repairButton)
    settle(bench)
    assert torchExtension[0] == "uninstall" and len(torchExtension) == 2
    assert not bench.ui.setUpBox.isVisible()


def test_without_room_it_is_not_offered_but_told(bench, home, screenshot):
    problems = [{"message": "There is too little room on the disk.", "hint": "Make 1.6 GB free."}]
    doctorSays(home, "missing", needed_bytes=2_600_000_000, free_bytes=1_000_000_000, problems=problems)
    look(bench)
    assert bench.ui.setUpButton.isVisible() and not bench.ui.setUpButton.enabled
    assert "Make 1.6 GB free." in bench.ui.findingsLabel.text
    screenshot(bench.section.widget, "set_up_no_room")
    doctorSays(home, "missing", **ROOM)
    user.click(bench.ui.checkAgainButton)
    settle(bench)
    assert bench.ui.setUpButton.enabled


def test_a_network_that_fails_is_told_and_it_can_be_tried_again(
    slicer, bench, home, dialogs, monkeypatch, torchExtension
):
    doctorSays(home, "ready", "missing", **ROOM)

    def fails(requirements: Any) -> None:
        raise RuntimeError("connection refused by proxy")

    monkeypatch.setattr(slicer.util, "pip_install", fails, raising=False)
    look(bench)
    dialogs.answer("Install", "Install")
    user.click(bench.ui.setUpButton)
    settle(bench)
    assert "the server with the packages cannot be reached" in bench.ui.setUpLabel.text
    assert bench.ui.setUpButton.isVisible() and bench.ui.setUpButton.enabled
    assert not torchExtension


def test_from_a_folder_without_network(bench, dialogs, pip, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    look(bench)
    dialogs.answer("Python packages", wheels)
    user.click(bench.ui.wheelsButton)
    settle(bench)
    assert "no Python packages" in bench.ui.setUpLabel.text and not pip
    (wheels / "torch-2.6.0-py3-none-any.whl").write_bytes(b"")
    dialogs.answer("Python packages", wheels)
    user.click(bench.ui.wheelsButton)
    settle(bench)
    assert "--no-index" in pip[0] and str(wheels) in pip[0]
    assert not bench.ui.setUpBox.isVisible()


def test_without_the_extension_slicer_gets_it_and_must_be_restarted(
    slicer, bench, home, dialogs, monkeypatch, pip, screenshot
):
    doctorSays(home, "missing", "ready", **ROOM)
    installed: list[str] = []

    class Manager:
        interactive = True

        def installExtensionFromServer(self, name: str, restart: bool) -> bool:
            installed.append(name)
            return not restart

    monkeypatch.setattr(type(slicer.app), "extensionsManagerModel", lambda _app: Manager(), raising=False)
    look(bench)
    dialogs.answer("Set up PyTorch", "Install")
    user.click(bench.ui.setUpButton)
    settle(bench)
    assert "restarted" in dialogs.texts[0] and installed == ["PyTorch"]
    assert bench.ui.restartBox.isVisible() and not bench.ui.setUpButton.isVisible()
    screenshot(bench.section.widget, "set_up_restart")


class TestRestart:
    @pytest.fixture
    def restarts(self, slicer, monkeypatch):
        done: list[str] = []
        monkeypatch.setattr(slicer.util, "restart", lambda: done.append("restart"))
        monkeypatch.setattr(slicer.util, "openSaveDataDialog", lambda: done.append("save"), raising=False)
        return done

    def test_with_nothing_to_save_nothing_is_asked(self, slicer, bench, dialogs, restarts):
        bench.installer.restart()
        assert restarts == ["restart"] and not dialogs.shown

    def test_what_is_not_saved_can_be_saved_first(self, slicer, bench, dialogs, restarts):
        import numpy as np

        slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="CT")
        dialogs.answer("Restart Slicer", "Save…")
        bench.installer.restart()
        assert restarts == ["save"]
        dialogs.answer("Restart Slicer", "Cancel")
        bench.installer.restart()
        assert restarts == ["save"]
        dialogs.answer("Restart Slicer", "Restart without saving")
        bench.installer.restart()
        assert restarts == ["save", "restart"]


def test_a_doctor_that_crashes_is_no_traceback(bench, home):
    answers(home, "no json", 3)
    look(bench)
    assert bench.ui.setUpBox.isVisible() and "could not be found out" in bench.ui.setUpLabel.text
    assert bench.ui.checkAgainButton.enabled and not bench.ui.setUpButton.isVisible()


def test_a_slicer_without_its_python_is_told(bench, home, screenshot):
    (home / "bin" / "PythonSlicer").unlink()
    look(bench)
    assert "PythonSlicer" in bench.ui.setUpLabel.text
    screenshot(bench.section.widget, "set_up_unknown")


@pytest.mark.slow
def test_the_engines_own_doctor_is_understood(slicer):
    from SKCDFSegmenterLib.Panels.ProjectPanel import ProjectPanel

    bench = SectionBench(ProjectPanel, makeWorkspace(), parameters(), installs=True)
    try:
        bench.section.enter()
        assert user.pump(lambda: bench.workspace.readiness is not None, 120)
        assert bench.workspace.readiness.error is None
        assert bench.workspace.readiness.ready, bench.workspace.readiness.report
        assert not bench.ui.setUpBox.isVisible()
        assert bench.workspace.readiness.device
    finally:
        bench.close()
