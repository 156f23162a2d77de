"""The child process: what it says, how it ends, and that it ends."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from child_process import PYTHON, PlainChildProcess, installEngine

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.EngineProcess import EngineProcess
from SKCDFSegmenterLib.Requirements import ensureRequirements

WAITING = "import time\nprint('started', flush=True)\ntime.sleep(60)\n"


class Run:
    """An engine process with all it reported."""

    def __init__(self, child=None, python=PYTHON):
        self.child = child or PlainChildProcess()
        self.engine = EngineProcess(python, self.child)
        self.lines, self.ends = [], []

    def start(self, *arguments):
        self.engine.start(list(arguments), self.lines.append, lambda *end: self.ends.append(end))
        return self

    @property
    def error(self):
        ((error, _cancelled),) = self.ends
        return error


class ScriptedChildProcess:
    """A child process whose output and end the test decides."""

    def start(self, program, arguments, onOutput, onFinished):
        self.command, self.output, self.finish = [program, *arguments], onOutput, onFinished

    def closeInput(self):
        pass

    def waitForFinished(self, seconds):
        return False

    def kill(self):
        self.finish(None)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes ``program`` the engine."""

    def install(program):
        path = installEngine(tmp_path, program)
        monkeypatch.setattr("SKCDFSegmenterLib.EngineProcess.ENGINE_MAIN", path)
        return path

    return install


class TestRealChild:
    def test_it_runs_the_engine_beside_the_module_with_the_arguments(self, install):
        path = install("import sys, skcdf\nprint(sys.argv[1:], skcdf.__file__)\n")
        run = Run().start("segment", "süß scan.nrrd", "out.nrrd")
        run.engine.wait()
        assert run.ends == [(None, False)]
        assert "['segment', 'süß scan.nrrd', 'out.nrrd']" in run.lines[0]
        assert str(path.parents[1] / "skcdf") in run.lines[0]

    def test_cancel_ends_it_at_once_without_force(self, install):
        install(WAITING)
        run = Run().start()
        run.child.waitForLine(b"started")
        start = time.monotonic()
        run.engine.cancel()
        assert time.monotonic() - start < 1.5
        assert run.ends == [(None, True)]
        assert not run.child.wasKilled
        assert not run.engine.running

    def test_it_ends_with_its_parent_even_behind_a_launcher(self, install):
        path = install(WAITING.replace("'started'", "__import__('os').getpid()"))
        launcher = (
            "import subprocess, sys; sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)"
        )
        process = subprocess.Popen(
            [str(PYTHON), "-c", launcher, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        pid = int(process.stdout.readline())
        process.kill()
        process.stdin.close()
        process.stdout.read()  # ends when the grandchild has closed it
        process.stdout.close()
        process.wait()
        time.sleep(0.1)
        assert not os.path.exists(f"/proc/{pid}/exe")

    def test_a_libraries_look_at_standard_input_does_not_take_the_lifeline(self, install):
        install("import sys\nprint(repr(sys.stdin.read()))\n")
        run = Run().start()
        run.engine.wait()
        assert run.lines == ["''"]

    def test_a_python_that_is_not_there_is_an_error(self, tmp_path):
        run = Run(python=tmp_path / "PythonSlicer").start()
        assert "ended without a word" in run.error.message


class TestOutput:
    def test_lines_come_whole_whatever_the_pieces(self):
        run = Run(ScriptedChildProcess()).start()
        for piece in (b"resamp", b"ling\nwindow 1 of 9\rwindow", b" 2 of 9\r\nL\xc3", b"\xa4nge"):
            run.child.output(piece)
        run.child.finish(0)
        assert run.lines == ["resampling", "window 1 of 9", "window 2 of 9", "Länge"]

    def test_output_is_unbuffered_and_utf8(self):
        assert Run(ScriptedChildProcess()).start("segment").child.command[1:4] == ["-u", "-X", "utf8"]

    def test_a_users_error_arrives_with_its_hint(self):
        run = Run(ScriptedChildProcess()).start()
        run.child.output(b"error: scan.nrrd: holds NaN.\nhint: Save it again.\n")
        run.child.finish(1)
        assert (run.error.message, run.error.hint) == ("scan.nrrd: holds NaN.", "Save it again.")

    def test_missing_torch_says_which_extension_to_install(self):
        run = Run(ScriptedChildProcess()).start()
        run.child.output(b"Traceback\nModuleNotFoundError: No module named 'torch'\n")
        run.child.finish(1)
        assert "Install the PyTorch extension" in run.error.hint

    def test_a_crash_shows_the_last_lines(self):
        run = Run(ScriptedChildProcess()).start()
        run.child.output(b"window 7 of 9\n")
        run.child.finish(None)
        assert "window 7 of 9" in run.error.message
        assert "memory" in run.error.hint

    def test_any_other_end_names_its_code(self):
        run = Run(ScriptedChildProcess()).start()
        run.child.finish(2)
        assert "exit code 2" in run.error.message

    def test_what_does_not_end_by_itself_is_killed(self):
        run = Run(ScriptedChildProcess()).start()
        run.engine.cancel()
        assert run.ends == [(None, True)]

    def test_one_run_at_a_time(self):
        run = Run(ScriptedChildProcess()).start()
        with pytest.raises(SkcdfError, match="running already"):
            run.start()

    def test_cancel_without_a_run_does_nothing(self):
        Run(ScriptedChildProcess()).engine.cancel()


class TestRequirements:
    def test_what_is_there_is_not_installed_again(self, tmp_path):
        (tmp_path / "requirements.txt").write_text("numpy>=1.0\npytest\n")
        ensureRequirements(tmp_path / "requirements.txt")

    def test_missing_torch_is_told_before_anything_starts(self, tmp_path, monkeypatch):
        (tmp_path / "requirements.txt").write_text("")
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        with pytest.raises(SkcdfError, match="PyTorch is not installed"):
            ensureRequirements(tmp_path / "requirements.txt")
