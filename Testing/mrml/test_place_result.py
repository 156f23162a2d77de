"""A model's result goes into a segmentation that people have worked on, and leaves their work alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import placed
import scans
from placed import ESOPHAGUS, FIRST, LABEL_SET, OBLIQUE, RIGHT_KIDNEY, SECOND, SPLEEN, TABLE
from segment_editing import SegmentEditor

from skcdf.errors import SkcdfError
from skcdf.seg_nrrd import read_segmentation
from SKCDFSegmenterLib.LabelMapExport import labelMapFromSegmentation
from SKCDFSegmenterLib.SegmentRecord import provenance, segmentStates, setCompleted
from SKCDFSegmenterLib.VolumeImage import geometryOfVolume

# A second result: spleen and oesophagus elsewhere, no right kidney, and a liver.
NEW = placed.array(
    spleen=((1, 6), (2, 6), (3, 12)),
    esophagus=((2, 7), (9, 13), (6, 15)),
    liver=((6, 9), (0, 8), (0, 5)),
)


@pytest.fixture
def volume(makeVolume):
    return makeVolume(scans.SHAPE, OBLIQUE)


@pytest.fixture
def segmentation(volume):
    return placed.place(volume).segmentationNode


@pytest.fixture
def editor(slicer, segmentation, volume):
    return SegmentEditor(slicer, segmentation, volume)


def again(volume, segmentation, array=NEW, record=SECOND, **options):
    return placed.place(volume, array, record, segmentationNode=segmentation, **options)


def expected(organ, array=NEW):
    return array == LABEL_SET.value_of(organ)


class TestNewNode:
    def test_is_the_default_and_has_the_records(self, slicer, volume):
        result = placed.place(volume)
        assert placed.names(result.found) == [SPLEEN, RIGHT_KIDNEY, ESOPHAGUS]
        assert len(result.notFound) == 10 and result.kept == ()
        other = placed.place(volume).segmentationNode
        assert other is not result.segmentationNode
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2

    def test_of_chosen_organs_has_no_others(self, volume):
        result = placed.place(volume, organs=[SPLEEN, "liver"])
        assert placed.segmentIDs(result.segmentationNode) == [SPLEEN]
        assert placed.names(result.notFound) == ["liver"]

    def test_without_any_organ_has_no_segment(self, volume):
        result = placed.place(volume, np.zeros(scans.SHAPE, np.uint8))
        assert placed.segmentIDs(result.segmentationNode) == []
        assert len(result.notFound) == 13

    def test_an_unknown_organ_is_refused_and_nothing_added(self, slicer, volume):
        with pytest.raises(SkcdfError, match="no label called tail"):
            placed.place(volume, organs=["tail"])
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


class TestProposed:
    def test_get_the_new_voxels_and_the_new_record(self, slicer, volume, segmentation):
        result = again(volume, segmentation)
        assert result.segmentationNode is segmentation
        assert placed.names(result.found) == [SPLEEN, ESOPHAGUS, "liver"]
        for organ in (SPLEEN, ESOPHAGUS, "liver"):
            np.testing.assert_array_equal(placed.voxels(slicer, segmentation, organ, volume), expected(organ))
            told = provenance(segmentation.GetSegmentation().GetSegment(organ))
            assert (told.model, told.modelHash) == (SECOND.title, SECOND.hash)
        assert set(segmentStates(segmentation).values()) == {"proposed"}

    def test_keep_id_name_colour_status_and_place(self, slicer, volume, segmentation):
        segments = segmentation.GetSegmentation()
        segments.ReorderSegments([ESOPHAGUS], SPLEEN)
        segments.GetSegment(ESOPHAGUS).SetName("Speiseröhre")
        segments.GetSegment(ESOPHAGUS).SetColor(0.1, 0.2, 0.3)
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.SetSegmentStatus(segments.GetSegment(ESOPHAGUS), logic.Flagged)
        segmentation.GetDisplayNode().SetSegmentOpacity3D(ESOPHAGUS, 0.25)
        again(volume, segmentation)
        assert placed.segmentIDs(segmentation) == [ESOPHAGUS, SPLEEN, "liver"]
        segment = segments.GetSegment(ESOPHAGUS)
        assert segment.GetName() == "Speiseröhre"
        np.testing.assert_allclose(segment.GetColor(), (0.1, 0.2, 0.3))
        assert logic.GetSegmentStatus(segment) == logic.Flagged
        assert segmentation.GetDisplayNode().GetSegmentOpacity3D(ESOPHAGUS) == 0.25

    def test_that_are_not_found_any_more_go(self, volume, segmentation):
        result = again(volume, segmentation)
        assert RIGHT_KIDNEY in placed.names(result.notFound)
        assert RIGHT_KIDNEY not in placed.segmentIDs(segmentation)

    def test_leave_no_voxel_behind_in_label_maps_that_others_share(
        self, slicer, volume, segmentation, editor, tmp_path
    ):
        editor.paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
        again(volume, segmentation)
        assert segmentation.GetSegmentation().GetNumberOfLayers() == 2
        assert placed.strays(slicer, segmentation) == set()
        # The engine refuses a file with voxels that no segment claims.
        placed.reloaded(slicer, tmp_path / "a.seg.nrrd", segmentation)
        read = read_segmentation(tmp_path / "a.seg.nrrd")
        assert [segment.id for segment in read.segments] == [SPLEEN, ESOPHAGUS, "liver"]

    def test_are_known_by_their_code_though_renamed(self, volume, segmentation):
        segmentation.GetSegmentation().GetSegment(SPLEEN).SetName("Nobody knows")
        again(volume, segmentation)
        assert placed.segmentIDs(segmentation) == [SPLEEN, ESOPHAGUS, "liver"]

    def test_copies_that_a_person_made_stay_and_hold_nothing_off(self, slicer, volume, segmentation):
        segments = segmentation.GetSegmentation()
        copy = slicer.vtkSegment()
        copy.DeepCopy(segments.GetSegment(SPLEEN))
        segments.AddSegment(copy, "copy")
        before = placed.voxels(slicer, segmentation, "copy", volume)
        again(volume, segmentation)
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, "copy", volume), before)
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, SPLEEN, volume), expected(SPLEEN))

    def test_a_tenth_run_is_like_the_first(self, slicer, volume, segmentation):
        for _ in range(4):
            again(volume, segmentation)
            again(volume, segmentation, scans.labels(geometryOfVolume(volume)).array)
        assert segmentation.GetSegmentation().GetNumberOfLayers() == 1
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        np.testing.assert_array_equal(exported.image.array, scans.labels(geometryOfVolume(volume)).array)


class TestPeoplesWork:
    def test_an_edited_segment_stays_as_it_is(self, slicer, volume, segmentation, editor):
        editor.erase(SPLEEN, placed.mask((1, 2), (2, 5), (3, 9)))
        editor.paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
        before = placed.voxels(slicer, segmentation, SPLEEN, volume)
        result = again(volume, segmentation)
        assert placed.names(result.kept) == [SPLEEN]
        assert SPLEEN not in placed.names(result.found)
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, SPLEEN, volume), before)
        segment = segmentation.GetSegmentation().GetSegment(SPLEEN)
        assert provenance(segment).model == FIRST.title
        assert segmentStates(segmentation)[SPLEEN] == "edited"

    def test_an_edited_segment_is_replaced_where_the_user_wants_so(
        self, slicer, volume, segmentation, editor
    ):
        editor.paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
        setCompleted(segmentation.GetSegmentation().GetSegment(ESOPHAGUS), True)
        result = again(volume, segmentation, keepEdited=False)
        assert placed.names(result.kept) == [ESOPHAGUS]
        # The completed one keeps the voxels that both claim.
        completed = placed.voxels(slicer, segmentation, ESOPHAGUS, volume)
        np.testing.assert_array_equal(
            placed.voxels(slicer, segmentation, SPLEEN, volume), expected(SPLEEN) & ~completed
        )

    def test_a_completed_segment_stays_though_nobody_edited_it(self, slicer, volume, segmentation):
        before = placed.voxels(slicer, segmentation, ESOPHAGUS, volume)
        setCompleted(segmentation.GetSegmentation().GetSegment(ESOPHAGUS), True)
        assert placed.names(again(volume, segmentation).kept) == [ESOPHAGUS]
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, ESOPHAGUS, volume), before)

    def test_a_new_organ_takes_no_voxel_of_an_edited_one(self, slicer, volume, segmentation, editor):
        editor.paint(SPLEEN, placed.mask((6, 8), (1, 3), (1, 4)))
        edited = placed.voxels(slicer, segmentation, SPLEEN, volume)
        contested = int((edited & expected("liver")).sum())
        assert contested > 0
        again(volume, segmentation)
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, SPLEEN, volume), edited)
        np.testing.assert_array_equal(
            placed.voxels(slicer, segmentation, "liver", volume), expected("liver") & ~edited
        )
        assert segmentStates(segmentation)["liver"] == "proposed"

    def test_a_foreign_segment_is_left_alone_and_may_overlap(self, slicer, volume, segmentation):
        everywhere = placed.mask((0, 9), (0, 14), (0, 19))
        placed.draw(slicer, segmentation, volume, "Segment_1", "Body", everywhere)
        again(volume, segmentation)
        assert placed.segmentIDs(segmentation) == [SPLEEN, ESOPHAGUS, "Segment_1", "liver"]
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, "Segment_1", volume), everywhere)
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, "liver", volume), expected("liver"))
        assert segmentStates(segmentation)["Segment_1"] == "foreign"

    def test_an_organ_that_a_person_drew_gets_no_rival(self, slicer, volume, segmentation):
        drawn = placed.mask((6, 8), (0, 3), (0, 3))
        placed.draw(slicer, segmentation, volume, "Segment_1", "Liver", drawn)
        result = again(volume, segmentation)
        assert placed.names(result.kept) == ["liver"]
        assert placed.segmentIDs(segmentation) == [SPLEEN, ESOPHAGUS, "Segment_1"]
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, "Segment_1", volume), drawn)

    def test_a_segment_that_was_given_another_code_is_not_replaced(self, slicer, volume, segmentation):
        from SKCDFSegmenterLib.Terminology import TAG_NAME, terminologyTag

        segment = segmentation.GetSegmentation().GetSegment(SPLEEN)
        tumour = terminologyTag(LABEL_SET.labels[0]).replace(LABEL_SET.labels[0].code.value, "108369006")
        segment.SetTag(TAG_NAME, tumour)
        before = placed.voxels(slicer, segmentation, SPLEEN, volume)
        result = again(volume, segmentation)
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, SPLEEN, volume), before)
        (new,) = set(placed.segmentIDs(segmentation)) - {SPLEEN, ESOPHAGUS, "liver"}
        assert SPLEEN in placed.names(result.found)
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, new, volume), expected(SPLEEN))

    def test_an_empty_segmentation_is_taken_over_with_the_volumes_transform(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE, TABLE)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        result = again(volume, node)
        assert result.segmentationNode is node
        assert node.GetTransformNodeID() == volume.GetTransformNodeID()
        role = node.GetReferenceImageGeometryReferenceRole()
        assert node.GetNodeReference(role) is volume
        assert set(segmentStates(node).values()) == {"proposed"}


class TestChosenOrgans:
    def test_others_stay_and_keep_their_voxels(self, slicer, volume, segmentation):
        before = placed.voxels(slicer, segmentation, SPLEEN, volume)
        array = placed.array(liver=((0, 9), (0, 8), (0, 12)), spleen=((0, 1), (0, 1), (0, 1)))
        result = again(volume, segmentation, array, organs=["liver"])
        assert placed.names(result.found) == ["liver"] and result.notFound == ()
        np.testing.assert_array_equal(placed.voxels(slicer, segmentation, SPLEEN, volume), before)
        kidney = placed.voxels(slicer, segmentation, RIGHT_KIDNEY, volume)
        np.testing.assert_array_equal(
            placed.voxels(slicer, segmentation, "liver", volume),
            expected("liver", array) & ~before & ~kidney,
        )
        told = provenance(segmentation.GetSegmentation().GetSegment(SPLEEN))
        assert told.model == FIRST.title

    def test_one_that_is_not_found_goes(self, volume, segmentation):
        result = again(volume, segmentation, organs=[RIGHT_KIDNEY])
        assert placed.names(result.notFound) == [RIGHT_KIDNEY]
        assert placed.segmentIDs(segmentation) == [SPLEEN, ESOPHAGUS]


class TestRegion:
    REGION = ((2, 7), (0, 14), (0, 10))

    def test_outside_it_replaced_segments_keep_their_voxels(self, slicer, volume, segmentation):
        before = {
            organ: placed.voxels(slicer, segmentation, organ, volume)
            for organ in placed.segmentIDs(segmentation)
        }
        inside = placed.mask(*self.REGION)
        array = np.where(inside, NEW, 0).astype(np.uint8)
        again(volume, segmentation, array, region=self.REGION)
        for organ, old in before.items():
            np.testing.assert_array_equal(
                placed.voxels(slicer, segmentation, organ, volume),
                np.where(inside, expected(organ, array), old),
            )
        assert set(segmentStates(segmentation).values()) == {"proposed"}


class TestTransforms:
    def test_a_segmentation_under_another_transform_gets_the_organs_where_they_are(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE, TABLE)
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        placed.draw(slicer, segmentation, volume, "Segment_1", "Body", placed.mask((0, 9), (0, 14), (0, 19)))
        assert segmentation.GetTransformNodeID() is None
        again(volume, segmentation)
        assert segmentation.GetTransformNodeID() is None
        truth = scans.centres(scans.Image(NEW, geometryOfVolume(volume)), TABLE @ OBLIQUE)
        for organ in (SPLEEN, ESOPHAGUS, "liver"):
            found = scans.segmentCentre(slicer, segmentation, organ)
            np.testing.assert_allclose(found, truth[LABEL_SET.value_of(organ)], atol=1e-3)

    def test_transforms_that_bend_are_refused_and_nothing_changes(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE, np.diag([1, 1.5, 1, 1]) @ TABLE)
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        placed.draw(slicer, segmentation, volume, "Segment_1", "Body", placed.mask((0, 9), (0, 14), (0, 19)))
        with pytest.raises(SkcdfError, match="Mine and CT are under transforms that bend"):
            again(volume, segmentation)
        assert placed.segmentIDs(segmentation) == ["Segment_1"]


class TestViews:
    def test_surfaces_are_made_anew_where_they_were(self, slicer, volume, segmentation):
        segmentation.CreateClosedSurfaceRepresentation()
        segments = segmentation.GetSegmentation()
        old = segments.GetSegment(SPLEEN).GetRepresentation("Closed surface").GetBounds()
        again(volume, segmentation)
        for organ in (SPLEEN, ESOPHAGUS, "liver"):
            surface = segments.GetSegment(organ).GetRepresentation("Closed surface")
            assert surface.GetNumberOfPoints() > 0
        assert segments.GetSegment(SPLEEN).GetRepresentation("Closed surface").GetBounds() != old

    def test_kept_segments_have_their_surfaces_still(self, slicer, volume, segmentation, editor):
        editor.paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
        segmentation.CreateClosedSurfaceRepresentation()
        again(volume, segmentation)
        surface = segmentation.GetSegmentation().GetSegment(SPLEEN).GetRepresentation("Closed surface")
        assert surface.GetNumberOfPoints() > 0

    def test_no_surfaces_are_made_where_there_were_none(self, volume, segmentation):
        again(volume, segmentation)
        assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")

    def test_a_segmentation_kept_as_surfaces_is_refused(self, volume, segmentation):
        segmentation.CreateClosedSurfaceRepresentation()
        segmentation.SetSourceRepresentationToClosedSurface()
        with pytest.raises(SkcdfError, match="kept as closed surface"):
            again(volume, segmentation)
