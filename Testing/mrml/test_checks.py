"""What is known of a volume before a run, asked of the worker while the user still chooses."""

from __future__ import annotations

import json

import pytest
import scans
import segmenter_bench
from segmenter_bench import segmenterBenches

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.VolumeSegmenter import SegmentationSettings


@pytest.fixture
def bench(slicer, tmp_path):
    with segmenterBenches(tmp_path / "temporary") as make:
        yield make


@pytest.fixture
def volume(slicer, makeVolume):
    return segmenter_bench.brightVolume(slicer, makeVolume)


def check(a, volume, settings=None, region=None):
    outcomes = []
    a.segmenter.check(volume, settings or SegmentationSettings(), region, outcomes.append)
    return outcomes


def asked(outcome):
    return json.loads(outcome.warnings[0]["message"])


def test_it_tells_the_estimate_and_leaves_no_file(bench, volume):
    a = bench()
    outcomes = check(a, volume)
    assert a.files and not a.segmenter.running
    a.bench.pump(lambda: outcomes)
    (outcome,) = outcomes
    assert (outcome.windows, outcome.seconds, outcome.memoryMiB, outcome.measured) == (7, 3.5, 900.0, True)
    assert outcome.device == "CPU, 1 threads" and outcome.error is None and not outcome.cancelled
    assert a.files == []


def test_it_asks_for_what_would_be_segmented(slicer, bench, volume):
    a = bench()
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    region.SetSize(4000, 4000, 4000)
    settings = SegmentationSettings(organs=("liver", "spleen"), device="cpu", overlap=0.25)
    outcomes = check(a, volume, settings, region)
    a.bench.pump(lambda: outcomes)
    fields = asked(outcomes[0])
    assert fields["organs"] == ["liver", "spleen"]
    assert fields["region"] == [[0, scans.SHAPE[0]], [0, scans.SHAPE[1]], [0, scans.SHAPE[2]]]
    assert (fields["device"], fields["overlap"]) == ("cpu", 0.25)
    assert fields["model"].endswith("phantom13")


def test_what_is_not_chosen_is_not_asked(bench, volume):
    a = bench()
    outcomes = check(a, volume)
    a.bench.pump(lambda: outcomes)
    assert set(asked(outcomes[0])) == {"id", "request", "image", "model", "device"}


def test_a_new_one_takes_the_place_of_the_old_one(bench, volume):
    a = bench("--late-hello")
    first = check(a, volume)
    second = check(a, volume, SegmentationSettings(device="cpu"))
    a.bench.pump(lambda: first and second)
    assert first[0].cancelled
    assert asked(second[0])["device"] == "cpu"
    assert a.files == []


@pytest.mark.slow
def test_a_run_goes_before_it_and_the_worker_survives(bench, volume):
    a = bench("--stubborn")
    outcomes = check(a, volume)
    a.bench.hello()
    a.start(volume)
    a.bench.pump(lambda: outcomes)
    assert outcomes[0].cancelled
    a.begun()
    assert a.segmenter.running and len(a.bench.children) == 1
    a.segmenter.cancel()
    a.end()
    assert a.files == []


def test_an_error_of_the_worker_is_told(bench, volume):
    a = bench("--dies")
    outcomes = check(a, volume)
    a.bench.pump(lambda: outcomes)
    assert "ended before it was ready" in outcomes[0].error.message
    assert a.files == []


def test_the_end_of_the_worker_cancels_it(bench, volume):
    a = bench("--stubborn")
    outcomes = check(a, volume)
    a.bench.hello()
    a.worker.shutdown()
    assert outcomes[0].cancelled and a.files == []


def test_a_scene_that_is_closed_meanwhile_does_not_matter(slicer, bench, volume):
    a = bench()
    outcomes = check(a, volume)
    slicer.mrmlScene.Clear(0)
    a.bench.pump(lambda: outcomes)
    assert outcomes[0].windows == 7


def test_an_unusable_volume_or_region_asks_nothing(slicer, bench, volume):
    a = bench()
    with pytest.raises(SkcdfError, match="no voxels"):
        check(a, slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
    with pytest.raises(SkcdfError, match="not been drawn"):
        check(a, volume, region=slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode"))
    assert a.files == [] and not a.worker.busy
