"""What a pool accepted survives the death of the program that added it, and programs that add at once lose nothing."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import skcdf
from skcdf.datasets import open_dataset
from skcdf.files import read_json
from skcdf.image import read_image, read_label_map
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool

SCRIPT = Path(__file__).with_name("pool_worker.py")
SPEC = importlib.util.spec_from_file_location("pool_worker", SCRIPT)
work = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(work)
LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney", "liver"])
MANY = 100_000


@pytest.fixture
def pool(tmp_path) -> LabelledPool:
    return LabelledPool.create(tmp_path / "pool", LABELS, "CT")


def start(pool: LabelledPool, kind: str, prefix: str, count: int) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
    command = [sys.executable, str(SCRIPT), str(pool.root), kind, prefix, str(count)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def kill_at_random(child: subprocess.Popen) -> list[str]:
    """Kills it some time after its first change; the lines that it had said."""
    first = child.stdout.readline()
    time.sleep(random.uniform(0, 0.15))
    child.send_signal(signal.SIGKILL)
    # Not `communicate`: it passes over the lines that came with the first one and are in the buffer already.
    said, errors = child.stdout.read(), child.stderr.read()
    assert (child.wait(), errors) == (-signal.SIGKILL, "")
    return [line.split() for line in (first + said).splitlines()]


def assert_stored(pool: LabelledPool, name: str, seed: int, labelled: bool) -> None:
    """The case's files hold what was added, bit for bit."""
    (case,) = (case for case in open_dataset(pool.root).cases if case.name == name)
    image = read_image(case.image)
    np.testing.assert_array_equal(image.array, work.scan(seed).array)
    assert image.geometry.same_grid(work.GEOMETRY)
    assert (case.label is not None) == labelled
    if case.label is not None:
        np.testing.assert_array_equal(read_label_map(case.label).array, work.label_map(seed).array)


@pytest.mark.slow
def test_every_case_whose_adding_had_returned_is_there_after_a_kill(pool, repeated):
    said: list[tuple[str, str, str]] = []
    for number in range(repeated(5, 100)):
        prefix = f"kill{number}_"
        said += [(prefix, *line) for line in kill_at_random(start(pool, "add", prefix, MANY))]
        report = pool.verify()
        assert report.problems == ()
        assert report.cases in (len(said), len(said) + 1)  # killed after the commit, before it was said
        if report.cases > len(said):
            (lost,) = {record.name for record in pool.records()} - {name for _, name, _ in said}
            said.append((prefix, lost, lost.removeprefix(prefix)))
        assert pool.verify().repaired == ()
    for prefix, name, index in said[-200:]:
        assert_stored(pool, name, work.seed_of(prefix, int(index)), int(index) % 3 < 2)
    described = read_json(pool.root / "dataset.json", "data set")
    assert described["numTraining"] == len(described["dataset"])
    assert not list((pool.root / "incoming").iterdir())


@pytest.mark.slow
def test_every_revision_that_had_returned_is_the_current_one_after_a_kill(pool, repeated):
    for index in range(4):
        work.add(pool, "case", index)
    count = 0
    for number in range(repeated(5, 100)):
        said = kill_at_random(start(pool, "revise", f"revision{number}_", MANY))
        count += len(said)
        report = pool.verify()
        assert report.problems == ()
        revisions = sum(len(record.revisions) for record in pool.records()) - 3
        assert revisions in (count, count + 1)
        if revisions == count:  # else one more was committed and not said
            name, index = said[-1]
            seed = work.seed_of(f"revision{number}_", int(index))
            (case,) = (case for case in open_dataset(pool.root).cases if case.name == name)
            np.testing.assert_array_equal(read_label_map(case.label).array, work.label_map(seed).array)
        count = revisions
    for record in pool.records():  # what the killed ones did not come to
        if record.state == "unlabelled":
            pool.revise(record.name, work.label_map(0))
    assert not list((pool.root / "imagesUn").iterdir())


@pytest.mark.slow
def test_two_programs_that_add_at_once_lose_nothing(pool, repeated):
    count = repeated(5, 50)
    children = [start(pool, "add", prefix, count) for prefix in ("ann", "bob")]
    for child in children:
        said, errors = child.communicate(timeout=600)
        assert (child.returncode, errors, len(said.splitlines())) == (0, "", count)
    report = pool.verify()
    assert (report.cases, report.problems, report.repaired) == (2 * count, (), ())
    for prefix in ("ann", "bob"):
        for index in range(count):
            assert_stored(pool, f"{prefix}{index}", work.seed_of(prefix, index), index % 3 < 2)
    records = pool.records()
    full = [r.name for r in records if r.current and r.split == "training" and len(r.current.annotated) == 4]
    described = read_json(pool.root / "dataset.json", "data set")
    assert sorted(described["dataset"]) == full
    assert described["numTraining"] == len(full)
    labelled = sum(1 for record in records if record.revisions)
    assert sum(1 for record in records if record.split == "validation") == 1 + (labelled - 3) // 5


@pytest.mark.slow
def test_of_two_programs_that_add_the_same_scan_one_is_refused(pool):
    children = [start(pool, "add", "same", 3) for _ in range(2)]
    ends = [child.communicate(timeout=100) for child in children]
    assert sum("has a case called same" in errors or "is locked by" in errors for _, errors in ends) >= 1
    assert pool.verify().problems == ()
    assert {record.name for record in pool.records()} <= {"same0", "same1", "same2"}
    assert sum(len(said.splitlines()) for said, _ in ends) == len(pool.records())
