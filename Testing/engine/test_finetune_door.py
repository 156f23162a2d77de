"""The front door of fine-tuning, opened by real processes: from a terminal, by a parent program, inside Slicer.

What the door does with the engine's answers is shown with `finetune_stand_in` in the engine's place; the real engine
comes at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import skcdf
from skcdf.cli import main
from skcdf.commands.finetune import time_budget
from skcdf.inside_slicer import python_slicer_path
from skcdf.models import ModelBundle
from skcdf.run_folder import alone_in

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "training" / "finetune.py"
STAND_IN = Path(__file__).with_name("finetune_stand_in.py")
PACKAGES = Path(skcdf.__file__).parents[1]
SIZES = ["--shape", "40", "40", "48", "--spacing", "7", "9", "9"]
NETWORK = ["--filters", "2", "--patch-size", "32", "32", "32", "--batch-size", "1", "--validations", "0"]
LIMIT_S = 60

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent to a process")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> dict[str, str]:
    """Environment of processes whose fine-tuning engine is the stand-in."""
    folder = tmp_path_factory.mktemp("stand_in")
    (folder / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "class StandIn:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        '        if name == "skcdf.fine_tuning":\n'
        f"            return importlib.util.spec_from_file_location(name, {str(STAND_IN)!r})\n"
        "sys.meta_path.insert(0, StandIn())\n"
    )
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(PACKAGES)))}


@pytest.fixture
def start(stand_in, tmp_path):
    """Starts the command on ``tmp_path/run``; what is still running afterwards is killed."""
    children = []

    def start(
        *arguments: str,
        stdin=subprocess.DEVNULL,
        program=(sys.executable, "-m", "skcdf", "finetune"),
        pool="pool",
        environment=stand_in,
        **more,
    ):
        command = [*program, str(pool), str(tmp_path / "run"), *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        child = subprocess.Popen(
            command, env=environment, stdin=stdin, text=True, encoding="utf-8", **streams
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        for stream in filter(None, (child.stdin, child.stdout, child.stderr)):
            stream.close()


def finished(child: subprocess.Popen) -> subprocess.CompletedProcess:
    output, errors = child.communicate(timeout=LIMIT_S)
    return subprocess.CompletedProcess(child.args, child.returncode, output, errors)


def wait_for_line(stream, text: str) -> None:
    for line in stream:
        if text in line:
            return
    pytest.fail(f"no line with {text!r}")


def wait_for_text(file: Path, text: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not file.exists() or text not in file.read_text("utf-8"):
        assert time.monotonic() < deadline, f"no {text!r} in {file}"
        time.sleep(0.05)


class TestArguments:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5H", 5400), ("1h5s", 3605)]
    )
    def test_time_budgets_have_units(self, text, seconds):
        assert time_budget(text) == seconds

    @pytest.mark.parametrize("text", ["", "30", "m", "30m1h", "-5m", "0s", "1h30", "half an hour"])
    def test_anything_else_is_wrong_usage(self, text, capsys):
        with pytest.raises(SystemExit) as ended:
            main(["finetune", "pool", "run", f"--time-budget={text}"])
        assert ended.value.code == 2
        assert "is no time: give hours" in capsys.readouterr().err

    def test_all_choices_reach_the_engine(self, start, tmp_path):
        settings = [
            "--method",
            "skcdf",
            "--iterations",
            "7",
            "--spacing",
            "1",
            "2",
            "3",
            "--option",
            "mask=multiply",
        ]
        store = ["--model", "liver@v3", "--store", "models", "--name", "liver", "--resume"]
        more = ["--preset", "quick", "--time-budget", "1m", "--device", "cpu", "--precision", "fp32"]
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "log.txt").touch()
        done = finished(start(*store, *settings, *more))
        assert done.returncode == 0, done.stderr
        request = json.loads(re.search("request: (.*)", done.stdout)[1])
        assert request == {
            "pool": "pool",
            "run_folder": str(tmp_path / "run"),
            "start": "liver@v3",
            "store": "models",
            "name": "liver",
            "method": "skcdf",
            "preset": "quick",
            "settings": {"iterations": 7, "spacing": [1.0, 2.0, 3.0], "method_options": {"mask": "multiply"}},
            "time_budget_s": 60.0,
            "resume": True,
            "device": "cpu",
            "precision": "fp32",
        }


class TestPeople:
    def test_a_good_end_says_where_the_model_and_how_much_better(self, start, tmp_path):
        done = finished(start())
        assert done.returncode == 0
        for text in (
            "candidate v2 of liver",
            str(tmp_path / "run" / "model"),
            "Größe 3 µm",
        ):
            assert text in done.stdout
        assert "not for diagnosis" in done.stdout
        assert "train 3/3" in done.stderr

    def test_the_log_has_everything_with_times_and_grows(self, start, tmp_path):
        for _ in range(2):
            finished(start())
        log = (tmp_path / "run" / "log.txt").read_text("utf-8")
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  skcdf \S+ finetune, process \d+: pool pool", log)
        assert log.count("ends with exit code 0") == 2
        for text in (
            "Größe 3 µm",
            "a library is worried",
            "warning: and logs it",
            "train 3/3, loss 0.5",
            "candidate",
        ):
            assert text in log

    def test_an_error_to_mend_has_a_hint_and_code_1(self, start, tmp_path):
        done = finished(start("--name", "mend"))
        assert (done.returncode, done.stderr) == (
            1,
            "error: pool: there is no labelled case.\nhint: Add one.\n",
        )
        assert "error: pool: there is no labelled case." in (tmp_path / "run" / "log.txt").read_text()

    def test_an_unexpected_error_is_one_sentence_and_a_traceback_in_the_log(self, start, tmp_path):
        done = finished(start("--name", "unexpected"))
        log = tmp_path / "run" / "log.txt"
        assert done.returncode == 1
        assert done.stderr == (
            f"error: unexpected IndexError: of a list\nhint: Send {log} to the authors: it says where.\n"
        )
        assert re.search(r"Traceback.*finetune_stand_in.*IndexError: of a list", log.read_text(), re.DOTALL)

    def test_missing_torch_says_what_to_install(self, start):
        done = finished(start("--name", "no-torch"))
        assert done.returncode == 1
        assert "package torch is missing" in done.stderr and "PyTorch extension" in done.stderr

    def test_a_run_folder_that_cannot_be_written_is_one_clear_error(self, start, tmp_path):
        (tmp_path / "run").write_text("a file")
        done = finished(start())
        assert done.returncode == 1
        assert done.stderr.startswith(
            f"error: {tmp_path / 'run' / 'log.txt'}: the log of the run cannot be written"
        )
        assert len(done.stderr.splitlines()) == 2

    def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(self, start, tmp_path):
        child = start("--name", "works")
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        child.send_signal(signal.SIGINT)
        done = finished(child)
        assert done.returncode == 130
        assert re.search(r"stopped; the checkpoint of iteration \d+ is kept: .* --resume", done.stdout)
        assert "stopping at the next safe point: Ctrl-C" in done.stderr
        assert "ends with exit code 130" in (tmp_path / "run" / "log.txt").read_text()

    def test_a_stop_file_does_the_same(self, start, tmp_path):
        child = start("--name", "works")
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        (tmp_path / "run" / "STOP").touch()
        assert finished(child).returncode == 130
        assert not (tmp_path / "run" / "STOP").exists()

    def test_a_second_one_in_the_folder_is_refused_and_leaves_the_first_ones_stop_file(self, start, tmp_path):
        stop = tmp_path / "run" / "STOP"
        with alone_in(tmp_path / "run"):
            stop.touch()
            second = finished(start())
            assert (second.returncode, stop.exists()) == (1, True)
        assert re.match(r"error: .*run\.lock: is locked by .*training", second.stderr)

    def test_a_mistyped_folder_is_not_resumed_and_not_made(self, start, tmp_path):
        for _ in range(2):
            done = finished(start("--resume"))
            assert done.returncode == 1 and "there is no run to go on with" in done.stderr
            assert not (tmp_path / "run").exists()

    def test_when_nobody_reads_any_more_the_run_goes_on_for_the_log(self, start, tmp_path):
        child = start(stderr=subprocess.STDOUT)
        child.stdout.close()
        assert child.wait(LIMIT_S) == 0
        log = (tmp_path / "run" / "log.txt").read_text()
        assert "nobody reads the output any more" in log and "candidate v2 of liver" in log

    @pytest.mark.skipif(not os.environ.get("SKCDF_SOAK"), reason="waits for the full 8 s (SKCDF_SOAK=1)")
    def test_a_step_that_does_not_end_is_dropped_within_10_s(self, start, tmp_path):
        child = start("--name", "deaf")
        wait_for_text(tmp_path / "run" / "log.txt", "train 41/")
        begin = time.monotonic()
        child.send_signal(signal.SIGTERM)
        done = finished(child)
        assert done.returncode == 130
        assert 8 <= time.monotonic() - begin < 10
        text = "a step did not end within 8 s and was dropped; the checkpoint of iteration 41 is kept"
        assert text in done.stdout and text in (tmp_path / "run" / "log.txt").read_text()


class TestParents:
    @staticmethod
    def events(text: str) -> list[dict]:
        return [json.loads(line) for line in text.splitlines()]

    def test_stdout_is_events_alone(self, start, tmp_path):
        child = start("--progress", "json")
        done = finished(child)
        events = self.events(done.stdout)
        assert done.returncode == 0
        assert events[0].items() >= {"event": "hello", "pid": child.pid, "protocol": 1}.items()
        kinds = [each["event"] for each in events]
        assert set(kinds) == {"hello", "log", "progress", "result"}
        assert kinds[-1] == "result"
        assert {"event": "log", "message": "two lines,\nnaïve ones: Größe 3 µm"} in events
        assert events[-1] | {"seconds": 0} == {
            "event": "result",
            "model": str(tmp_path / "run" / "model"),
            "name": "liver",
            "version": "v2",
            "comparison": {"rows": [{"organ": "liver", "before": None}]},
            "report": None,
            "seconds": 0,
        }
        assert "a library prints" in done.stderr

    def test_errors_are_events_too(self, start):
        for name, message in (("mend", "pool: there is no"), ("unexpected", "unexpected IndexError")):
            done = finished(start("--progress", "json", "--name", name))
            last = self.events(done.stdout)[-1]
            assert done.returncode == 1
            assert last["event"] == "error" and last["message"].startswith(message) and last["hint"]

    def test_the_end_of_the_parent_stops_the_run(self, start, tmp_path):
        child = start("--name", "works", "--progress", "json", "--stdin", "watch", stdin=subprocess.PIPE)
        wait_for_line(child.stdout, '"progress"')
        child.stdin.close()
        events = self.events(child.stdout.read())
        assert child.wait(LIMIT_S) == 130
        assert events[-1]["event"] == "stopped" and events[-1]["iteration"] > 0

    @pytest.mark.parametrize("arguments", [["--progress", "json"], ["--stdin", "watch"]])
    def test_a_parent_that_reads_no_more_is_gone_and_the_run_stops(self, start, tmp_path, arguments):
        """Where a launcher keeps the child's standard input open, this is how a dead parent shows."""
        child = start("--name", "works", *arguments, stderr=subprocess.STDOUT)
        wait_for_line(child.stdout, "progress" if "json" in arguments else "request")
        child.stdout.close()
        assert child.wait(LIMIT_S) == 130
        assert (tmp_path / "run" / "checkpoint.safetensors").exists()
        assert "the parent process does not listen any more" in (tmp_path / "run" / "log.txt").read_text()


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
    @pytest.mark.parametrize(("name", "code"), [("good", 0), ("mend", 1), ("unexpected", 1), ("crash", 77)])
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

    def test_a_stopped_child_ends_it_with_130(self, start, slicer, tmp_path):
        child = start("--name", "works", program=slicer)
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        (tmp_path / "run" / "STOP").touch()
        done = finished(child)
        assert done.returncode == 130
        assert "is kept" in done.stdout

    def test_ctrl_c_in_the_application_stops_the_child_with_a_checkpoint(self, start, slicer, tmp_path):
        child = start("--name", "works", program=slicer)
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        child.send_signal(signal.SIGINT)  # to the application alone
        done = finished(child)
        assert done.returncode == 130
        assert "is kept" in done.stdout
        assert (tmp_path / "run" / "checkpoint.safetensors").exists()

    def test_when_the_application_is_killed_the_child_stops_with_a_checkpoint(self, start, slicer, tmp_path):
        child = start("--name", "works", program=slicer)
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        child.kill()
        wait_for_text(tmp_path / "run" / "log.txt", "ends with exit code 130")
        assert (tmp_path / "run" / "checkpoint.safetensors").exists()

    def test_when_only_the_launcher_is_killed_the_child_does_not_stay_behind(self, start, slicer, tmp_path):
        child = start("--name", "works", program=slicer)
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        launcher = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True)
        if launcher.returncode:
            pytest.skip("pgrep is missing")
        os.kill(int(launcher.stdout), signal.SIGKILL)
        assert finished(child).returncode == 128 + signal.SIGKILL
        assert "ends with exit code 130" in (tmp_path / "run" / "log.txt").read_text()

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
