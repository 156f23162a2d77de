"""The script of fine-tuning as a real process: inside Slicer, without it, and the whole way with the real engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import finetune_children
import pytest
from finetune_children import PACKAGES, finished, wait_for_text

from skcdf.cli import main
from skcdf.inside_slicer import python_slicer_path
from skcdf.models import ModelBundle

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "training" / "finetune.py"
SIZES = ["--shape", "40", "40", "48", "--spacing", "7", "9", "9"]
NETWORK = ["--filters", "2", "--patch-size", "32", "32", "32", "--batch-size", "1", "--validations", "0"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent to a process")

# the fixtures of this file
stand_in, start = finetune_children.stand_in, finetune_children.start

SLICER = """
import os, runpy, sys, types

class Application:
    slicerHome = {home!r}
    events = 0

    def processEvents(self):
        self.events += 1

def exit(code=0):
    slicer.codes.append(code)

slicer = types.ModuleType("slicer")
slicer.app, slicer.codes, slicer.util = Application(), [], types.SimpleNamespace(exit=exit)
sys.modules["slicer"] = slicer
sys.executable = ""
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except BaseException as error:  # the application shows it and stays open
    print("application stays open:", repr(error), file=sys.stderr)
    os._exit(99)
if "torch" in sys.modules or not slicer.codes:
    os._exit(98)
