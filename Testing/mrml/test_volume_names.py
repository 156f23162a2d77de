"""Warnings and errors name the volume, not the copy that the worker has read."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from child_process import engine
from segmenter_bench import segmenterBenches

from SKCDFSegmenterLib.VolumeSegmenter import SegmentationSettings


@pytest.fixture
def bench(slicer, tmp_path):
    with segmenterBenches(tmp_path / "temporary") as make:
        yield make(command=engine("worker"))


@pytest.fixture
def constantScan(slicer):
    return slicer.util.addVolumeFromArray(np.zeros((6, 9, 12), np.int16), name="Abdomen 3 mm")


@pytest.mark.slow
def test_a_check_of_the_real_worker_names_the_volume(bench, constantScan):
    outcomes = []
    bench.segmenter.check(constantScan, SegmentationSettings(), None, outcomes.append)
    bench.bench.pump(lambda: outcomes, 120)
    (warning,) = outcomes[0].warnings
    assert warning["message"] == "Abdomen 3 mm: every voxel is 0."


@pytest.mark.slow
def test_a_run_of_the_real_worker_names_the_volume(bench, constantScan):
    bench.start(constantScan)
    outcome = bench.end(120)
    assert [warning["message"] for warning in outcome.warnings] == ["Abdomen 3 mm: every voxel is 0."]


@pytest.mark.slow
def test_a_failure_of_the_real_worker_names_the_volume(slicer, bench):
    voxels = np.zeros((6, 9, 12), np.float32)
    voxels[1, 2, 3] = np.nan
    bench.start(slicer.util.addVolumeFromArray(voxels, name="Broken"))
    outcome = bench.end(120)
    assert outcome.error.message.startswith("Broken: 1 voxel")
