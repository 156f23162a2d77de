"""A training in a child process: what it says, and that it stops with a checkpoint; with real children."""

from __future__ import annotations

import os

import pytest
from child_process import PlainChildProcess, engine, isAlive, launched, scripted, waitUntil
from worker_bench import Clock

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.phantom import make_phantom
from skcdf.pool import LabelledPool
from SKCDFSegmenterLib.TrainingProcess import TrainingProcess


class Bench:
    """A training with all that it said."""

    def __init__(self, command):
        self.clock, self.children, self.ends, self.progress, self.words = Clock(), [], [], [], []
        self.training = TrainingProcess(lambda: command, self.makeChild, self.clock)
        self.training.ended.connect(self.ends.append)
        self.training.progressed.connect(self.progress.append)
        self.training.said.connect(lambda event: self.words.append(event["message"]))

    def makeChild(self):
        self.children.append(PlainChildProcess())
        return self.children[-1]

    def pump(self, condition, seconds=10.0):
        def step():
            self.children[-1].wait(0)
            self.training.tick()
            return condition()

        assert waitUntil(step, seconds)

    @property
    def pid(self):
        return self.training.hello["pid"]


@pytest.fixture
def bench():
    made = []

    def make(command):
        made.append(Bench(command))
        return made[-1]

    yield make
    for each in made:
        pids = [child.processId for child in each.children if child.processId]
        each.clock.added += 60
        each.training.shutdown()
        assert waitUntil(lambda pids=pids: not any(map(isAlive, pids)))


@pytest.fixture(scope="module")
def smallPool(tmp_path_factory):
    """A pool of three phantoms."""
    pool = LabelledPool.create(
        tmp_path_factory.mktemp("pool"), LabelSet.load("phantom13"), "CT", synthetic=True
    )
    for seed, split in enumerate(["training", "training", "validation"]):
        scan, labels = make_phantom(seed, shape=(48, 64, 64), spacing=(5, 6, 6), cut_off_share=0)
        pool.add_case(f"case_{seed}", scan, labels, subject=f"patient {seed}", split=split)
    return pool.root


def test_it_tells_progress_and_its_result(bench):
    a = bench(scripted())
    a.training.start(["finetune", "pool", "run", "--learns"])
    assert a.training.running and a.training.outcome is None
    outcome = a.training.wait()
    assert outcome.result["version"] == "v2"
    assert a.ends == [outcome] and a.training.outcome is outcome
    assert a.words == ["fine-tuning"]
    assert a.training.lastProgress == a.progress[-1] and a.progress[-1]["fraction"] == 0.25
    assert not a.training.running


def test_the_child_is_asked_for_events_and_told_to_watch_its_input(bench):
    a = bench(scripted())
    a.training.start(["finetune", "pool", "run", "--learns"])
    assert a.children[0].command[2:] == [
        *("finetune", "pool", "run", "--learns"),
        *("--progress", "json", "--stdin", "watch"),
    ]


def test_stop_leaves_a_checkpoint(bench):
    a = bench(launched(scripted()))
    a.training.start(["finetune", "pool", "run"])
    a.pump(lambda: a.progress)
    a.training.stop()
    assert a.training.stopping
    a.pump(lambda: a.ends)
    assert a.ends[0].stopped["iteration"] == 7
    assert not a.training.stopping


def test_what_does_not_stop_is_killed_after_fifteen_seconds(bench):
    a = bench(launched(scripted()))
    a.training.start(["finetune", "pool", "run", "--ignores"])
    a.pump(lambda: a.progress)
    pid = a.pid
    a.training.stop()
    a.clock.added += 14
    a.training.tick()
    assert isAlive(pid)
    a.clock.added += 2
    a.pump(lambda: a.ends)
    assert a.ends[0].stopped["iteration"] is None
    assert "last checkpoint is kept" in a.ends[0].stopped["message"]
    assert waitUntil(lambda: not isAlive(pid))


def test_an_error_arrives_with_its_hint(bench):
    a = bench(scripted())
    a.training.start(["finetune", "pool", "run", "--refuses"])
    error = a.training.wait().error
    assert (error.message, error.hint) == ("pool: has no labelled case.", "Add one.")


def test_a_death_is_told_with_its_last_words(bench):
    a = bench(scripted())
    a.training.start(["finetune", "pool", "run", "--dies"])
    error = a.training.wait().error
    assert "out of memory" in error.message and "out of memory" in a.words[-1], "the log has them, too"
    assert error.hint.endswith("close other programs, and start it again."), (
        "it has no region to make smaller"
    )


def test_one_training_at_a_time_and_another_one_afterwards(bench):
    a = bench(scripted())
    a.training.start(["finetune", "pool", "run", "--learns"])
    with pytest.raises(SkcdfError, match="running already"):
        a.training.start(["finetune", "pool", "run2"])
    a.training.wait()
    a.training.start(["finetune", "pool", "run", "--refuses"])
    assert a.training.wait().error is not None
    assert len(a.ends) == 2


def test_shutdown_waits_for_the_checkpoint(bench):
    a = bench(launched(scripted()))
    a.training.start(["finetune", "pool", "run"])
    a.pump(lambda: a.progress)
    pid = a.pid
    a.training.shutdown()
    assert a.ends[0].stopped["iteration"] == 7
    assert not isAlive(pid)


def test_a_python_that_is_not_there_is_told(bench, tmp_path):
    a = bench([str(tmp_path / "PythonSlicer")])
    a.training.start(["finetune", "pool", "run"])
    assert "PythonSlicer" in a.training.wait().error.message


@pytest.mark.slow
def test_a_real_training_that_cannot_begin_says_why(bench, tmp_path):
    a = bench(engine())
    a.training.start(["finetune", str(tmp_path / "pool"), str(tmp_path / "run")])
    assert str(tmp_path / "pool") in a.training.wait().error.message


@pytest.mark.slow
def test_a_real_training_whose_parent_goes_stops_by_itself(bench, tmp_path, smallPool):
    a = bench(launched(engine()))
    a.training.start(
        ["finetune", str(smallPool), str(tmp_path / "run"), "--preset", "quick", "--device", "cpu"]
    )
    a.pump(lambda: any(event.get("phase") == "train" for event in a.progress) or a.ends, 120)
    assert not a.ends, a.ends
    pid = a.pid
    os.kill(a.children[0].processId, 9)  # the launcher alone
    a.pump(lambda: not isAlive(pid), 12)
    assert a.ends[0].error is not None
    assert (tmp_path / "run" / "log.txt").read_text("utf-8").rstrip().endswith("exit code 130")