print("events processed:", slicer.app.events > 0)
sys.exit(slicer.codes[-1])
"""
LAUNCHER = """#!/bin/sh
# Starts the real Python and waits for it, as PythonSlicer does; a signal that it gets is not passed on.
"{python}" "$@"
exit $?
"""


@pytest.fixture
def slicer(tmp_path):
    """Command that runs the script inside a Slicer application of which only what the script needs is there."""
    home = tmp_path / "Slicer home"
    launcher = home / "bin" / "PythonSlicer"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    (home / "Slicer.py").write_text(SLICER.format(home=str(home)))
    return [sys.executable, "-u", str(home / "Slicer.py"), str(SCRIPT)]


class TestInsideSlicer:
    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "code"), [("good", 0), ("crash", 77), ("mend", 1), ("unexpected", 1)])
    def test_the_application_ends_with_the_childs_exit_code(self, start, slicer, name, code):
        done = finished(start("--name", name, program=slicer))
        assert done.returncode == code, done.stderr
        assert "events processed: True" in done.stdout
        if name == "good":
            assert "Größe 3 µm" in done.stdout and "train 3/3" in done.stderr
        if name == "mend":
            assert "hint: Add one." in done.stderr

    def test_wrong_usage_ends_it_with_2(self, start, slicer):
        done = finished(start("--time-budget", "long", program=slicer))
        assert done.returncode == 2
        assert "is no time" in done.stderr

    @pytest.mark.slow
    def test_a_stopped_child_ends_it_with_130(self, start, slicer, tmp_path):
        child = start("--name", "works", program=slicer)
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        (tmp_path / "run" / "STOP").touch()
        done = finished(child)
        assert done.returncode == 130
        assert "is kept" in done.stdout

    @pytest.mark.slow
    def test_ctrl_c_in_the_application_stops_the_child_with_a_checkpoint(self, start, slicer, tmp_path):
        child = start("--name", "works", program=slicer)
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        child.send_signal(signal.SIGINT)  # to the application alone
        done = finished(child)
        assert done.returncode == 130
        assert "is kept" in done.stdout
        assert (tmp_path / "run" / "checkpoint.safetensors").exists()

    @pytest.mark.slow
    def test_when_the_application_is_killed_the_child_stops_with_a_checkpoint(self, start, slicer, tmp_path):
        child = start("--name", "works", program=slicer)
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        child.kill()
        wait_for_text(tmp_path / "run" / "log.txt", "ends with exit code 130")
        assert (tmp_path / "run" / "checkpoint.safetensors").exists()

    @pytest.mark.slow
    def test_when_only_the_launcher_is_killed_the_child_does_not_stay_behind(self, start, slicer, tmp_path):
        child = start("--name", "works", program=slicer)
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        launcher = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True)
        if launcher.returncode:
            pytest.skip("pgrep is missing")
        os.kill(int(launcher.stdout), signal.SIGKILL)
        assert finished(child).returncode == 128 + signal.SIGKILL
        assert "ends with exit code 130" in (tmp_path / "run" / "log.txt").read_text()

    @pytest.mark.slow
    def test_json_events_pass_through_unchanged(self, start, slicer):
        done = finished(start("--progress", "json", program=slicer))
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        assert json.loads(lines[0])["event"] == "hello" and json.loads(lines[-1])["event"] == "result"

    @pytest.mark.parametrize("broken", ["missing", "not executable"])
    def test_a_child_that_cannot_be_started_ends_it_with_1(self, start, slicer, tmp_path, broken):
        launcher = tmp_path / "Slicer home" / "bin" / "PythonSlicer"
        if broken == "missing":
            launcher.unlink()
        else:
            launcher.write_text("neither a program nor a script")
        done = finished(start(program=slicer))
        assert done.returncode == 1
        assert "PythonSlicer" in done.stderr and "hint: Install Slicer again." in done.stderr

    def test_an_engine_that_is_missing_ends_it_with_1(self, start, slicer, tmp_path):
        training = tmp_path / "elsewhere" / "training"
        shutil.copytree(SCRIPT.parent, training)
        block = "import sys; sys.modules['skcdf'] = None\n"
        (training / "skcdf_path.py").write_text(block)
        done = finished(start(program=[*slicer[:-1], str(training / "finetune.py")]))
        assert done.returncode == 1
        assert "ModuleNotFoundError" in done.stderr

    @pytest.mark.parametrize("name", ["PythonSlicer", "PythonSlicer.exe"])
    def test_python_is_found_beside_the_application(self, tmp_path, name):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / name).touch()
        assert python_slicer_path(tmp_path) == tmp_path / "bin" / name


class TestScript:
    """``training/finetune.py`` without Slicer."""

    @pytest.mark.slow
    def test_it_is_the_command(self, start):
        done = finished(start("--name", "mend", program=(sys.executable, str(SCRIPT), "--")))
        assert (done.returncode, done.stderr) == (
            1,
            "error: pool: there is no labelled case.\nhint: Add one.\n",
        )

    def test_the_installed_one_takes_the_engine_beside_it(self, tmp_path):
        """As CMake lays it out: ``SKCDFSegmenter/training`` beside ``skcdf`` in ``qt-scripted-modules``."""
        modules = tmp_path / "qt-scripted-modules"
        shutil.copytree(SCRIPT.parent, modules / "SKCDFSegmenter" / "training")
        (modules / "skcdf").symlink_to(PACKAGES / "skcdf")
        code = (
            "import runpy, sys; runpy.run_path(sys.argv[1]); import skcdf_path, skcdf; print(skcdf.__file__)"
        )
        script = modules / "SKCDFSegmenter" / "training" / "evaluate.py"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["PYTHONPATH"] = str(script.parent)
        done = subprocess.run(
            [sys.executable, "-c", code, str(script)], env=environment, capture_output=True, text=True
        )
        assert done.stdout.strip() == str(modules / "skcdf" / "__init__.py"), done.stderr


@pytest.mark.slow
class TestRealEngine:
    """The whole way, on phantoms."""

    def test_what_a_killed_slicer_leaves_goes_on_to_a_candidate_in_the_store(self, start, slicer, tmp_path):
        pytest.importorskip("skcdf.fine_tuning")
        from skcdf.trainer.checkpoint import read_state

        pool, run = tmp_path / "pool", tmp_path / "run"
        assert main(["phantom", str(pool), "--labelled", "1", "--unlabelled", "0", *SIZES]) == 0
        environment = {**os.environ, "PYTHONPATH": str(PACKAGES), "OMP_NUM_THREADS": "1"}
        command = ["--store", str(tmp_path / "store"), "--name", "liver", "--spacing", "7", "9", "9"]
        command += ["--iterations", "20", *NETWORK]

        child = start(*command, program=slicer, pool=pool, environment=environment)
        wait_for_text(run / "log.txt", "train 1/20")
        child.kill()
        wait_for_text(run / "log.txt", "ends with exit code 130")
        reached = read_state(run / "checkpoint.safetensors").iteration
        assert 0 < reached < 20

        done = finished(start(*command, "--resume", "--progress", "json", pool=pool, environment=environment))
        assert done.returncode == 0, done.stderr
        events = [json.loads(line) for line in done.stdout.splitlines()]
        steps = [each for each in events if each["event"] == "progress" and each["phase"] == "train"]
        assert steps[0]["fraction"] > reached / 20 and steps[-1]["fraction"] == 1
        result = events[-1]
        assert (result["event"], result["name"], result["version"]) == ("result", "liver", "v1")
        assert ModelBundle.load(Path(result["model"])).training.labelled_cases == 1
        assert result["comparison"] is not None
