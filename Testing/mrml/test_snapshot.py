"""What the last run replaced comes back as it was, and goes again."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import placed
import scans
import vtk
from placed import ESOPHAGUS, OBLIQUE, RIGHT_KIDNEY, SECOND, SPLEEN, TABLE
from segment_editing import SegmentEditor
from test_place_result import NEW

from SKCDFSegmenterLib.SegmentRecord import segmentStates, setCompleted
from SKCDFSegmenterLib.Snapshot import canRestore, restorePrevious
from SKCDFSegmenterLib.UnsurePlaces import places, storePlaces


@pytest.fixture(params=[None, TABLE], ids=["untransformed", "transformed"])
def volume(makeVolume, request):
    return makeVolume(scans.SHAPE, OBLIQUE, request.param)


@pytest.fixture
def segmentation(volume):
    return placed.place(volume).segmentationNode


@pytest.fixture
def editor(slicer, segmentation, volume):
    return SegmentEditor(slicer, segmentation, volume)


def again(volume, segmentation, **options):
    return placed.place(volume, NEW, SECOND, segmentationNode=segmentation, **options)


def described(slicer, segmentation, volume):
    """Everything about a segmentation that a user could miss: in order, name, colour, tags, voxels, opacities."""
    everything = []
    for segmentID in placed.segmentIDs(segmentation):
        segment = segmentation.GetSegmentation().GetSegment(segmentID)
        tags = {}
        for tag in (
            "TerminologyEntry",
            "Segmentation.Status",
            "Mine",
            *(
                f"SKCDF.{each}"
                for each in ("Model", "ModelHash", "Created", "Hash", "Unsure", "Usual", "Pieces")
            ),
        ):
            value = vtk.reference("")
            if segment.GetTag(tag, value):
                tags[tag] = str(value)
        display = segmentation.GetDisplayNode()
        everything.append(
            {
                "id": segmentID,
                "name": segment.GetName(),
                "color": segment.GetColor(),
                "tags": tags,
                "voxels": placed.voxels(slicer, segmentation, segmentID, volume).tobytes(),
                "shown": (
                    display.GetSegmentVisibility(segmentID),
                    display.GetSegmentOpacity3D(segmentID),
                    display.GetSegmentOpacity2DFill(segmentID),
                ),
            }
        )
    return everything


def test_voxels_names_colours_tags_order_and_display_come_back(slicer, volume, segmentation):
    segments = segmentation.GetSegmentation()
    segments.GetSegment(RIGHT_KIDNEY).SetName("Niere, rechts")  # the new run does not find it
    segments.GetSegment(RIGHT_KIDNEY).SetColor(0.9, 0.1, 0.2)
    segments.GetSegment(RIGHT_KIDNEY).SetTag("Mine", "a note")
    segmentation.GetDisplayNode().SetSegmentVisibility(RIGHT_KIDNEY, False)
    segmentation.GetDisplayNode().SetSegmentOpacity3D(RIGHT_KIDNEY, 0.3)
    before = described(slicer, segmentation, volume)
    again(volume, segmentation)
    after = described(slicer, segmentation, volume)
    assert [each["id"] for each in after] == [SPLEEN, ESOPHAGUS, "liver"]
    assert restorePrevious(segmentation)
    assert described(slicer, segmentation, volume) == before
    assert set(segmentStates(segmentation).values()) == {"proposed"}
    assert restorePrevious(segmentation)
    assert described(slicer, segmentation, volume) == after
    assert restorePrevious(segmentation)
    assert described(slicer, segmentation, volume) == before


def test_what_the_run_left_alone_keeps_what_happened_to_it_since(slicer, volume, segmentation, editor):
    editor.paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
    again(volume, segmentation)
    editor.paint(SPLEEN, placed.mask((8, 9), (12, 14), (17, 19)))
    edited = placed.voxels(slicer, segmentation, SPLEEN, volume)
    drawn = placed.mask((0, 2), (10, 12), (0, 3))
    placed.draw(slicer, segmentation, volume, "Segment_1", "Cyst", drawn)
    restorePrevious(segmentation)
    assert placed.segmentIDs(segmentation) == [SPLEEN, RIGHT_KIDNEY, ESOPHAGUS, "Segment_1"]
    np.testing.assert_array_equal(placed.voxels(slicer, segmentation, SPLEEN, volume), edited)
    np.testing.assert_array_equal(placed.voxels(slicer, segmentation, "Segment_1", volume), drawn)


def test_edits_of_the_new_result_come_back_with_it(slicer, volume, segmentation, editor):
    again(volume, segmentation)
    editor.erase("liver", placed.mask((8, 9), (0, 14), (0, 19)))
    edited = placed.voxels(slicer, segmentation, "liver", volume)
    restorePrevious(segmentation)
    assert "liver" not in placed.segmentIDs(segmentation)
    restorePrevious(segmentation)
    np.testing.assert_array_equal(placed.voxels(slicer, segmentation, "liver", volume), edited)
    assert segmentStates(segmentation)["liver"] == "edited"


def test_no_voxel_of_the_run_stays_in_a_label_map_that_a_new_segment_shares(
    slicer, volume, segmentation, editor
):
    again(volume, segmentation)
    drawn = placed.mask((0, 1), (0, 2), (0, 2))
    segmentation.GetSegmentation().AddEmptySegment("Segment_1", "Cyst")
    editor.paint("Segment_1", drawn)
    assert segmentation.GetSegmentation().GetNumberOfLayers() == 1
    restorePrevious(segmentation)
    np.testing.assert_array_equal(placed.voxels(slicer, segmentation, "Segment_1", volume), drawn)
    assert segmentation.GetSegmentation().GetNumberOfLayers() == 2
    assert placed.strays(slicer, segmentation) == set()


def test_completed_segments_that_were_replaced_nowhere_stay_completed(volume, segmentation):
    setCompleted(segmentation.GetSegmentation().GetSegment(SPLEEN), True)
    again(volume, segmentation)
    restorePrevious(segmentation)
    assert segmentStates(segmentation)[SPLEEN] == "completed"


def test_only_the_last_run_is_taken_back(volume, segmentation):
    again(volume, segmentation)
    placed.place(
        volume, placed.array(pancreas=((2, 4), (2, 4), (2, 4))), SECOND, segmentationNode=segmentation
    )
    assert placed.segmentIDs(segmentation) == ["pancreas"]
    restorePrevious(segmentation)
    assert placed.segmentIDs(segmentation) == [SPLEEN, ESOPHAGUS, "liver"]


def test_the_places_come_back_with_the_segments(volume, segmentation):
    row = {"organ": SPLEEN, "position": [1, 2, 3], "unsure": 0.5, "volume_ml": 1.0, "reason": "old"}
    storePlaces(segmentation, [row])
    again(volume, segmentation)
    storePlaces(segmentation, [{**row, "reason": "new"}])
    restorePrevious(segmentation)
    assert [place.reason for place in places(segmentation)] == ["old"]
    restorePrevious(segmentation)
    assert [place.reason for place in places(segmentation)] == ["new"]


def test_a_new_segmentation_has_nothing_to_go_back_to(volume, segmentation):
    assert not canRestore(segmentation) and not canRestore(None)
    assert not restorePrevious(segmentation)
    assert placed.segmentIDs(segmentation) == [SPLEEN, RIGHT_KIDNEY, ESOPHAGUS]
    again(volume, segmentation)
    assert canRestore(segmentation)


def test_it_is_forgotten_when_the_node_or_the_scene_goes(slicer, volume, segmentation):
    again(volume, segmentation)
    slicer.mrmlScene.RemoveNode(segmentation)
    assert not canRestore(segmentation)
    other = placed.place(volume).segmentationNode
    again(volume, other)
    slicer.mrmlScene.Clear(0)
    assert not canRestore(other)


def test_surfaces_are_those_of_what_came_back(volume, segmentation):
    segmentation.CreateClosedSurfaceRepresentation()
    segments = segmentation.GetSegmentation()
    bounds = segments.GetSegment(SPLEEN).GetRepresentation("Closed surface").GetBounds()
    again(volume, segmentation)
    restorePrevious(segmentation)
    assert segments.GetSegment(SPLEEN).GetRepresentation("Closed surface").GetBounds() == bounds
    assert segments.GetSegment(RIGHT_KIDNEY).GetRepresentation("Closed surface").GetNumberOfPoints() > 0


def test_voxels_of_segments_that_overlap_come_back_whole(slicer, volume, segmentation):
    """Proposed segments may overlap by hand of a script; each still gets its own voxels."""
    overlapping = placed.mask((1, 9), (2, 13), (3, 17))
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        overlapping.astype(np.uint8), segmentation, SPLEEN, volume
    )
    before = described(slicer, segmentation, volume)
    again(volume, segmentation, keepEdited=False)
    restorePrevious(segmentation)
    assert described(slicer, segmentation, volume) == before


class TestHardening:
    """*Harden transform* moves what is in the scene; what is remembered beside it follows."""

    @pytest.fixture
    def volume(self, makeVolume):
        return makeVolume(scans.SHAPE, OBLIQUE, TABLE)

    @staticmethod
    def seen(slicer, segmentation, volume):
        """Where each organ is on the scan."""
        return {
            segmentID: placed.voxels(slicer, segmentation, segmentID, volume).tobytes()
            for segmentID in placed.segmentIDs(segmentation)
        }

    def test_what_comes_back_is_where_it_was_on_the_scan(self, slicer, volume, segmentation):
        before = self.seen(slicer, segmentation, volume)
        again(volume, segmentation)
        after = self.seen(slicer, segmentation, volume)
        placed.harden(volume, segmentation)
        restorePrevious(segmentation)
        assert self.seen(slicer, segmentation, volume) == before
        assert set(segmentStates(segmentation).values()) == {"proposed"}
        transform = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLinearTransformNode")
        for node in (volume, segmentation):
            node.SetAndObserveTransformNodeID(transform.GetID())
        placed.harden(volume, segmentation)
        restorePrevious(segmentation)
        assert self.seen(slicer, segmentation, volume) == after
        assert set(segmentStates(segmentation).values()) == {"proposed"}

    def test_it_matters_not_that_the_segmentation_had_no_reference_geometry(
        self, slicer, volume, segmentation
    ):
        name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        segmentation.GetSegmentation().SetConversionParameter(name, "")
        before = self.seen(slicer, segmentation, volume)
        again(volume, segmentation)
        placed.harden(volume, segmentation)
        restorePrevious(segmentation)
        assert self.seen(slicer, segmentation, volume) == before

    def test_nor_that_the_scan_was_deleted(self, slicer, volume, segmentation, makeVolume):
        before = self.seen(slicer, segmentation, volume)
        again(volume, segmentation)
        slicer.mrmlScene.RemoveNode(volume)
        placed.harden(segmentation)
        restorePrevious(segmentation)
        assert self.seen(slicer, segmentation, makeVolume(scans.SHAPE, TABLE @ OBLIQUE)) == before

    @pytest.mark.parametrize("isFiner", [False, True], ids=["another_scans", "a_finer_one"])
    def test_another_reference_geometry_moves_nothing(
        self, slicer, volume, segmentation, makeVolume, isFiner
    ):
        before = self.seen(slicer, segmentation, volume)
        again(volume, segmentation)
        other = makeVolume(scans.SHAPE, TABLE @ OBLIQUE, TABLE)
        # What *Specify geometry* of the Segment Editor does.
        geometry = slicer.vtkSlicerSegmentationGeometryLogic()
        geometry.SetInputSegmentationNode(segmentation)
        geometry.SetSourceGeometryNode(volume if isFiner else other)
        geometry.SetOversamplingFactor(2 if isFiner else 1)
        geometry.SetPadOutputGeometry(False)
        geometry.CalculateOutputGeometry()
        geometry.SetReferenceImageGeometryInSegmentationNode()
        restorePrevious(segmentation)
        assert self.seen(slicer, segmentation, volume) == before


def test_views_are_told_of_the_change(volume, segmentation):
    again(volume, segmentation)
    told = []
    segmentation.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: told.append(1))
    restorePrevious(segmentation)
    assert told
