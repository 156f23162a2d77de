"""What is known of scans before a run, asked of a worker that says what it was asked."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from segmenter_bench import segmenterBenches

from SKCDFSegmenterLib.ScanChecks import ScanChecks
from SKCDFSegmenterLib.VolumeSegmenter import SegmentationSettings


@pytest.fixture
def makeBench(slicer, tmp_path):
    with segmenterBenches(tmp_path / "temporary") as make:
        yield make


class Asked:
    """Checks on the bench, and what they told."""

    def __init__(self, bench):
        self.bench, self.checks, self.outcomes = bench, ScanChecks(bench.segmenter, bench.worker), []

    def ask(self, volumes, region=None, **settings):
        self.checks.start(volumes, SegmentationSettings(**settings), region, self.outcomes.append)

    def end(self):
        self.bench.bench.pump(lambda: self.outcomes and not self.checks.running)
        return self.outcomes[-1]


@pytest.fixture
def asked(makeBench):
    return Asked(makeBench())


@pytest.fixture
def scan(slicer):
    return lambda name="CT": slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name=name)


def test_warnings_time_and_memory_of_one_scan_are_told(asked, scan):
    asked.ask([scan()], organs=("spleen",))
    outcome = asked.end()
    (warning,) = outcome.warnings
    question, _, hint = warning.rpartition("} ")
    assert json.loads(question + "}")["organs"] == ["spleen"] and hint == "Look twice."
    assert (outcome.seconds, outcome.memoryMiB, outcome.device) == (3.5, 900.0, "CPU, 1 threads")
    assert outcome.errors == () and asked.bench.files == []


def test_times_of_several_scans_add_up_and_memory_does_not(asked, scan):
    asked.ask([scan("a"), scan("b"), scan("c")])
    outcome = asked.end()
    assert (outcome.seconds, outcome.memoryMiB) == (10.5, 900.0)
    assert len(outcome.warnings) == 3 and len(asked.outcomes) == 1


def test_a_scan_that_cannot_be_segmented_is_named_and_nothing_is_estimated(slicer, asked, scan):
    colour = slicer.util.addVolumeFromArray(
        np.zeros((4, 5, 6, 3), np.uint8), name="photo", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    asked.ask([scan("a"), colour])
    outcome = asked.end()
    assert [error.message for error in outcome.errors] == ["photo: the volume has 3 values per voxel."]
    assert outcome.seconds is None and outcome.memoryMiB is None


def test_what_was_asked_last_is_what_counts(asked, scan):
    asked.ask([scan("first")])
    asked.ask([scan("second"), scan("third")])
    assert asked.end().seconds == 7.0
    asked.bench.bench.pump(lambda: not asked.bench.worker.busy)
    assert len(asked.outcomes) == 1


def test_a_question_that_was_taken_back_is_not_answered(asked, scan):
    asked.ask([scan(), scan()])
    asked.checks.stop()
    asked.bench.bench.pump(lambda: not asked.bench.worker.busy)
    assert asked.outcomes == [] and not asked.checks.running and asked.bench.files == []


def test_a_run_that_begins_ends_the_check(slicer, asked, scan):
    asked.ask([scan()])
    asked.bench.start(scan("other"))
    asked.bench.end()
    assert asked.outcomes == [] and not asked.checks.running


def test_a_worker_that_does_not_start_is_an_error_not_a_crash(makeBench, scan):
    asked = Asked(makeBench("--dies"))
    asked.ask([scan()])
    outcome = asked.end()
    assert len(outcome.errors) == 1 and outcome.warnings == ()
