"""Segmenting a volume of the scene in a child process, with an engine that finds what is bright."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import numpy as np
import scans
from child_process import PYTHON, PlainChildProcess, installEngine

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.phantom import make_phantom
from SKCDFSegmenterLib.EngineProcess import EngineProcess
from SKCDFSegmenterLib.VolumeSegmenter import VolumeSegmenter

OBLIQUE = scans.ijkToRASMatrix(angles=(11, -23, 7))
TABLE = scans.rigid((20, 10, -35), (12, -40, 65))
THRESHOLD = """
import sys
import SimpleITK
_, scan, labels = sys.argv[1:4]
print("windows: 1 of 1", flush=True)
print("warning: scan.nrrd: it has 6 slices. Look twice.", file=sys.stderr, flush=True)
image = SimpleITK.ReadImage(scan)
SimpleITK.WriteImage(SimpleITK.Cast(image > 500, SimpleITK.sitkUInt8) * 3, labels)
"""
FAILING = """
import sys
print("error: scan.nrrd: too small.\\nhint: Choose a larger one.", file=sys.stderr)
sys.exit(1)
"""


@pytest.fixture
def makeSegmenter(tmp_path, monkeypatch):
    """Makes a segmenter whose engine is ``program``; its temporary folder is ``tmp_path / "temporary"``."""

    def make(program):
        monkeypatch.setattr("SKCDFSegmenterLib.EngineProcess.ENGINE_MAIN", installEngine(tmp_path, program))
        (tmp_path / "temporary").mkdir()
        return VolumeSegmenter(EngineProcess(PYTHON, PlainChildProcess()), tmp_path / "temporary")

    return make


@pytest.fixture
def brightVolume(slicer, makeVolume):
    volume = makeVolume(scans.SHAPE, OBLIQUE, TABLE)
    array = slicer.util.arrayFromVolume(volume)
    array[:] = 0
    array[2:5, 3:9, 4:12] = 1000
    slicer.util.arrayFromVolumeModified(volume)
    return volume


def numberOfSegmentations(slicer):
    return slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")


def test_the_result_lies_on_the_volume_under_its_transform(slicer, brightVolume, makeSegmenter, tmp_path):
    imported = makeSegmenter(THRESHOLD).segment(brightVolume)
    (label,) = imported.found
    assert label.value == 3
    truth = (TABLE @ OBLIQUE @ [7.5, 5.5, 3, 1])[:3]
    centre = scans.segmentCentre(slicer, imported.segmentationNode, label.name)
    assert np.linalg.norm(centre - truth) < 1.5
    assert imported.segmentationNode.GetName() == "CT segmentation (phantom13)"
    assert "results on real scans mean nothing" in imported.segmentationNode.GetDescription()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_real_engine_finds_the_liver_where_it_is(slicer, makeVolume, tmp_path):
    scan, labels = make_phantom(11, shape=(64, 90, 100), spacing=(4, 4, 4), cut_off_share=0)
    oblique = scans.ijkToRASMatrix(angles=(11, -23, 7), spacing=(4, 4, 4))
    volume = makeVolume(scan.array.shape, oblique, TABLE)
    slicer.util.updateVolumeFromArray(volume, scan.array)
    segmenter = VolumeSegmenter(EngineProcess(PYTHON, PlainChildProcess()), tmp_path)
    imported = segmenter.segment(volume)
    liver = imported.segmentationNode.GetSegmentation().GetSegment("liver")
    assert liver is not None
    z, y, x = np.argwhere(labels.array == LabelSet.load("phantom13").value_of("liver")).mean(0)
    truth = (TABLE @ oblique @ [x, y, z, 1])[:3]
    assert np.linalg.norm(scans.segmentCentre(slicer, imported.segmentationNode, "liver") - truth) < 15


def test_start_returns_at_once_and_reports_progress(brightVolume, makeSegmenter):
    segmenter, lines, outcomes = makeSegmenter(THRESHOLD), [], []
    segmenter.start(brightVolume, lines.append, outcomes.append)
    assert segmenter.running
    assert outcomes == []
    segmenter.wait()
    assert lines[0] == "windows: 1 of 1"
    assert outcomes[0].imported is not None
    assert outcomes[0].warnings == ("scan.nrrd: it has 6 slices. Look twice.",)
    assert not segmenter.running


def test_an_error_of_the_engine_leaves_the_scene_alone(slicer, brightVolume, makeSegmenter, tmp_path):
    with pytest.raises(SkcdfError, match="too small"):
        makeSegmenter(FAILING).segment(brightVolume)
    assert numberOfSegmentations(slicer) == 0
    assert list((tmp_path / "temporary").iterdir()) == []


def test_cancel_leaves_neither_result_nor_files(slicer, brightVolume, makeSegmenter, tmp_path):
    segmenter, outcomes = makeSegmenter("import time\ntime.sleep(60)"), []
    segmenter.start(brightVolume, print, outcomes.append)
    segmenter.cancel()
    assert outcomes[0].cancelled
    assert numberOfSegmentations(slicer) == 0
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_volume_closed_meanwhile_is_an_error(slicer, brightVolume, makeSegmenter):
    segmenter, outcomes = makeSegmenter(THRESHOLD), []
    segmenter.start(brightVolume, print, outcomes.append)
    slicer.mrmlScene.RemoveNode(brightVolume)
    segmenter.wait()
    assert "was closed while" in outcomes[0].error.message


def test_an_unusable_volume_starts_nothing(slicer, makeSegmenter, tmp_path):
    segmenter = makeSegmenter(THRESHOLD)
    with pytest.raises(SkcdfError, match="no voxels"):
        segmenter.segment(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
    assert not segmenter.running
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_second_start_is_refused_while_one_runs(brightVolume, makeSegmenter):
    segmenter, outcomes = makeSegmenter("import time\ntime.sleep(60)"), []
    segmenter.start(brightVolume, print, outcomes.append)
    with pytest.raises(SkcdfError, match="running already"):
        segmenter.start(brightVolume, print, outcomes.append)
    segmenter.cancel()
