"""What is missing, found out in a child that may crash, and how it is installed."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from child_process import PlainChildProcess, isAlive, launched, scripted, waitUntil
from wheel_files import makeWheel
from worker_bench import Clock

from skcdf.errors import SkcdfError
from skcdf.offline_bundle import seal_bundle
from SKCDFSegmenterLib.EngineCommand import engineCommand
from SKCDFSegmenterLib.Installation import Installation

REQUIREMENTS = "safetensors>=0.4\nnibabel>=5.2\n"


class Bench:
    """An installation with all that was found."""

    def __init__(self, command):
        self.clock, self.children, self.found = Clock(), [], []
        self.installation = Installation(lambda: command, self.makeChild, self.clock)

    def makeChild(self):
        self.children.append(PlainChildProcess())
        return self.children[-1]

    def look(self):
        self.installation.check(self.found.append)
        return self

    def end(self, seconds=10):
        def step():
            self.children[-1].wait(0)
            self.installation.tick()
            return self.found

        assert waitUntil(step, seconds)
        return self.found[0]


@pytest.fixture
def bench(slicer):
    made = []

    def make(*options, command=None):
        made.append(Bench(command or scripted(*options)))
        return made[-1]

    yield make
    for each in made:
        pids = [child.processId for child in each.children if child.processId]
        each.installation.shutdown()
        assert waitUntil(lambda pids=pids: not any(map(isAlive, pids)))


class TestLooking:
    def test_what_is_there_is_ready_and_the_device_known(self, bench):
        a = bench().look()
        assert a.installation.checking and a.found == []
        readiness = a.end()
        assert readiness.ready and readiness.torchState == "ready"
        assert readiness.device == "CPU, 1 threads"
        assert a.installation.readiness is readiness and not a.installation.checking
        assert a.installation.installPlan(readiness).nothing

    def test_a_script_waits(self, bench):
        assert bench().installation.wait().ready

    def test_the_child_is_the_doctor(self, bench):
        a = bench().look()
        assert a.children[0].command[-2:] == ["doctor", "--json"]
        a.end()

    @pytest.mark.parametrize("state", ["missing", "half", "broken"])
    def test_what_is_not_there_is_planned(self, bench, state):
        a = bench(state).look()
        readiness = a.end()
        assert not readiness.ready and readiness.torchState == state
        plan = a.installation.installPlan(readiness)
        assert plan.torch and plan.repair == (state != "missing")
        assert plan.packages == (("nibabel",) if state == "missing" else ())
        assert (plan.neededBytes, plan.freeBytes, plan.byHand) == (3 << 30, 5 << 30, "")

    def test_a_torch_whose_import_crashes_is_broken_and_the_rest_is_known(self, bench):
        readiness = bench("--crashes").look().end()
        assert readiness.torchState == "broken" and not readiness.ready
        assert "Segmentation fault" in readiness.packages["torch"].detail
        assert readiness.stateOf("safetensors") == "ready" and readiness.error is None

    def test_a_torch_whose_import_never_ends_is_broken(self, bench):
        a = bench("--hangs", command=launched(scripted("--hangs"))).look()
        a.clock.added += 150  # and the clock goes on by itself: on a busy computer, a start takes seconds
        a.installation.tick()
        assert waitUntil(lambda: a.children[0].wait(0) or a.children[0].delivered)
        assert a.found == []
        a.clock.added += 31
        readiness = a.end()
        assert readiness.torchState == "broken"
        assert "did not answer within 180 s" in readiness.packages["torch"].detail

    def test_a_python_that_is_not_there_is_an_error(self, bench, tmp_path):
        readiness = bench(command=[str(tmp_path / "PythonSlicer")]).look().end()
        assert readiness.error is not None and not readiness.ready and readiness.torchState == "unknown"

    def test_a_command_that_cannot_be_made_is_an_error(self, bench):
        def command():
            raise SkcdfError("There is no PythonSlicer.", "Install Slicer again.")

        installation = Installation(command, PlainChildProcess)
        assert "no PythonSlicer" in installation.wait().error.message

    def test_an_engine_that_does_not_know_the_doctor_is_an_error(self, bench):
        program = "import sys; sys.exit('error: no such command')"
        readiness = bench(command=[sys.executable, "-c", program]).look().end()
        assert "no such command" in readiness.error.message

    def test_two_who_ask_at_once_share_one_look(self, bench):
        a = bench().look().look()
        a.end()
        assert len(a.found) == 2 and a.found[0] is a.found[1] and len(a.children) == 1

    def test_problems_are_obstacles(self, bench):
        a = bench("missing", "--full").look()
        (obstacle,) = a.installation.installPlan(a.end()).obstacles
        assert (obstacle.message, obstacle.hint) == ("The disk is full.", "Make room on it.")

    def test_a_torch_that_the_application_has_loaded_cannot_be_repaired_now(self, bench, monkeypatch):
        a = bench("broken").look()
        readiness = a.end()
        monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
        (obstacle,) = a.installation.installPlan(readiness).obstacles
        assert "restart Slicer" in obstacle.hint

    def test_another_python_is_installed_into_by_hand(self, bench, monkeypatch):
        a = bench("missing").look()
        readiness = a.end()
        monkeypatch.setattr("sysconfig.get_path", lambda _name: "/opt/Slicer/lib/Python/site-packages")
        byHand = a.installation.installPlan(readiness).byHand
        assert byHand == f'"{sys.executable}" -m pip install "torch>=2.2" "nibabel"'

    def test_the_end_of_the_application_ends_the_look_and_tells_nobody(self, bench):
        a = bench("--hangs").look()
        pid = a.children[0].processId
        a.installation.shutdown()
        assert not isAlive(pid), "Qt complains of a process that outlives its object"
        a.installation.tick()
        assert a.found == [] and not a.installation.checking


class TestRealDoctor:
    """Of this Python, as the module calls it."""

    @pytest.fixture
    def command(self):
        return launched(engineCommand(sys.executable))

    @pytest.mark.slow
    def test_it_finds_this_python_ready(self, bench, command):
        a = bench(command=command).look()
        readiness = a.end(60)
        assert readiness.ready, readiness
        assert readiness.device.startswith("CPU") and readiness.packages["torch"].version
        assert readiness.sitePackages and readiness.freeBytes > 0 and readiness.python == sys.executable

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("program", "words"),
        [
            ("import os; os.abort()", "Aborted"),
            ("raise ImportError('libtorch_cpu.so: cannot open')", "libtorch_cpu.so"),
            ("raise SystemExit(3)", "SystemExit"),
        ],
        ids=["crash", "library", "exit"],
    )
    def test_a_torch_that_cannot_be_imported_is_broken_whatever_it_does(
        self, bench, command, tmp_path, monkeypatch, program, words
    ):
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text(f"{program}\nversion = '2.3'\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
        readiness = bench(command=command).look().end(60)
        assert readiness.torchState == "broken" and not readiness.ready
        assert words in readiness.packages["torch"].detail
        assert readiness.stateOf("safetensors") == readiness.stateOf("nibabel") == "ready"


class PyTorchUtils(types.ModuleType):
    """The module of Slicer's PyTorch extension; does nothing but write down what it is asked."""

    def __init__(self, error=None):
        super().__init__("PyTorchUtils")
        self.asked = []
        asked = self.asked

        class PyTorchUtilsLogic:
            def uninstallTorch(self):
                asked.append("uninstall")

            def installTorch(self, askConfirmation, torchVersionRequirement):
                asked.append((askConfirmation, torchVersionRequirement))
                if error is not None:
                    raise error

        self.PyTorchUtilsLogic = PyTorchUtilsLogic


