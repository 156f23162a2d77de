"""Child processes through Qt's own QProcess: what they say comes by the event loop, or while somebody waits."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
from child_process import isAlive, launched, scripted, waitUntil

from SKCDFSegmenterLib.EngineWorker import EngineWorker
from SKCDFSegmenterLib.TrainingProcess import TrainingProcess


class Run:
    """One child with all that it told."""

    def __init__(self, *program):
        from SKCDFSegmenterLib.Panels.QtChildProcess import QtChildProcess

        self.child, self.output, self.errors, self.codes = QtChildProcess(), bytearray(), bytearray(), []
        self.child.start(
            sys.executable if program[0] == "-c" else program[0],
            list(program[program[0] != "-c" :]),
            self.output.extend,
            self.errors.extend,
            self.codes.append,
        )


@pytest.fixture
def run(slicer, pump):
    """Starts a child; none is left."""
    made = []

    def start(*program):
        made.append(Run(*program))
        return made[-1]

    yield start
    for each in made:
        each.child.kill()
        assert pump(lambda each=each: each.codes)


class TestEventLoop:
    def test_output_and_errors_come_apart_and_then_the_end(self, run, pump):
        a = run("-c", "import sys; print('süß'); print('sauer', file=sys.stderr); sys.exit(3)")
        assert a.child.processId > 0
        assert pump(lambda: a.codes)
        assert (a.output.decode().strip(), a.errors.decode().strip(), a.codes) == ("süß", "sauer", [3])
        assert a.child.processId == 0

    def test_what_is_written_arrives_and_the_end_of_input_too(self, run, pump):
        a = run("-c", "import sys; print(sys.stdin.readline(), sys.stdin.readline(), repr(sys.stdin.read()))")
        a.child.write(b"first\n")
        a.child.write(b"second\n")
        a.child.closeInput()
        assert pump(lambda: a.codes)
        assert a.output.decode().split() == ["first", "second", "''"]

    def test_a_crash_has_no_exit_code(self, run, pump):
        a = run("-c", "import os; print('last', flush=True); os.kill(os.getpid(), 9)")
        assert pump(lambda: a.codes)
        assert a.codes == [None] and a.output == b"last\n"

    def test_one_that_is_killed_has_none_either(self, run, pump):
        a = run("-c", "import time; print('on', flush=True); time.sleep(600)")
        assert pump(lambda: a.output)
        a.child.kill()
        assert pump(lambda: a.codes)
        assert a.codes == [None]

    def test_one_that_cannot_be_started_has_ended(self, run, pump, tmp_path):
        a = run(str(tmp_path / "PythonSlicer"))
        assert pump(lambda: a.codes)
        assert a.codes == [None]
        a.child.write(b"to nobody")
        a.child.closeInput()
        a.child.wait(0.1)
        a.child.kill()
        assert a.codes == [None]

    def test_much_output_arrives_whole(self, run, pump):
        a = run("-c", "import sys; sys.stdout.write('x' * 5_000_000); sys.stderr.write('y' * 5_000_000)")
        assert pump(lambda: a.codes, 20)
        assert (len(a.output), len(a.errors)) == (5_000_000, 5_000_000)


class TestWaiting:
    """As scripts do, whose event loop stands still."""

    def test_it_returns_when_something_came(self, run):
        a = run("-c", "import time; time.sleep(0.3); print('here', flush=True); time.sleep(600)")
        began = time.monotonic()
        while b"here" not in a.output:
            a.child.wait(5)
        assert time.monotonic() - began < 4

    def test_it_returns_when_the_time_is_over(self, run):
        a = run("-c", "import time; time.sleep(600)")
        began = time.monotonic()
        a.child.wait(0.2)
        assert 0.1 < time.monotonic() - began < 1

    def test_it_sends_what_was_written_and_tells_the_end(self, run):
        a = run("-c", "import sys; print(sys.stdin.read())")
        a.child.write(b"by hand")
        a.child.closeInput()
        assert waitUntil(lambda: a.child.wait(0.1) or a.codes)
        assert (a.output.strip(), a.codes) == (b"by hand", [0])
        a.child.wait(5)

    def test_inside_a_slot_it_delivers_as_well(self, slicer, pump):
        from SKCDFSegmenterLib.Panels.QtChildProcess import QtChildProcess

        child, came, codes = QtChildProcess(), [], []

        def receive(data):
            came.append(data)
            if len(came) == 1:
                while len(came) == 1 and not codes:
                    child.wait(1)

        program = "import time; print('one', flush=True); time.sleep(0.3); print('two', flush=True)"
        child.start(sys.executable, ["-c", program], receive, print, codes.append)
        assert pump(lambda: codes)
        assert b"".join(came) == b"one\ntwo\n"


class TestEnvironment:
    SHOW = "import os; print(os.environ.get('SKCDF_TEST'))"

    @pytest.fixture(autouse=True)
    def variables(self, slicer, monkeypatch):
        """The application has a variable that was not there when it was started."""
        from PySide6.QtCore import QProcessEnvironment

        startup = QProcessEnvironment.systemEnvironment()
        monkeypatch.setattr(type(slicer.app), "startupEnvironment", lambda _self: startup)
        monkeypatch.setenv("SKCDF_TEST", "Slicer's")

    def test_slicers_own_python_has_that_of_the_application(self, slicer, run, pump):
        a = run(f"{slicer.app.slicerHome}/bin/PythonSlicer", "-c", self.SHOW)
        assert pump(lambda: a.codes)
        assert a.output.decode().strip() == "Slicer's"

    def test_another_one_has_that_of_the_user(self, run, pump):
        a = run("-c", self.SHOW)
        assert pump(lambda: a.codes)
        assert a.output.decode().strip() == "None"


class TestWorker:
    @pytest.fixture
    def makeWorker(self, slicer, pump):
        made = []

        def make(command):
            from SKCDFSegmenterLib.Panels.QtChildProcess import QtChildProcess

            made.append(EngineWorker(lambda: command, QtChildProcess))
            return made[-1]

        yield make
        for each in made:
            pid = (each.hello or {}).get("pid")
            each.shutdown()
            assert pid is None or waitUntil(lambda pid=pid: not isAlive(pid))

    def ask(self, worker, name):
        answers = []
        worker.request(name, {}, None, answers.append)
        return answers

    def until(self, pump, worker, condition, seconds=10):
        return pump(lambda: worker.tick() or condition(), seconds)

    def test_it_answers_by_the_event_loop(self, makeWorker, pump):
        worker = makeWorker(launched(scripted("worker")))
        answers = self.ask(worker, "answer")
        assert self.until(pump, worker, lambda: answers)
        assert answers[0].result is not None

    def test_it_answers_a_script(self, makeWorker):
        worker = makeWorker(scripted("worker"))
        assert worker.wait(worker.request("answer", {})).result is not None

    @pytest.mark.slow
    def test_what_does_not_obey_is_replaced(self, makeWorker, pump):
        worker = makeWorker(launched(scripted("worker")))
        answers = self.ask(worker, "ignore")
        assert self.until(pump, worker, lambda: worker.hello)
        pid = worker.hello["pid"]
        pump(lambda: False, 0.3)
        worker.cancel(1)
        assert self.until(pump, worker, lambda: answers and worker.hello)
        assert answers[0].cancelled and worker.hello["pid"] != pid
        assert waitUntil(lambda: not isAlive(pid))

    def test_its_death_is_told(self, makeWorker, pump):
        worker = makeWorker(launched(scripted("worker")))
        answers = self.ask(worker, "ignore")
        assert self.until(pump, worker, lambda: worker.hello)
        os.kill(worker.hello["pid"], signal.SIGKILL)
        assert self.until(pump, worker, lambda: answers)
        assert answers[0].error is not None

    def test_a_training_stops_with_a_checkpoint_without_an_event_loop(self, slicer, pump):
        from SKCDFSegmenterLib.Panels.QtChildProcess import QtChildProcess

        training = TrainingProcess(lambda: launched(scripted()), QtChildProcess)
        training.start(["finetune", "pool", "run"])
        assert pump(lambda: training.lastProgress)
        training.shutdown()
        assert training.outcome.stopped["iteration"] == 7
