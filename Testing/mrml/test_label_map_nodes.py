"""Label map to segmentation node and back, on real MRML."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import scans
import vtk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf.errors import SkcdfError
from skcdf.image import Image
from skcdf.labels import LabelSet
from SKCDFSegmenterLib.LabelMapExport import Overlap, labelMapFromSegmentation
from SKCDFSegmenterLib.LabelMapImport import segmentationFromLabelMap
from SKCDFSegmenterLib.Terminology import TAG_NAME, terminologyTag
from SKCDFSegmenterLib.VolumeImage import geometryOfVolume, imageOfVolume, writeVolume

LABEL_SET = LabelSet.load("synapse13")
OBLIQUE = scans.ijkToRASMatrix(angles=(11, -23, 7))
TABLE = scans.rigid((20, 10, -35), (12, -40, 65))
SLICE_NORMAL_MM = 2.9


def imported(volume):
    """The test labels as a segmentation of ``volume``, with the label map they came from."""
    labels = scans.labels(geometryOfVolume(volume))
    return segmentationFromLabelMap(labels, LABEL_SET, volume, "Result").segmentationNode, labels


def addSegment(slicer, segmentation, volume, mask, segmentID, name, label=None):
    """Adds a segment as if drawn by hand: in its own layer, without terminology if no label is given."""
    added = segmentation.GetSegmentation().AddEmptySegment(segmentID, name)
    if label is not None:
        segmentation.GetSegmentation().GetSegment(added).SetTag(TAG_NAME, terminologyTag(label))
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, added, volume)
    return added


def tagOf(segment):
    value = vtk.reference("")
    segment.GetTag(TAG_NAME, value)
    return str(value)


class TestVolume:
    def test_voxels_keep_type_and_position(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        image = imageOfVolume(volume)
        assert image.array.dtype == np.int16
        assert image.array.shape == scans.SHAPE
        expected = (OBLIQUE @ [3, 2, 1, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(image.geometry.position([3, 2, 1]), expected, atol=1e-9)

    def test_the_parent_transform_is_not_baked_in(self, makeVolume):
        assert geometryOfVolume(makeVolume(scans.SHAPE, OBLIQUE, TABLE)) == geometryOfVolume(
            makeVolume(scans.SHAPE, OBLIQUE)
        )

    def test_changing_the_image_does_not_change_the_volume(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        before = slicer.util.arrayFromVolume(volume).copy()
        imageOfVolume(volume).array[:] = 0
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), before)

    def test_doubles_become_single_precision(self, slicer):
        volume = slicer.util.addVolumeFromArray(np.full((2, 3, 4), 0.25))
        assert imageOfVolume(volume).array.dtype == np.float32

    def test_the_written_file_has_the_same_voxels_and_positions(self, makeVolume, tmp_path):
        import SimpleITK

        volume = makeVolume(scans.SHAPE, OBLIQUE, TABLE)
        writeVolume(volume, tmp_path / "scan.nrrd")
        written = SimpleITK.ReadImage(str(tmp_path / "scan.nrrd"))
        image = imageOfVolume(volume)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(written), image.array)
        for index in ((0, 0, 0), (18, 13, 8), (5, 0, 2)):
            np.testing.assert_allclose(
                written.TransformIndexToPhysicalPoint(index), image.geometry.position(index), atol=1e-4
            )
        assert volume.GetStorageNode() is None

    def test_a_volume_without_voxels_is_refused(self, slicer):
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
        with pytest.raises(SkcdfError, match="Nothing: the volume has no voxels"):
            imageOfVolume(volume)

    def test_colour_volumes_are_refused(self, slicer):
        volume = slicer.util.addVolumeFromArray(
            np.zeros((2, 3, 4, 3), np.uint8), name="Photo", nodeClassName="vtkMRMLVectorVolumeNode"
        )
        with pytest.raises(SkcdfError, match="Photo: the volume has 3 values per voxel"):
            imageOfVolume(volume)

    def test_sheared_axes_are_refused(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        sheared = np.array([[0.0, 0.7, 0.0], [1.0, 0.7, 0.0], [0.0, 0.0, 1.0]])
        volume.SetIJKToRASDirections(sheared.tolist())
        with pytest.raises(SkcdfError, match="not perpendicular"):
            imageOfVolume(volume)


class TestImport:
    def test_segments_have_the_identity_of_their_labels(self, makeVolume):
        segmentation, _ = imported(makeVolume(scans.SHAPE, OBLIQUE))
        segments = segmentation.GetSegmentation()
        assert segments.GetSegmentIDs() == tuple(LABEL_SET.labels[value - 1].name for value in (1, 2, 5))
        for segmentID in segments.GetSegmentIDs():
            label = LABEL_SET.labels[LABEL_SET.value_of(segmentID) - 1]
            segment = segments.GetSegment(segmentID)
            assert segment.GetName() == label.title
            assert segment.GetLabelValue() == label.value
            assert np.round(np.multiply(segment.GetColor(), 255)).tolist() == list(label.color)

    def test_slicer_reads_the_terminology_with_the_side(self, slicer, makeVolume):
        segmentation, _ = imported(makeVolume(scans.SHAPE, OBLIQUE))
        sided = [label for label in LABEL_SET.labels if label.modifier is not None]
        segment = segmentation.GetSegmentation().GetSegment(LABEL_SET.labels[1].name)
        for label, tag in ((LABEL_SET.labels[1], tagOf(segment)), (sided[0], terminologyTag(sided[0]))):
            entry = slicer.vtkSlicerTerminologyEntry()
            assert slicer.modules.terminologies.logic().DeserializeTerminologyEntry(tag, entry)
            codes = (entry.GetCategoryObject(), entry.GetTypeObject(), entry.GetTypeModifierObject())
            for code, expected in zip(codes, (label.category, label.code, label.modifier), strict=True):
                if expected is None:
                    assert not code.GetCodeValue()
                else:
                    assert code.GetCodingSchemeDesignator() == expected.scheme
                    assert code.GetCodeValue() == expected.value
                    assert code.GetCodeMeaning() == expected.meaning

    def test_organs_that_were_not_found_get_no_segment_and_are_named(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        result = segmentationFromLabelMap(scans.labels(geometryOfVolume(volume)), LABEL_SET, volume, "R")
        assert [label.value for label in result.found] == [1, 2, 5]
        assert len(result.notFound) == len(LABEL_SET.labels) - 3
        assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == 3

    def test_an_empty_label_map_gives_a_segmentation_without_segments(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        nothing = Image(np.zeros(scans.SHAPE, np.uint8), geometryOfVolume(volume))
        result = segmentationFromLabelMap(nothing, LABEL_SET, volume, "R")
        assert result.found == ()
        assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == 0

    def test_the_segmentation_refers_to_the_volume_and_shares_its_transform(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE, TABLE)
        segmentation, _ = imported(volume)
        role = segmentation.GetReferenceImageGeometryReferenceRole()
        assert segmentation.GetNodeReference(role) == volume
        assert segmentation.GetTransformNodeID() == volume.GetTransformNodeID()

    def test_the_segmentation_joins_the_study_of_the_volume(self, slicer, makeVolume):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
        hierarchy.CreateItem(study, volume)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def asTheApplicationDoes(_scene, _event, node):
            if node.IsA("vtkMRMLSegmentationNode"):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

        observer = slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAddedEvent, asTheApplicationDoes)
        segmentation, _ = imported(volume)
        slicer.mrmlScene.RemoveObserver(observer)
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(segmentation)) == study

    def test_unknown_values_are_refused(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        labels = scans.labels(geometryOfVolume(volume))
        labels.array[0, 0, 0] = 14
        with pytest.raises(SkcdfError, match="values from 0 to 14, but label set synapse13 has 0 to 13"):
            segmentationFromLabelMap(labels, LABEL_SET, volume, "R")
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0

    def test_another_grid_is_refused(self, slicer, makeVolume):
        elsewhere = scans.labels(geometryOfVolume(makeVolume(scans.SHAPE, scans.ijkToRASMatrix())))
        with pytest.raises(SkcdfError, match="another grid"):
            segmentationFromLabelMap(elsewhere, LABEL_SET, makeVolume(scans.SHAPE, OBLIQUE), "R")
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


class TestPositions:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        axes=st.permutations((0, 1, 2)),
        signs=st.tuples(*3 * [st.sampled_from((-1, 1))]),
        angles=st.tuples(*3 * [st.floats(-40, 40)]),
        spacing=st.tuples(*3 * [st.floats(0.4, 5)]),
        isTransformed=st.booleans(),
    )
    def test_any_grid_keeps_every_organ_where_it_is(
        self, slicer, makeVolume, axes, signs, angles, spacing, isTransformed
    ):
        matrix = scans.ijkToRASMatrix(axes, signs, angles, spacing)
        volume = makeVolume(scans.SHAPE, matrix, TABLE if isTransformed else None)
        segmentation, labels = imported(volume)
        world = TABLE @ matrix if isTransformed else matrix
        for value, centre in scans.centres(labels, world).items():
            found = scans.segmentCentre(slicer, segmentation, LABEL_SET.names[value - 1])
            # A turned parent transform makes Slicer resample the segment; half a voxel is its own doing.
            tolerance = 0.5 * max(spacing) if isTransformed else 1e-3
            assert np.linalg.norm(found - centre) < tolerance
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        np.testing.assert_array_equal(exported.image.array, labels.array)
        slicer.mrmlScene.Clear(1)

    def test_moving_the_transform_moves_volume_and_segments_together(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE, scans.rigid((0, 0, 0), (1, 2, 3)))
        segmentation, labels = imported(volume)
        moved = scans.rigid((0, 0, 0), (100, -50, 30))
        volume.GetParentTransformNode().SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
        for value, centre in scans.centres(labels, moved @ OBLIQUE).items():
            found = scans.segmentCentre(slicer, segmentation, LABEL_SET.names[value - 1])
            np.testing.assert_allclose(found, centre, atol=1e-3)

    def test_export_onto_another_volume_goes_by_world_position(self, makeVolume):
        segmentation, labels = imported(makeVolume(scans.SHAPE, OBLIQUE, TABLE))
        truth = scans.centres(labels, TABLE @ OBLIQUE)
        fine = np.diag([-0.5, -0.5, 0.5, 1.0])
        fine[:3, 3] = (TABLE @ OBLIQUE @ [9, 7, 4, 1])[:3] + np.array([15, 15, -15])
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, makeVolume((60, 60, 60), fine))
        for value, centre in scans.centres(exported.image, fine).items():
            assert np.linalg.norm(centre - truth[value]) < 0.5
        assert set(np.unique(exported.image.array)) == {0, 1, 2, 5}

    def test_a_hardened_transform_changes_no_position(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE, TABLE)
        segmentation, labels = imported(volume)
        slicer.vtkSlicerTransformLogic().hardenTransform(volume)
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        np.testing.assert_array_equal(exported.image.array, labels.array)


class TestIdentity:
    def test_the_order_of_segments_means_nothing(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, labels = imported(volume)
        segmentation.GetSegmentation().ReorderSegments(segmentation.GetSegmentation().GetSegmentIDs()[::-1])
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        np.testing.assert_array_equal(exported.image.array, labels.array)

    def test_a_deleted_segment_is_unknown_and_shifts_no_value(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, labels = imported(volume)
        segmentation.GetSegmentation().RemoveSegment(LABEL_SET.names[0])
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        np.testing.assert_array_equal(exported.image.array, np.where(labels.array == 1, 0, labels.array))
        assert exported.annotated == (LABEL_SET.names[1], LABEL_SET.names[4])

    def test_a_renamed_segment_keeps_its_value(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, labels = imported(volume)
        segmentation.GetSegmentation().GetSegment(LABEL_SET.names[1]).SetName("right side, checked by AB")
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        np.testing.assert_array_equal(exported.image.array, labels.array)

    def test_a_segment_with_a_new_code_is_the_new_organ(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, labels = imported(volume)
        segment = segmentation.GetSegmentation().GetSegment(LABEL_SET.names[0])
        segment.SetTag(TAG_NAME, terminologyTag(LABEL_SET.labels[7]))
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        assert (exported.image.array == 8).sum() == (labels.array == 1).sum()
        assert not (exported.image.array == 1).any()

    def test_a_segment_of_another_structure_is_foreign_in_spite_of_its_id(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, _ = imported(volume)
        segment = segmentation.GetSegmentation().GetSegment(LABEL_SET.names[0])
        segment.SetTag(TAG_NAME, tagOf(segment).replace(LABEL_SET.labels[0].code.value, "108369006"))
        segment.SetName("Tumour")
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        assert exported.foreign == ("Tumour",)
        assert not (exported.image.array == 1).any()

    @pytest.mark.parametrize("name", [LABEL_SET.labels[5].title.upper(), LABEL_SET.names[5], " liver "])
    def test_a_drawn_segment_is_known_by_its_name(self, slicer, makeVolume, name):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, labels = imported(volume)
        mask = np.zeros(scans.SHAPE, bool)
        mask[8, :3, :3] = True
        addSegment(slicer, segmentation, volume, mask, "Segment_1", name)
        value = 6 if "liver" not in name else LABEL_SET.value_of("liver")
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        np.testing.assert_array_equal(exported.image.array, np.where(mask, value, labels.array))
        assert exported.overlaps == ()

    def test_foreign_segments_are_named_and_left_out(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, labels = imported(volume)
        addSegment(slicer, segmentation, volume, np.ones(scans.SHAPE, bool), "Segment_1", "Body")
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        assert exported.foreign == ("Body",)
        np.testing.assert_array_equal(exported.image.array, labels.array)

    def test_an_empty_segment_counts_as_annotated(self, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, labels = imported(volume)
        segmentation.GetSegmentation().AddEmptySegment("pancreas", LABEL_SET.labels[10].title)
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        assert "pancreas" in exported.annotated
        np.testing.assert_array_equal(exported.image.array, labels.array)

    def test_an_erased_segment_shifts_no_value(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, labels = imported(volume)
        erased = slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, LABEL_SET.names[0])
        erased[erased == 1] = 0
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        np.testing.assert_array_equal(exported.image.array, np.where(labels.array == 1, 0, labels.array))
        assert LABEL_SET.names[0] in exported.annotated

    def test_two_segments_of_one_organ_are_refused(self, slicer, makeVolume):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, _ = imported(volume)
        addSegment(slicer, segmentation, volume, np.ones(scans.SHAPE), "a", "Again", LABEL_SET.labels[0])
        with pytest.raises(SkcdfError, match=f"{LABEL_SET.labels[0].title} and Again are both the organ"):
            labelMapFromSegmentation(segmentation, LABEL_SET, volume)


class TestOverlaps:
    @pytest.mark.parametrize("isSmallFirst", [True, False])
    def test_the_smaller_organ_keeps_the_voxels_whatever_the_order(self, slicer, makeVolume, isSmallFirst):
        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        large, small = np.zeros(scans.SHAPE, bool), np.zeros(scans.SHAPE, bool)
        large[1:8, 2:12, 2:15] = True
        small[4:6, 5:8, 10:18] = True
        parts = [("liver", large), ("gallbladder", small)]
        for name, mask in parts[::-1] if isSmallFirst else parts:
            addSegment(slicer, segmentation, volume, mask, name, name)
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        assert exported.overlaps == (Overlap("gallbladder", "liver", int((large & small).sum())),)
        array = exported.image.array
        np.testing.assert_array_equal(array == LABEL_SET.value_of("gallbladder"), small)
        np.testing.assert_array_equal(array == LABEL_SET.value_of("liver"), large & ~small)


class TestFiles:
    def check(self, slicer, segmentation, labels, world, volume):
        """Names, colours, codes, IDs, values and positions as they were."""
        segments = segmentation.GetSegmentation()
        assert segments.GetSegmentIDs() == tuple(LABEL_SET.names[value - 1] for value in (1, 2, 5))
        for value, centre in scans.centres(labels, world).items():
            label = LABEL_SET.labels[value - 1]
            segment = segments.GetSegment(label.name)
            assert segment.GetName() == label.title
            assert tagOf(segment) == terminologyTag(label)
            np.testing.assert_allclose(np.multiply(segment.GetColor(), 255), label.color, atol=0.5)
            found = scans.segmentCentre(slicer, segmentation, label.name)
            assert np.linalg.norm(found - centre) < 0.5 * SLICE_NORMAL_MM
        exported = labelMapFromSegmentation(segmentation, LABEL_SET, volume)
        np.testing.assert_array_equal(exported.image.array, labels.array)

    def test_seg_nrrd_keeps_everything_with_the_values_of_the_label_set(self, slicer, makeVolume, tmp_path):
        import SimpleITK

        volume = makeVolume(scans.SHAPE, OBLIQUE)
        segmentation, labels = imported(volume)
        path = str(tmp_path / "result.seg.nrrd")
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(path)
        assert storage.WriteData(segmentation)
        assert set(np.unique(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)))) == {0, 1, 2, 5}
        read = slicer.modules.segmentations.logic().LoadSegmentationFromFile(path)
        self.check(slicer, read, labels, OBLIQUE, volume)

    def test_a_scene_bundle_keeps_everything_with_the_transform(self, slicer, makeVolume, tmp_path):
        _, labels = imported(makeVolume(scans.SHAPE, OBLIQUE, TABLE))
        path = str(tmp_path / "scene.mrb")
        assert slicer.mrmlScene.WriteToMRB(path)
        slicer.mrmlScene.Clear(1)
        assert slicer.mrmlScene.ReadFromMRB(path)
        segmentation = slicer.util.getNode("Result")
        assert segmentation.GetTransformNodeID() == slicer.util.getNode("CT").GetTransformNodeID() is not None
        self.check(slicer, segmentation, labels, TABLE @ OBLIQUE, slicer.util.getNode("CT"))