class TestTorch:
    def install(self, bench, monkeypatch, *options, error=None):
        extension = PyTorchUtils(error)
        monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
        a = bench(*options).look()
        a.end()
        a.installation.installTorch()
        return extension.asked

    def test_what_is_missing_comes_from_the_pytorch_extension(self, bench, monkeypatch):
        assert self.install(bench, monkeypatch, "missing") == [(False, ">=2.2")]

    @pytest.mark.parametrize("state", ["half", "broken"])
    def test_what_does_not_work_is_removed_first(self, bench, monkeypatch, state):
        assert self.install(bench, monkeypatch, state) == ["uninstall", (False, ">=2.2")]

    def test_what_is_ready_is_left_alone(self, bench, monkeypatch):
        assert self.install(bench, monkeypatch) == []

    def test_without_the_extension_it_says_where_to_get_it(self, bench, monkeypatch):
        monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
        a = bench("missing").look()
        a.end()
        with pytest.raises(SkcdfError, match="Extensions Manager"):
            a.installation.installTorch()

    def test_without_a_look_it_looks_first(self, bench, monkeypatch):
        monkeypatch.setitem(sys.modules, "PyTorchUtils", extension := PyTorchUtils())
        bench("missing").installation.installTorch()
        assert extension.asked == [(False, ">=2.2")]

    def test_the_application_does_not_import_what_may_end_it(self, bench, monkeypatch, tmp_path):
        (tmp_path / "torch.py").write_text("raise SystemExit('the application has ended')")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        installed = []

        class PyTorchUtilsLogic:
            def installTorch(self, **_options):
                installed.append("torch")
                import torch  # as the extension does in the end

                return torch

        extension = types.ModuleType("PyTorchUtils")
        extension.PyTorchUtilsLogic = PyTorchUtilsLogic
        monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
        bench("missing").installation.installTorch()
        assert installed and "torch" not in sys.modules

    def test_what_another_module_has_loaded_stays_loaded(self, bench, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", loaded := types.ModuleType("torch"))
        self.install(bench, monkeypatch, "missing")
        assert sys.modules["torch"] is loaded

    @pytest.mark.parametrize(
        "error",
        [
            subprocess.CalledProcessError(1, "pip"),
            ModuleNotFoundError("No module named 'light_the_torch'", name="light_the_torch"),
            ImportError("a library is missing"),
            OSError("no network"),
        ],
    )
    def test_a_failure_says_what_to_check(self, bench, monkeypatch, error):
        with pytest.raises(SkcdfError, match="PyTorch: not installed") as raised:
            self.install(bench, monkeypatch, "missing", error=error)
        assert "proxy" in raised.value.hint


class TestOthers:
    @pytest.fixture
    def requirements(self, tmp_path):
        path = tmp_path / "folder with spaces" / "requirements.txt"
        path.parent.mkdir()
        path.write_text(REQUIREMENTS)
        return path

    def test_slicer_with_packaging_installs_without_a_second_question(
        self, slicer, bench, requirements, monkeypatch
    ):
        asked = []
        packaging = types.ModuleType("slicer.packaging")
        packaging.load_requirements = lambda path: Path(path).read_text().split()
        packaging.pip_ensure = lambda *values, **options: asked.append((values, options))
        monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
        monkeypatch.setattr(slicer, "packaging", packaging, raising=False)
        bench().installation.installRequirements(requirements)
        options = {"prompt_install": False, "requester": "SKCDFSegmenter", "show_progress": False}
        assert asked == [((REQUIREMENTS.split(),), options)]

    def test_slicer_before_that_installs_as_well(self, slicer, bench, requirements, monkeypatch):
        asked = []
        monkeypatch.setitem(sys.modules, "slicer.packaging", None)
        monkeypatch.setattr(slicer.util, "pip_install", asked.append)
        bench().installation.installRequirements(requirements)
        assert asked == [["-r", str(requirements)]]

    def test_a_failure_names_the_packages(self, slicer, bench, requirements, monkeypatch):
        def fail(_arguments):
            raise subprocess.CalledProcessError(1, "pip")

        monkeypatch.setitem(sys.modules, "slicer.packaging", None)
        monkeypatch.setattr(slicer.util, "pip_install", fail)
        with pytest.raises(SkcdfError, match=re.escape("safetensors>=0.4, nibabel>=5.2: not installed")):
            bench().installation.installRequirements(requirements)


class TestFromFolder:
    """Without a network, by the real pip."""

    @pytest.fixture
    def installed(self, slicer, tmp_path, monkeypatch):
        """Where pip installs to."""
        target = tmp_path / "site-packages"

        def pipInstall(arguments):
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), *arguments]
            subprocess.run(command, check=True, capture_output=True)

        monkeypatch.setattr(slicer.util, "pip_install", pipInstall)
        return target

    @pytest.fixture
    def wheels(self, tmp_path):
        folder = tmp_path / "wheels for the hospital"
        folder.mkdir()
        return folder

    @pytest.mark.slow
    def test_what_is_missing_is_installed_and_nothing_else(self, bench, installed, wheels):
        for name, version in (("torch", "2.3.1"), ("nibabel", "5.3.0"), ("safetensors", "0.5.0")):
            makeWheel(wheels, name, version)
        a = bench("missing").look()
        a.end()
        a.installation.installFromFolder(wheels)
        assert (installed / "torch" / "__init__.py").read_text() == "__version__ = '2.3.1'\n"
        assert (installed / "nibabel").exists() and not (installed / "safetensors").exists()

    @pytest.mark.slow
    def test_one_that_is_too_old_is_refused(self, bench, installed, wheels):
        makeWheel(wheels, "torch", "2.1.0")
        makeWheel(wheels, "nibabel", "5.3.0")
        a = bench("missing").look()
        a.end()
        with pytest.raises(SkcdfError, match="not installed"):
            a.installation.installFromFolder(wheels)

    def test_a_folder_without_wheels_is_refused(self, bench, wheels):
        with pytest.raises(SkcdfError, match="there are no Python packages"):
            bench("missing").installation.installFromFolder(wheels)

    @pytest.mark.slow
    def test_a_bundle_is_compared_with_its_checksums_before_anything_is_installed(
        self, bench, installed, tmp_path
    ):
        bundle = tmp_path / "stick"
        (bundle / "wheels").mkdir(parents=True)
        for name, version in (("torch", "2.3.1"), ("nibabel", "5.3.0")):
            makeWheel(bundle / "wheels", name, version)
        seal_bundle(bundle)
        a = bench("missing").look()
        a.end()
        makeWheel(bundle / "wheels", "nibabel", "5.9.0")  # slipped in by somebody
        for chosen in (bundle, bundle / "wheels"):
            with pytest.raises(SkcdfError, match=r"nibabel-5\.9\.0-.*: is not in SHA256SUMS"):
                a.installation.installFromFolder(chosen)
        assert not installed.exists()
        (bundle / "wheels" / "nibabel-5.9.0-py3-none-any.whl").unlink()
        a.installation.installFromFolder(bundle)
        assert (installed / "torch").exists() and (installed / "nibabel").exists()
