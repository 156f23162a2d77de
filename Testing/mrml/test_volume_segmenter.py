"""Segmenting a volume of the scene in the worker: what comes into the scene, and that nothing else stays behind."""

from __future__ import annotations

import os
import signal
import time

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import numpy as np
import scans
import segmenter_bench
import vtk
from child_process import PYTHON, engine, launched, scripted
from segmenter_bench import OBLIQUE, ORGAN, TABLE, numberOfSegmentations, segmenterBenches

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.phantom import make_phantom
from SKCDFSegmenterLib.DeviceLine import deviceLine
from SKCDFSegmenterLib.EngineCommand import engineCommand
from SKCDFSegmenterLib.SegmentRecord import provenance, segmentState
from SKCDFSegmenterLib.UnsurePlaces import places
from SKCDFSegmenterLib.VolumeSegmenter import SegmentationSettings


@pytest.fixture
def bench(slicer, tmp_path):
    with segmenterBenches(tmp_path / "temporary") as make:
        yield make


@pytest.fixture
def volume(slicer, makeVolume):
    return segmenter_bench.brightVolume(slicer, makeVolume)


@pytest.fixture
def phantom(slicer, makeVolume):
    """A small phantom on an oblique grid under a transform; with its true label map."""
    scan, labels = make_phantom(11, shape=(64, 90, 100), spacing=(4, 4, 4), cut_off_share=0)
    volume = makeVolume(scan.array.shape, phantomGrid(), TABLE)
    slicer.util.updateVolumeFromArray(volume, scan.array)
    return volume, labels.array


def phantomGrid():
    return scans.ijkToRASMatrix(angles=(11, -23, 7), spacing=(4, 4, 4))


def segmentIDs(segmentationNode):
    return list(segmentationNode.GetSegmentation().GetSegmentIDs())


class TestResult:
    def test_it_lies_on_the_volume_under_its_transform(self, slicer, bench, volume):
        outcome = bench().segmenter.segment(volume)
        (label,) = outcome.found
        assert label.name == ORGAN
        truth = (TABLE @ OBLIQUE @ [7.5, 5.5, 3, 1])[:3]
        centre = scans.segmentCentre(slicer, outcome.segmentationNode, label.name)
        assert np.linalg.norm(centre - truth) < 1.5
        assert outcome.segmentationNode.GetName() == "CT segmentation (phantom13)"
        assert outcome.segmentationNode.GetDescription() == "phantom13 1. Synthetic."

    def test_it_tells_all_that_the_worker_told(self, bench, volume):
        outcome = bench().segmenter.segment(volume)
        assert outcome.organs[0]["usual_ml"] == [0.5, 2.0]
        assert outcome.warnings[0]["message"] == "scan: it has 6 slices."
        assert (outcome.notes, outcome.device, outcome.modelTitle) == (
            ("less memory",),
            "CPU, 1 threads",
            "phantom13 1",
        )
        assert len(outcome.notFound) == 12 and outcome.seconds == 0.5

    def test_the_segments_know_their_model_and_the_node_its_unsure_places(self, bench, volume):
        node = bench().segmenter.segment(volume).segmentationNode
        known = provenance(node.GetSegmentation().GetSegment(ORGAN))
        assert (known.model, known.unsure, known.usualMl) == ("phantom13 1", 0.1, (0.5, 2.0))
        assert len(known.modelHash) == 64
        assert segmentState(node, ORGAN) == "proposed"
        assert places(node)[0].position == (1.0, 2.0, 3.0)

    def test_start_returns_at_once_and_reports_progress(self, bench, volume):
        a = bench()
        a.start(volume)
        assert a.segmenter.running and a.outcomes == [] and a.files
        assert a.end().segmentationNode is not None
        assert [event["phase"] for event in a.progress] == ["model", "segment"]

    def test_a_second_run_goes_into_the_same_segmentation_and_leaves_edits_alone(self, slicer, bench, volume):
        a = bench()
        node = a.segmenter.segment(volume).segmentationNode
        array = slicer.util.arrayFromSegmentBinaryLabelmap(node, ORGAN, volume)
        array[3, 4, 5] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, ORGAN, volume)
        outcome = a.segmenter.segment(volume, segmentationNode=node)
        assert outcome.segmentationNode is node and numberOfSegmentations(slicer) == 1
        assert [label.name for label in outcome.kept] == [ORGAN]
        assert slicer.util.arrayFromSegmentBinaryLabelmap(node, ORGAN, volume)[3, 4, 5] == 0
        outcome = a.segmenter.segment(volume, segmentationNode=node, keepEdited=False)
        assert outcome.kept == ()
        assert slicer.util.arrayFromSegmentBinaryLabelmap(node, ORGAN, volume)[3, 4, 5] == 1

    def test_a_volume_of_another_type_is_segmented_as_well(self, slicer, bench, volume):
        array = slicer.util.arrayFromVolume(volume).astype(np.float64)
        slicer.util.updateVolumeFromArray(volume, array)
        assert bench().segmenter.segment(volume).found

    def test_whatever_keeps_a_run_from_starting_is_a_sentence_and_leaves_nothing(
        self, bench, volume, monkeypatch
    ):
        def exhausted(*_arguments, **_options):
            raise MemoryError

        a = bench()
        monkeypatch.setattr("SKCDFSegmenterLib.VolumeSegmenter.writeVolume", exhausted)
        for start in (a.start, lambda node: a.segmenter.check(node, SegmentationSettings(), None, print)):
            with pytest.raises(SkcdfError, match="unexpected went wrong: MemoryError"):
                start(volume)
            assert not a.segmenter.running and a.files == []

    def test_a_volume_whose_voxels_were_never_made_is_refused(self, slicer, bench):
        image = vtk.vtkImageData()
        image.SetDimensions(4, 5, 6)
        hollow = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Hollow")
        hollow.SetAndObserveImageData(image)
        with pytest.raises(SkcdfError, match="Hollow: the volume has no voxels"):
            bench().segmenter.segment(hollow)


