"""Segments know which model proposed them and whether a person has changed them since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import placed
import scans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from placed import ESOPHAGUS, LABEL_SET, OBLIQUE, RIGHT_KIDNEY, SPLEEN, TABLE
from segment_editing import SegmentEditor

from SKCDFSegmenterLib.SegmentRecord import (
    ModelRecord,
    completedAt,
    provenance,
    segmentState,
    segmentStates,
    setCompleted,
)

ALL_PROPOSED = {SPLEEN: "proposed", RIGHT_KIDNEY: "proposed", ESOPHAGUS: "proposed"}


@pytest.fixture
def volume(makeVolume):
    return makeVolume(scans.SHAPE, OBLIQUE)


@pytest.fixture
def segmentation(volume):
    return placed.place(volume).segmentationNode


@pytest.fixture
def editor(slicer, segmentation, volume):
    return SegmentEditor(slicer, segmentation, volume)


def segmentOf(segmentation, segmentID):
    return segmentation.GetSegmentation().GetSegment(segmentID)


class TestProvenance:
    def test_says_model_time_uncertainty_and_usual_volume(self, volume):
        record = ModelRecord(
            "abdomen v3", "9f0c", "2026-11-26T08:00:00+00:00", {SPLEEN: 0.123}, {SPLEEN: (90, 310.5)}
        )
        segmentation = placed.place(volume, record=record).segmentationNode
        told = provenance(segmentOf(segmentation, SPLEEN))
        assert (told.model, told.modelHash, told.created) == (record.title, record.hash, record.created)
        assert (told.unsure, told.usualMl) == (0.123, (90, 310.5))
        other = provenance(segmentOf(segmentation, ESOPHAGUS))
        assert (other.unsure, other.usualMl) == (None, None)

    def test_of_a_worker_result_has_the_figures_of_its_organs(self):
        rows = [
            {"organ": "liver", "unsure": 0.02, "usual_ml": [900.0, 2400.0], "pieces": 2, "flags": []},
            {"organ": "spleen", "unsure": None, "usual_ml": None, "pieces": 3, "flags": ["pieces"]},
            {"organ": "aorta", "unsure": None, "usual_ml": None, "pieces": 0, "flags": []},
        ]
        record = ModelRecord.ofResult({"model": "abdomen v3", "organs": rows}, "9f0c")
        assert (record.title, record.hash) == ("abdomen v3", "9f0c")
        assert (record.unsure, record.usual) == ({"liver": 0.02}, {"liver": (900.0, 2400.0)})
        assert record.pieces == {"liver": 2}

    @pytest.mark.parametrize("text", ["", "a", "1 2 3", "nan", "inf 2", "1;2"])
    def test_with_tags_that_somebody_else_wrote_says_no_figures(self, segmentation, text):
        segment = segmentOf(segmentation, SPLEEN)
        for name in ("Unsure", "Usual", "Pieces"):
            segment.SetTag(f"SKCDF.{name}", text)
        told = provenance(segment)
        assert (told.unsure, told.usualMl, told.usualPieces) == (None, None, 1)

    def test_is_none_for_what_a_person_has_drawn(self, slicer, segmentation, volume):
        drawn = placed.draw(
            slicer, segmentation, volume, "Segment_1", "Cyst", placed.mask((0, 2), (0, 2), (0, 2))
        )
        assert provenance(segmentOf(segmentation, drawn)) is None

    @pytest.mark.parametrize("title", ["Bauch: Leber|Milz v3", "腹部 v1", "a~b^c"])
    def test_survives_a_file_whatever_the_model_is_called(self, slicer, volume, tmp_path, title):
        segmentation = placed.place(volume, record=ModelRecord(title)).segmentationNode
        read = placed.reloaded(slicer, tmp_path / "a.seg.nrrd", segmentation)
        assert provenance(segmentOf(read, SPLEEN)).model == title.replace("|", " ")
        assert segmentStates(read) == ALL_PROPOSED


class TestUntouched:
    def test_segments_of_a_new_result_are_proposed(self, segmentation):
        assert segmentStates(segmentation) == ALL_PROPOSED

    def test_it_does_not_matter_how_segments_share_label_maps(self, segmentation):
        segments = segmentation.GetSegmentation()
        assert segments.GetNumberOfLayers() == 1
        segments.SeparateSegmentLabelmap(RIGHT_KIDNEY)
        assert segments.GetNumberOfLayers() == 2
        assert segmentStates(segmentation) == ALL_PROPOSED
        segments.CollapseBinaryLabelmaps(False)
        assert segments.GetNumberOfLayers() == 1
        assert segmentStates(segmentation) == ALL_PROPOSED

    @pytest.mark.parametrize("segmentID", ALL_PROPOSED)
    def test_the_same_voxels_with_another_extent_and_value_are_no_edit(
        self, slicer, segmentation, volume, segmentID
    ):
        same = placed.voxels(slicer, segmentation, segmentID, volume).astype(np.uint8)
        before = segmentOf(segmentation, segmentID).GetRepresentation("Binary labelmap").GetExtent()
        slicer.util.updateSegmentBinaryLabelmapFromArray(same, segmentation, segmentID, volume)
        segment = segmentOf(segmentation, segmentID)
        assert segment.GetRepresentation("Binary labelmap").GetExtent() != before
        assert segmentStates(segmentation) == ALL_PROPOSED

    def test_name_colour_and_order_do_not_matter(self, segmentation):
        segmentOf(segmentation, SPLEEN).SetName("Milz")
        segmentOf(segmentation, SPLEEN).SetColor(1, 0, 0)
        segmentation.GetSegmentation().ReorderSegments([ESOPHAGUS], SPLEEN)
        assert segmentStates(segmentation) == ALL_PROPOSED

    def test_an_edit_that_was_undone_is_none(self, segmentation, editor):
        editor.paint(ESOPHAGUS, placed.mask((1, 3), (2, 5), (3, 9)))
        assert segmentState(segmentation, ESOPHAGUS) == "edited"
        editor.undo()
        assert segmentStates(segmentation) == ALL_PROPOSED

    def test_a_hardened_transform_is_no_edit(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE, TABLE)
        segmentation = placed.place(volume).segmentationNode
        for node in (volume, segmentation):
            slicer.vtkSlicerTransformLogic().hardenTransform(node)
        assert segmentStates(segmentation) == ALL_PROPOSED

    @pytest.mark.parametrize("crop", [False, True])
    @pytest.mark.parametrize("transform", [None, TABLE], ids=["untransformed", "transformed"])
    def test_a_saved_file_is_none(self, slicer, makeVolume, tmp_path, crop, transform):
        segmentation = placed.place(makeVolume(scans.SHAPE, OBLIQUE, transform)).segmentationNode
        read = placed.reloaded(slicer, tmp_path / "a.seg.nrrd", segmentation, crop)
        assert segmentStates(read) == ALL_PROPOSED

    def test_a_saved_scene_is_none(self, slicer, makeVolume, tmp_path):
        placed.place(makeVolume(scans.SHAPE, OBLIQUE, TABLE))
        path = str(tmp_path / "scene.mrb")
        assert slicer.mrmlScene.WriteToMRB(path)
        slicer.mrmlScene.Clear(1)
        assert slicer.mrmlScene.ReadFromMRB(path)
        read = slicer.util.getNode("Result")
        assert segmentStates(read) == ALL_PROPOSED
        assert provenance(segmentOf(read, SPLEEN)).model == "abdomen v1"

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        axes=st.permutations(range(3)),
        signs=st.tuples(*[st.sampled_from((-1, 1))] * 3),
        angles=st.tuples(*[st.floats(-40, 40)] * 3),
        spacing=st.tuples(*[st.floats(0.4, 5)] * 3),
        crop=st.booleans(),
        isTransformed=st.booleans(),
    )
    def test_a_saved_file_is_none_on_any_grid(
        self, slicer, makeVolume, tmp_path, axes, signs, angles, spacing, crop, isTransformed
    ):
        matrix = scans.ijkToRASMatrix(tuple(axes), signs, angles, spacing)
        segmentation = placed.place(
            makeVolume(scans.SHAPE, matrix, TABLE if isTransformed else None)
        ).segmentationNode
        read = placed.reloaded(slicer, tmp_path / "a.seg.nrrd", segmentation, crop)
        assert segmentStates(read) == ALL_PROPOSED
        slicer.mrmlScene.Clear(1)


class TestEdited:
    def test_one_voxel_is_enough(self, segmentation, editor):
        editor.paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
        assert segmentStates(segmentation) == {**ALL_PROPOSED, SPLEEN: "edited"}

    def test_painting_over_another_segment_edits_both(self, segmentation, editor):
        editor.paint(ESOPHAGUS, placed.mask((1, 2), (2, 3), (3, 4)))  # a voxel of the spleen
        assert segmentStates(segmentation) == {**ALL_PROPOSED, SPLEEN: "edited", ESOPHAGUS: "edited"}

    def test_erasing_everything_is_an_edit(self, segmentation, editor):
        editor.erase(SPLEEN, placed.mask((0, 9), (0, 14), (0, 19)))
        assert segmentState(segmentation, SPLEEN) == "edited"

    def test_a_segment_that_was_moved_is_edited(self, slicer, segmentation, volume):
        moved = np.roll(placed.voxels(slicer, segmentation, SPLEEN, volume), 1, axis=2).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(moved, segmentation, SPLEEN, volume)
        assert segmentStates(segmentation) == {**ALL_PROPOSED, SPLEEN: "edited"}

    def test_a_change_in_the_shared_label_map_edits_one_segment(self, slicer, segmentation):
        shared = slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, RIGHT_KIDNEY)
        first = tuple(np.argwhere(shared == LABEL_SET.value_of(RIGHT_KIDNEY))[0])
        shared[first] = 0
        assert segmentStates(segmentation) == {**ALL_PROPOSED, RIGHT_KIDNEY: "edited"}

    def test_what_slicer_resampled_as_it_saved_counts_as_edited_and_so_is_safe(
        self, slicer, makeVolume, volume, tmp_path
    ):
        """It does so where the reference geometry of a segmentation is not the grid of its segments."""
        shifted = OBLIQUE.copy()
        shifted[:3, 3] += OBLIQUE[:3, :3] @ (0.5, 0.5, 0.5)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        node.SetReferenceImageGeometryParameterFromVolumeNode(makeVolume(scans.SHAPE, shifted))
        placed.draw(slicer, node, volume, "Segment_1", "Cyst", placed.mask((0, 1), (0, 1), (0, 1)))
        segmentation = placed.place(volume, segmentationNode=node).segmentationNode
        assert segmentStates(segmentation) == {**ALL_PROPOSED, "Segment_1": "foreign"}
        path = str(tmp_path / "scene.mrb")
        assert slicer.mrmlScene.WriteToMRB(path)
        slicer.mrmlScene.Clear(1)
        assert slicer.mrmlScene.ReadFromMRB(path)
        states = segmentStates(slicer.util.getNode("Mine"))
        assert states == {**dict.fromkeys(ALL_PROPOSED, "edited"), "Segment_1": "foreign"}

    def test_it_survives_a_file(self, slicer, segmentation, editor, tmp_path):
        editor.erase(ESOPHAGUS, placed.mask((2, 3), (9, 10), (6, 8)))
        read = placed.reloaded(slicer, tmp_path / "a.seg.nrrd", segmentation)
        assert segmentStates(read) == {**ALL_PROPOSED, ESOPHAGUS: "edited"}


class TestOtherStates:
    def test_what_a_person_has_drawn_is_foreign(self, slicer, segmentation, volume):
        placed.draw(slicer, segmentation, volume, "Segment_1", "Cyst", placed.mask((0, 2), (0, 2), (0, 2)))
        assert segmentStates(segmentation) == {**ALL_PROPOSED, "Segment_1": "foreign"}

    def test_completed_is_what_slicer_calls_so(self, slicer, segmentation, editor):
        editor.paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.SetSegmentStatus(segmentOf(segmentation, SPLEEN), logic.Completed)
        assert segmentState(segmentation, SPLEEN) == "completed"
        setCompleted(segmentOf(segmentation, SPLEEN), False)
        assert logic.GetSegmentStatus(segmentOf(segmentation, SPLEEN)) == logic.InProgress
        assert segmentState(segmentation, SPLEEN) == "edited"

    def test_completed_survives_a_file(self, slicer, segmentation, tmp_path):
        setCompleted(segmentOf(segmentation, SPLEEN), True)
        read = placed.reloaded(slicer, tmp_path / "a.seg.nrrd", segmentation)
        assert segmentStates(read) == {**ALL_PROPOSED, SPLEEN: "completed"}
        completed = completedAt(segmentOf(read, SPLEEN))
        assert completed == completedAt(segmentOf(segmentation, SPLEEN))
        assert abs(datetime.now(UTC) - datetime.fromisoformat(completed)) < timedelta(minutes=2)

    def test_a_segment_that_was_taken_up_again_has_no_time_of_completion(self, slicer, segmentation):
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        for segmentID, takeUp in (
            (SPLEEN, lambda segment: setCompleted(segment, False)),
            (ESOPHAGUS, lambda segment: logic.SetSegmentStatus(segment, logic.InProgress)),
        ):
            setCompleted(segmentOf(segmentation, segmentID), True)
            takeUp(segmentOf(segmentation, segmentID))
            assert completedAt(segmentOf(segmentation, segmentID)) == ""

    def test_only_the_asked_segments_are_answered_for(self, segmentation):
        assert segmentStates(segmentation, [ESOPHAGUS]) == {ESOPHAGUS: "proposed"}

    def test_a_segmentation_kept_as_surfaces_counts_as_edited(self, segmentation):
        segmentation.CreateClosedSurfaceRepresentation()
        segmentation.SetSourceRepresentationToClosedSurface()
        assert set(segmentStates(segmentation).values()) == {"edited"}

    def test_a_segmentation_without_segments_has_no_states(self, slicer):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        assert segmentStates(node) == {}
