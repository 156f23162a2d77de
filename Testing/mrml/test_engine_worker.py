"""The warm worker as the panel has it: asked and cancelled, with real child processes."""

from __future__ import annotations

import sys
import time

import pytest
from child_process import engine, isAlive, launched, scripted, waitUntil
from worker_bench import benches

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.EngineCommand import engineCommand


@pytest.fixture
def bench():
    with benches() as make:
        yield make


class TestRequests:
    def test_a_request_is_answered_with_its_events_before(self, bench):
        a = bench()
        number = a.ask("answer", text="süß")
        assert a.worker.busy and not a.answers
        answer = a.worker.wait(number)
        assert answer.result["said"] == "süß"
        assert a.answers == {number: answer}
        assert [event["event"] for event in a.events[number]] == ["accepted", "progress"]
        assert not a.worker.busy

    def test_nothing_is_started_before_the_first_request(self, bench):
        a = bench()
        a.worker.tick()
        assert a.children == [] and a.worker.hello is None

    def test_one_worker_answers_all(self, bench):
        a = bench()
        for text in "abc":
            assert a.worker.wait(a.ask("answer", text=text)).result["said"] == text
        assert len(a.children) == 1

    def test_a_users_error_arrives_with_its_hint(self, bench):
        a = bench()
        error = a.worker.wait(a.ask("refuse")).error
        assert (error.message, error.hint) == ("scan.nrrd: holds NaN.", "Save it again.")

    def test_where_a_result_is_required_its_lack_is_an_exception(self, bench):
        a = bench()
        with pytest.raises(SkcdfError, match="holds NaN"):
            a.worker.wait(a.ask("refuse")).required  # noqa: B018
        number = a.ask("obey")
        a.worker.cancel(number)
        with pytest.raises(SkcdfError, match="cancelled"):
            a.worker.wait(number).required  # noqa: B018

    def test_a_field_that_json_lacks_is_refused_and_nothing_asked(self, bench):
        a = bench()
        with pytest.raises(ValueError, match="JSON"):
            a.ask("answer", text=float("nan"))
        assert not a.worker.busy and a.children == []

    def test_garbage_does_not_hide_the_answer(self, bench):
        a = bench()
        assert a.worker.wait(a.ask("babble", text="here")).result["said"] == "here"
        assert any("no JSON" in event.get("message", "") for event in a.logged)

    def test_a_line_without_end_does_not_hide_the_answer(self, bench):
        a = bench()
        assert a.worker.wait(a.ask("flood", text="here")).result["said"] == "here"

    def test_what_an_answer_raises_does_not_stop_the_others(self, bench):
        a = bench()

        def fail(_answer):
            raise RuntimeError("a panel that is gone")

        first = a.worker.request("answer", {}, fail, fail)
        second = a.ask("answer", text="second")
        assert a.worker.wait(first).result
        assert a.worker.wait(second).result["said"] == "second"

    def test_an_answer_may_ask_again(self, bench):
        a, numbers = bench(), []
        a.worker.request("answer", {}, None, lambda _answer: numbers.append(a.ask("answer", text="next")))
        a.pump(lambda: numbers and numbers[0] in a.answers)

    def test_the_device_is_known_after_hello(self, bench):
        a = bench()
        a.worker.warm()
        assert a.hello()["device"] == "CPU, 1 threads"
        assert a.devices == [a.worker.hello]

    def test_a_worker_without_torch_is_a_worker(self, bench):
        a = bench("--torchless")
        assert a.worker.wait(a.ask("answer", text="pool")).result["said"] == "pool"
        assert a.worker.hello["torch"] is None


class TestCancel:
    def test_what_obeys_is_cancelled_and_stays_warm(self, bench):
        a = bench()
        number = a.ask("obey")
        a.accepted(number)
        a.worker.cancel(number)
        assert a.worker.wait(number).cancelled
        assert len(a.children) == 1 and isAlive(a.worker.hello["pid"])

    @pytest.mark.slow
    def test_what_does_not_obey_is_killed_after_two_seconds_and_another_one_warmed(self, bench):
        a = bench(command=launched(scripted("worker")))
        number = a.ask("ignore")
        a.accepted(number)
        pid, launcher = a.worker.hello["pid"], a.children[0].processId
        assert pid != launcher
        began = time.monotonic()
        a.worker.cancel(number)
        a.pump(lambda: number in a.answers)
        assert 1.9 < time.monotonic() - began < 3
        assert a.answers[number].cancelled
        assert waitUntil(lambda: not isAlive(pid) and not isAlive(launcher))
        assert a.hello()["pid"] != pid
        assert not a.worker.busy

    @pytest.mark.slow
    def test_what_waits_behind_it_is_asked_of_the_new_one(self, bench):
        a = bench()
        stubborn, next_ = a.ask("ignore"), a.ask("answer", text="next")
        a.accepted(next_)
        a.worker.cancel(stubborn)
        a.pump(lambda: next_ in a.answers)
        assert a.answers[stubborn].cancelled and a.answers[next_].result["said"] == "next"

    def test_a_waiting_one_is_cancelled_without_harm_to_what_runs(self, bench):
        a = bench()
        running, waiting = a.ask("obey"), a.ask("answer")
        a.accepted(waiting)
        a.worker.cancel(waiting)
        assert a.worker.wait(waiting).cancelled
        assert a.worker.busy and running not in a.answers and len(a.children) == 1

    def test_before_hello_it_is_cancelled_at_once_and_nothing_is_killed(self, bench):
        a = bench("--late-hello")
        number = a.ask("ignore")
        a.worker.cancel(number)
        assert a.answers[number].cancelled
        a.hello()
        assert a.worker.wait(a.ask("answer", text="after")).result["said"] == "after"
        assert len(a.children) == 1

    def test_without_force_it_is_waited_for(self, bench):
        a = bench()
        number = a.ask("ignore")
        a.accepted(number)
        a.worker.cancel(number, force=False)
        a.clock.added += 60
        a.worker.tick()
        assert number not in a.answers
        a.worker.cancel(number)
        a.pump(lambda: number in a.answers)

    def test_a_result_that_came_too_late_to_be_stopped_is_told(self, bench):
        a = bench()
        number = a.ask("late")
        a.accepted(number)
        a.worker.cancel(number)
        assert a.worker.wait(number).result is not None

    def test_cancel_of_what_has_ended_does_nothing(self, bench):
        a = bench()
        number = a.ask("answer")
        a.worker.wait(number)
        a.worker.cancel(number)
        a.worker.cancel(4711)
        assert a.worker.wait(a.ask("answer", text="fine")).result


class TestRealWorker:
    @pytest.mark.slow
    def test_it_says_its_device_and_answers(self, bench):
        a = bench(command=engine("worker"))
        answer = a.worker.wait(a.ask("ping"))
        assert answer.result["running"] is None
        assert a.worker.hello["device"].startswith("CPU")

    @pytest.mark.slow
    def test_it_is_a_worker_through_the_modules_own_main(self, bench):
        a = bench(command=launched([*engineCommand(sys.executable), "worker"]))
        assert a.worker.wait(a.ask("ping")).result is not None
        pid = a.worker.hello["pid"]
        a.worker.shutdown()
        assert waitUntil(lambda: not isAlive(pid))