class TestRealEngine:
    @pytest.mark.slow
    def test_it_finds_the_liver_where_it_is(self, slicer, bench, phantom):
        volume, labels = phantom
        a = bench(command=launched(engine("worker")))
        outcome = a.segmenter.segment(volume)
        z, y, x = np.argwhere(labels == LabelSet.load("phantom13").value_of("liver")).mean(0)
        truth = (TABLE @ phantomGrid() @ [x, y, z, 1])[:3]
        assert np.linalg.norm(scans.segmentCentre(slicer, outcome.segmentationNode, "liver") - truth) < 15
        assert a.files == []

    @pytest.mark.slow
    def test_it_computes_the_chosen_organs_within_the_region_only(self, slicer, bench, phantom):
        volume, labels = phantom
        value = LabelSet.load("phantom13").value_of("liver")
        liver = np.argwhere(labels == value)
        low, high = liver.min(0) + 3, liver.max(0) - 2
        region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Part of the liver")
        grid = TABLE @ phantomGrid()
        matrix = np.eye(4)
        matrix[:3, :3] = grid[:3, :3] / 4
        matrix[:3, 3] = (grid @ [*((low + high) / 2)[::-1], 1])[:3]
        region.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
        region.SetSize(*(4 * (high - low)[::-1]))
        a = bench(command=engine("worker"))
        settings = SegmentationSettings(organs=("liver", "spleen"), overlap=0.25)
        outcome = a.segmenter.segment(volume, settings, region=region)
        node = outcome.segmentationNode
        assert set(segmentIDs(node)) <= {"liver", "spleen"}
        found = np.argwhere(slicer.util.arrayFromSegmentBinaryLabelmap(node, "liver", volume))
        assert len(found) > 500
        assert (found.min(0) >= low).all() and (found.max(0) <= high).all()
        assert {row["organ"] for row in outcome.organs} <= {"liver", "spleen"}
        assert {label.name for label in (*outcome.found, *outcome.notFound)} == {"liver", "spleen"}

    def test_without_pytorch_it_says_so_and_the_worker_lives(
        self, slicer, bench, volume, tmp_path, monkeypatch
    ):
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text("raise ModuleNotFoundError('No module named torch')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        a = bench(command=launched([*engineCommand(PYTHON), "worker"]))
        with pytest.raises(SkcdfError, match=r"(?i)torch") as raised:
            a.segmenter.segment(volume)
        assert "PyTorch" in raised.value.hint
        assert a.worker.hello["torch"] is None and a.worker.running
        assert deviceLine(a.worker.hello, None) == ""
        assert a.files == [] and numberOfSegmentations(slicer) == 0

    @pytest.mark.slow
    def test_a_check_tells_warnings_and_what_a_run_would_take(self, bench, phantom):
        a, checks = bench(command=engine("worker")), []
        a.segmenter.check(phantom[0], SegmentationSettings(), None, checks.append)
        a.bench.pump(lambda: checks, 60)
        (outcome,) = checks
        assert outcome.error is None
        assert outcome.windows > 0 and outcome.seconds > 0 and outcome.memoryMiB > 0
        assert outcome.device.startswith("CPU")
        assert a.files == []


class TestFailure:
    def test_an_error_of_the_engine_leaves_the_scene_alone(self, slicer, bench, volume):
        a = bench("--refuses")
        with pytest.raises(SkcdfError, match="holds NaN"):
            a.segmenter.segment(volume)
        assert numberOfSegmentations(slicer) == 0 and a.files == []

    def test_a_worker_that_dies_leaves_scene_and_disk_alone_and_the_next_run_succeeds(
        self, slicer, bench, volume
    ):
        a = bench(command=launched(scripted("worker", "--stubborn")))
        a.start(volume)
        a.begun()
        a.bench.command = scripted("worker")
        os.kill(a.worker.hello["pid"], signal.SIGKILL)
        assert "without an answer" in a.end().error.message
        assert numberOfSegmentations(slicer) == 0 and a.files == []
        assert a.segmenter.segment(volume).found

    def test_a_label_map_that_cannot_be_read_is_an_error(self, slicer, bench, volume):
        a = bench()
        a.start(volume)
        (a.files[0] / "labels.nrrd").mkdir()  # the engine cannot put its file there
        assert a.end().error is not None
        assert numberOfSegmentations(slicer) == 0 and a.files == []

    def test_an_unusable_volume_starts_nothing(self, slicer, bench):
        a = bench()
        with pytest.raises(SkcdfError, match="no voxels"):
            a.segmenter.segment(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
        assert not a.segmenter.running and a.files == [] and not a.worker.busy

    def test_a_model_that_is_not_there_starts_nothing(self, bench, volume, tmp_path):
        a = bench()
        with pytest.raises(SkcdfError, match="no model called pancreas9"):
            a.segmenter.segment(volume, SegmentationSettings(model="pancreas9"))
        with pytest.raises(SkcdfError, match="no model store"):
            a.segmenter.segment(volume, SegmentationSettings(model="liver", store=str(tmp_path)))
        assert a.files == [] and not a.worker.busy

    def test_a_temporary_folder_that_cannot_be_made_is_told(self, bench, volume):
        a = bench()
        a.folder.rmdir()
        a.folder.touch()
        with pytest.raises(SkcdfError, match="no folder can be made"):
            a.segmenter.segment(volume)
        assert not a.segmenter.running

    def test_a_full_disk_is_told_and_leaves_nothing(self, bench, volume, monkeypatch):
        def full(path, *_values, **_options):
            path.write_bytes(b"NRRD0004")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("SKCDFSegmenterLib.VolumeImage.write_nrrd", full)
        a = bench()
        with pytest.raises(SkcdfError, match="No space left") as raised:
            a.segmenter.segment(volume)
        assert "disk space" in raised.value.hint
        assert a.files == [] and not a.segmenter.running

    def test_a_second_start_is_refused_while_one_runs(self, bench, volume):
        a = bench()
        a.start(volume)
        with pytest.raises(SkcdfError, match="running already"):
            a.start(volume)
        assert a.end().segmentationNode is not None

    def test_a_callback_that_fails_does_not_stop_the_run(self, slicer, bench, volume):
        a = bench()

        def fail(_event):
            raise RuntimeError("a panel that is gone")

        a.segmenter.start(volume, SegmentationSettings(), onProgress=fail, onFinished=fail)
        a.bench.pump(lambda: not a.segmenter.running)
        assert numberOfSegmentations(slicer) == 1 and a.files == []


class TestCancel:
    def test_it_leaves_neither_result_nor_files(self, slicer, bench, volume):
        a = bench("--stubborn")
        a.start(volume)
        a.begun()
        began = time.monotonic()
        a.segmenter.cancel()
        assert a.end().cancelled
        assert time.monotonic() - began < 3.5
        assert numberOfSegmentations(slicer) == 0 and a.files == []

    def test_before_the_worker_is_ready_it_is_over_at_once(self, bench, volume):
        a = bench("--late-hello")
        a.start(volume)
        a.segmenter.cancel()
        assert a.outcomes[0].cancelled and a.files == []
        a.outcomes.clear()
        a.start(volume)
        assert a.end().segmentationNode is not None

    def test_a_result_that_comes_all_the_same_is_dropped(self, slicer, bench, volume):
        a = bench("--late-result")
        a.start(volume)
        a.begun()
        a.segmenter.cancel()
        assert a.end().cancelled
        assert numberOfSegmentations(slicer) == 0

    def test_the_end_of_the_worker_cancels(self, slicer, bench, volume):
        a = bench("--stubborn")
        a.start(volume)
        a.begun()
        a.worker.shutdown()
        assert a.outcomes[0].cancelled
        assert numberOfSegmentations(slicer) == 0 and a.files == []

    def test_a_script_is_told_by_an_exception(self, bench, volume):
        a = bench("--late-result")
        with pytest.raises(SkcdfError, match="was cancelled"):
            a.segmenter.segment(volume, onProgress=lambda _event: a.segmenter.cancel())

    def test_without_a_run_it_does_nothing(self, bench):
        bench().segmenter.cancel()


class TestMeanwhile:
    """What the user does while the worker computes."""

    def test_a_volume_closed_is_an_error(self, slicer, bench, volume):
        a = bench()
        a.start(volume)
        slicer.mrmlScene.RemoveNode(volume)
        assert "closed during the segmentation" in a.end().error.message
        assert numberOfSegmentations(slicer) == 0 and a.files == []

    def test_a_scene_closed_is_an_error_even_if_another_volume_has_the_id(
        self, slicer, bench, volume, makeVolume
    ):
        a = bench()
        a.start(volume)
        identifier = volume.GetID()
        slicer.mrmlScene.Clear(0)
        other = segmenter_bench.brightVolume(slicer, makeVolume)
        assert other.GetID() == identifier
        assert "closed during the segmentation" in a.end().error.message
        assert numberOfSegmentations(slicer) == 0 and a.files == []

    def test_a_volume_that_moved_gets_no_result(self, slicer, bench, volume):
        a = bench()
        a.start(volume)
        volume.SetOrigin(1, 2, 3)
        assert "changed during the segmentation" in a.end().error.message
        assert numberOfSegmentations(slicer) == 0

    def test_a_hardened_transform_is_a_move(self, slicer, bench, volume):
        a = bench()
        a.start(volume)
        volume.HardenTransform()
        assert "changed during the segmentation" in a.end().error.message

    def test_a_volume_with_other_voxels_gets_no_result(self, slicer, bench, volume):
        a = bench()
        a.start(volume)
        slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
        slicer.util.arrayFromVolumeModified(volume)
        assert "changed during the segmentation" in a.end().error.message
        assert numberOfSegmentations(slicer) == 0

    def test_a_volume_that_lost_its_voxels_gets_no_result(self, bench, volume):
        a = bench()
        a.start(volume)
        volume.SetAndObserveImageData(None)
        assert "changed during the segmentation" in a.end().error.message

    def test_a_volume_that_was_only_touched_gets_its_result(self, slicer, bench, volume):
        a = bench()
        a.start(volume)
        slicer.util.arrayFromVolumeModified(volume)
        volume.SetName("CT of today")
        assert a.end().segmentationNode.GetName() == "CT of today segmentation (phantom13)"

    def test_so_does_one_of_64_bit_numbers(self, slicer, bench, volume):
        array = slicer.util.arrayFromVolume(volume) + 0.123456789
        slicer.util.updateVolumeFromArray(volume, array)
        a = bench()
        a.start(volume)
        slicer.util.arrayFromVolumeModified(volume)
        assert a.end().segmentationNode is not None

    def test_under_another_transform_the_result_follows(self, slicer, bench, volume):
        a = bench()
        a.start(volume)
        volume.SetAndObserveTransformNodeID(None)
        node = a.end().segmentationNode
        truth = (OBLIQUE @ [7.5, 5.5, 3, 1])[:3]
        assert np.linalg.norm(scans.segmentCentre(slicer, node, ORGAN) - truth) < 1.5

    def test_a_chosen_segmentation_that_was_closed_does_not_lose_the_result(self, slicer, bench, volume):
        a = bench()
        chosen = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        a.start(volume, segmentationNode=chosen)
        slicer.mrmlScene.RemoveNode(chosen)
        outcome = a.end()
        assert outcome.segmentationNode is not chosen and outcome.found
        assert "new segmentation" in outcome.notes[-1]
