"""Several volumes in a row."""

from __future__ import annotations

import os
import signal

import pytest
import segmenter_bench
from segmenter_bench import numberOfSegmentations, segmenterBenches

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.SegmentationQueue import SegmentationQueue
from SKCDFSegmenterLib.VolumeSegmenter import SegmentationSettings


@pytest.fixture
def bench(slicer, tmp_path):
    with segmenterBenches(tmp_path / "temporary") as make:
        yield make


@pytest.fixture
def volumes(slicer, makeVolume):
    nodes = [segmenter_bench.brightVolume(slicer, makeVolume) for _ in range(3)]
    for node, name in zip(nodes, "abc", strict=True):
        node.SetName(name)
    return nodes


class Row:
    """A queue with all that it said."""

    def __init__(self, bench, volumes):
        self.bench, self.queue = bench, SegmentationQueue(bench.segmenter)
        self.progress, self.each, self.ends = [], [], []
        self.queue.start(
            volumes,
            SegmentationSettings(),
            onProgress=lambda number, total, event: self.progress.append((number, total, event["phase"])),
            onVolume=self.each.append,
            onFinished=self.ends.append,
        )

    def end(self):
        self.bench.bench.pump(lambda: self.ends, 20)
        (outcomes,) = self.ends
        assert not self.queue.running and self.bench.files == []
        return outcomes

    def names(self):
        return [queued.volumeName for queued in self.end() if queued.outcome.segmentationNode is not None]


def test_each_volume_gets_a_segmentation_of_its_own(slicer, bench, volumes):
    row = Row(bench(), volumes)
    assert row.queue.running
    assert row.names() == ["a", "b", "c"]
    assert numberOfSegmentations(slicer) == 3
    assert [queued.volumeNode for queued in row.each] == volumes
    assert row.progress[0] == (0, 3, "model") and row.progress[-1] == (2, 3, "segment")


def test_one_that_cannot_be_begun_does_not_stop_the_others(slicer, bench, volumes):
    volumes[1].SetAndObserveImageData(None)
    row = Row(bench(), volumes)
    assert row.names() == ["a", "c"]
    assert "no voxels" in row.ends[0][1].outcome.error.message


def test_one_that_fails_does_not_stop_the_others(slicer, bench, volumes):
    row = Row(bench(), volumes)
    volumes[0].SetOrigin(1, 2, 3)
    assert row.names() == ["b", "c"]
    assert "was changed" in row.ends[0][0].outcome.error.message


def test_a_worker_that_dies_does_not_stop_the_others(bench, volumes):
    a = bench("--stubborn")
    row = Row(a, volumes)
    a.bench.pump(lambda: row.progress)
    a.bench.command = [part for part in a.bench.command if part != "--stubborn"]
    os.kill(a.worker.hello["pid"], signal.SIGKILL)
    assert row.names() == ["b", "c"]


def test_one_that_was_closed_before_its_turn_is_told_by_its_name(slicer, bench, volumes):
    row = Row(bench(), volumes)
    slicer.mrmlScene.RemoveNode(volumes[2])
    assert row.names() == ["a", "b"]
    assert row.ends[0][2].volumeName == "c"
    assert "closed before its turn" in row.ends[0][2].outcome.error.message


@pytest.mark.slow
def test_cancel_ends_the_run_and_begins_no_other(slicer, bench, volumes):
    a = bench("--stubborn")
    row = Row(a, volumes)
    a.bench.pump(lambda: row.progress)
    row.queue.cancel()
    (queued,) = row.end()
    assert queued.outcome.cancelled
    assert numberOfSegmentations(slicer) == 0


def test_a_worker_that_is_shut_down_ends_it(bench, volumes):
    a = bench("--stubborn")
    row = Row(a, volumes)
    a.bench.pump(lambda: row.progress)
    a.worker.shutdown()
    assert [queued.outcome.cancelled for queued in row.end()] == [True]
    assert not a.worker.running


def test_many_that_cannot_be_begun_are_all_told(bench, slicer):
    nodes = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode") for _ in range(1100)]
    assert len(Row(bench(), nodes).end()) == 1100


def test_no_volume_is_an_end_at_once(bench):
    assert Row(bench(), []).end() == ()


def test_it_is_refused_while_something_runs(bench, volumes):
    a = bench()
    row = Row(a, volumes)
    with pytest.raises(SkcdfError, match="running already"):
        row.queue.start(volumes, SegmentationSettings())
    with pytest.raises(SkcdfError, match="running already"):
        a.start(volumes[0])
    assert row.names() == ["a", "b", "c"]
    assert Row(a, volumes[:1]).names() == ["a"]
