"""Workers that die, hang, hear nothing or are no longer needed: none is waited for for ever, and none is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from child_process import PlainChildProcess, isAlive, launched, scripted, waitUntil
from worker_bench import benches

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.EngineWorker import EngineWorker


@pytest.fixture
def bench():
    with benches() as make:
        yield make


class TestDeath:
    def test_the_last_words_are_told(self, bench):
        a = bench()
        error = a.worker.wait(a.ask("die")).error
        assert "window 7 of 9" in error.message and "memory" in error.hint
        assert a.worker.hello is None and a.devices[-1] is None

    def test_what_waited_is_asked_of_another_one(self, bench):
        a = bench()
        first, second = a.ask("die"), a.ask("answer", text="second")
        a.pump(lambda: len(a.answers) == 2)
        assert a.answers[first].error and a.answers[second].result["said"] == "second"
        assert len(a.children) == 2

    def test_one_that_died_while_nobody_asked_costs_no_request(self, bench):
        a = bench()
        a.worker.wait(a.ask("answer"))
        os.kill(a.worker.hello["pid"], signal.SIGKILL)
        assert waitUntil(lambda: not isAlive(a.children[0].processId))
        assert a.worker.wait(a.ask("answer", text="next")).required["said"] == "next"
        assert len(a.children) == 2

    def test_every_request_that_kills_ends_itself_only(self, bench):
        a = bench()
        deadly = [a.ask("die") for _ in range(3)]
        last = a.ask("answer", text="last")
        a.pump(lambda: len(a.answers) == 4, 20)
        assert all(a.answers[each].error for each in deadly) and a.answers[last].result

    def test_a_real_kill_in_the_middle_is_told_and_the_next_request_finds_another_worker(self, bench):
        a = bench(command=launched(scripted("worker")))
        number = a.ask("ignore")
        a.accepted(number)
        os.kill(a.worker.hello["pid"], signal.SIGKILL)
        a.pump(lambda: number in a.answers)
        assert a.answers[number].error is not None
        assert a.worker.wait(a.ask("answer", text="again")).result["said"] == "again"

    @pytest.mark.parametrize(
        ("program", "told"),
        [
            ("import a_package_that_is_not_there", "No module named 'a_package_that_is_not_there'"),
            ("import faulthandler, os; faulthandler.enable(); os.abort()", "Fatal Python error: Aborted"),
        ],
        ids=["raises", "crashes"],
    )
    def test_a_traceback_is_for_the_log_and_not_for_the_panel(self, bench, program, told):
        a = bench(command=[sys.executable, "-c", program])
        events = []
        a.worker.logged.connect(events.append)
        error = a.worker.wait(a.ask("answer")).error
        assert told in error.message
        assert not any(words in str(error) for words in ("Traceback", "File ", "thread 0x"))
        assert "File " in events[-1]["message"]

    def test_the_launcher_killed_alone_leaves_no_orphan(self, bench):
        a = bench(command=launched(scripted("worker")))
        number = a.ask("ignore")
        a.accepted(number)
        pid = a.worker.hello["pid"]
        os.kill(a.children[0].processId, signal.SIGKILL)
        a.pump(lambda: number in a.answers)
        assert a.answers[number].error is not None
        assert waitUntil(lambda: not isAlive(pid))

    def test_one_that_dies_before_it_is_ready_is_not_tried_for_ever(self, bench):
        a = bench("--dies")
        numbers = [a.ask("answer"), a.ask("answer")]
        a.pump(lambda: len(a.answers) == 2)
        for number in numbers:
            assert "importing" in a.answers[number].error.message
            assert "Set up PyTorch" in a.answers[number].error.hint
        assert len(a.children) == 1
        assert a.worker.wait(a.ask("answer")).error is not None  # and a later click tries again
        assert len(a.children) == 2

    def test_a_cancelled_one_that_dies_is_cancelled(self, bench):
        a = bench()
        number = a.ask("ignore")
        a.accepted(number)
        a.worker.cancel(number)
        os.kill(a.worker.hello["pid"], signal.SIGKILL)
        a.pump(lambda: number in a.answers)
        assert a.answers[number].cancelled

    def test_a_python_that_is_not_there_is_an_error_and_not_an_exception(self, bench, tmp_path):
        a = bench(command=[str(tmp_path / "PythonSlicer")])
        number = a.ask("answer")
        assert number not in a.answers  # not before the caller knows the number
        assert "PythonSlicer" in a.worker.wait(number).error.message

    def test_a_command_that_cannot_be_made_is_an_error_and_not_an_exception(self):
        def command():
            raise SkcdfError("There is no PythonSlicer.", "Install Slicer again.")

        worker = EngineWorker(command, PlainChildProcess)
        number = worker.request("answer", {})
        assert "no PythonSlicer" in worker.wait(number).error.message


class TestStorm:
    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(3))
    def test_whatever_happens_every_request_ends_once_and_no_process_stays(self, bench, seed):
        chance, a, pids, numbers = random.Random(seed), bench(command=launched(scripted("worker"))), set(), []
        for _ in range(60):
            move = chance.choice(["ask"] * 5 + ["cancel"] * 3 + ["kill", "wait", "wait", "change", "later"])
            if move == "ask":
                names = ["answer"] * 4 + ["obey", "refuse", "babble", "late", "die", "ignore"]
                numbers.append(a.ask(chance.choice(names)))
            elif move == "cancel" and numbers:
                a.worker.cancel(chance.choice(numbers), force=chance.random() < 0.8)
            elif move == "kill" and a.worker.hello and chance.random() < 0.5:
                with contextlib.suppress(ProcessLookupError):  # it has just died by itself
                    os.kill(a.worker.hello["pid"], signal.SIGKILL)
            elif move == "change":
                a.worker.restartWhenIdle()
            elif move == "later":
                a.clock.added += chance.choice([0.5, 3])
            for child in a.children[-3:]:
                child.wait(0)
            a.worker.tick()
            pids |= {child.processId for child in a.children} | {(a.worker.hello or {}).get("pid", 0)}
            time.sleep(chance.choice([0, 0, 0.05]))
        for number in numbers:
            a.worker.cancel(number)
        a.clock.added += 3
        a.pump(lambda: len(a.answers) == len(numbers), 30)
        assert set(a.answers) == set(numbers) and not a.worker.busy
        a.worker.shutdown()
        assert waitUntil(lambda: not any(map(isAlive, pids - {0})))


class TestPatience:
    def test_one_that_never_says_hello_is_given_up_after_two_minutes(self, bench):
        a = bench("--silent")
        number = a.ask("answer")
        a.clock.added += 110
        a.worker.tick()
        assert number not in a.answers
        pid = a.children[0].processId
        a.clock.added += 11
        a.worker.tick()
        assert "not ready after 120 s" in a.answers[number].error.message
        assert waitUntil(lambda: not isAlive(pid))

    @pytest.mark.parametrize(
        "command",
        [scripted("worker", "--deaf"), launched(scripted("worker"), "s.PIPE")],
        ids=["deaf", "launcher"],
    )
    def test_one_that_its_input_does_not_reach_is_given_up_after_twenty_seconds(self, bench, command):
        a = bench(command=command)
        number = a.ask("answer")
        pid = a.hello()["pid"]
        a.clock.added += 15
        a.worker.tick()
        assert number not in a.answers
        a.clock.added += 6
        a.worker.tick()
        assert "does not receive" in a.answers[number].error.message
        assert waitUntil(lambda: not isAlive(pid))

    def test_a_launcher_that_gives_no_input_is_told_at_once(self, bench):
        a = bench(command=launched(scripted("worker", "--late-hello"), "s.DEVNULL"))
        assert "does not receive" in a.worker.wait(a.ask("answer")).error.message

    def test_one_that_works_is_not_given_up_however_long_it_takes(self, bench):
        a = bench()
        number = a.ask("obey")
        a.accepted(number)
        waiting = a.ask("answer")
        a.clock.added += 3600
        a.worker.tick()
        assert not a.answers
        a.worker.cancel(number)
        a.pump(lambda: waiting in a.answers)


class TestIdling:
    def test_it_ends_after_the_keep_warm_time_and_the_next_request_starts_another(self, bench):
        a = bench("--idle-minutes", "3")
        a.worker.wait(a.ask("answer"))
        pid = a.worker.hello["pid"]
        a.clock.added += 2.9 * 60
        a.worker.tick()
        assert a.worker.running
        a.clock.added += 7
        a.worker.tick()
        assert not a.worker.running and a.devices[-1] is None
        assert waitUntil(lambda: not isAlive(pid))
        assert a.worker.wait(a.ask("answer", text="again")).result["said"] == "again"

    def test_it_ends_when_it_has_let_go_of_its_model(self, bench):
        a = bench()
        number = a.ask("release")
        a.pump(lambda: number in a.answers and not a.worker.running)

    def test_after_a_change_the_next_request_finds_another_worker(self, bench):
        a = bench()
        a.worker.wait(a.ask("answer"))
        pid = a.worker.hello["pid"]
        a.worker.restartWhenIdle()
        assert a.worker.wait(a.ask("answer", text="again")).required["said"] == "again"
        assert a.worker.hello["pid"] != pid
        assert waitUntil(lambda: not isAlive(pid))

    def test_a_change_does_not_disturb_what_runs(self, bench):
        a = bench()
        running, waiting = a.ask("obey"), a.ask("answer", text="waiting")
        a.accepted(waiting)
        a.worker.restartWhenIdle()
        a.worker.tick()
        a.worker.cancel(running)
        a.pump(lambda: len(a.answers) == 2)
        assert a.answers[waiting].result["said"] == "waiting" and len(a.children) == 1
        a.pump(lambda: not a.worker.running)

    def test_an_idle_one_that_does_not_go_is_killed(self, bench):
        a = bench("--deaf")
        a.worker.warm()
        pid = a.hello()["pid"]
        a.clock.added += 3600
        a.worker.tick()
        assert not a.worker.running and isAlive(pid)
        a.clock.added += 3
        a.worker.tick()
        assert waitUntil(lambda: not isAlive(pid))


class TestShutdown:
    def test_nothing_is_left_and_everything_asked_is_cancelled(self, bench):
        a = bench(command=launched(scripted("worker")))
        numbers = [a.ask("ignore"), a.ask("answer")]
        a.accepted(numbers[1])
        pids = [a.worker.hello["pid"], a.children[0].processId]
        a.worker.shutdown()
        assert [a.answers[number].cancelled for number in numbers] == [True, True]
        assert waitUntil(lambda: not any(map(isAlive, pids)))

    @pytest.mark.slow
    def test_one_that_does_not_end_by_itself_is_killed(self, bench):
        a = bench(command=launched(scripted("worker", "--deaf")))
        a.worker.warm()
        pids = [a.hello()["pid"], a.children[0].processId]
        began = time.monotonic()
        a.worker.shutdown()
        assert time.monotonic() - began < 5
        assert waitUntil(lambda: not any(map(isAlive, pids)))

    def test_without_a_worker_it_does_nothing_and_may_be_called_twice(self, bench):
        a = bench()
        a.worker.shutdown()
        a.worker.warm()
        a.worker.shutdown()
        a.worker.shutdown()

    @pytest.mark.slow
    def test_a_parent_that_crashes_leaves_no_worker(self, tmp_path):
        program = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from child_process import PlainChildProcess, launched, engine
from SKCDFSegmenterLib.EngineWorker import EngineWorker
worker = EngineWorker(lambda: launched(engine("worker")), PlainChildProcess)
worker.wait(worker.request("ping", {{}}))
print(worker.hello["pid"], flush=True)
os.kill(os.getpid(), 9)
"""
        said = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=120).stdout
        assert waitUntil(lambda: not isAlive(int(said)))
