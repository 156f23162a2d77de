"""Segmentations that real MRML saved, read by the engine: the same voxels, names and codes, on the scan's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import scans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf.errors import SkcdfError
from skcdf.image import write_image
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool
from skcdf.pool_import import plan_import
from skcdf.pool_sources import open_source
from skcdf.seg_nrrd import read_segmentation
from SKCDFSegmenterLib.Terminology import TAG_NAME, terminologyTag
from SKCDFSegmenterLib.VolumeImage import geometryOfVolume, imageOfVolume

LABEL_SET = LabelSet.load("synapse13")
OBLIQUE = scans.ijkToRASMatrix(angles=(11, -23, 7))
SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY = LABEL_SET.labels[:3]


def block(*sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(scans.SHAPE, np.uint8)
    mask[tuple(slice(*side) for side in sides)] = 1
    return mask


# Index i of the usual matrices runs towards the patient's left.
RIGHT = block((2, 6), (3, 9), (3, 8))
LEFT = block((1, 4), (2, 5), (12, 17))


class Drawing:
    """A segmentation of a volume, drawn by hand."""

    def __init__(self, slicer: Any, volume: Any) -> None:
        self.slicer, self.volume = slicer, volume
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawing")
        self.node.SetReferenceImageGeometryParameterFromVolumeNode(volume)

    def add(self, name: str, mask: np.ndarray | None = None, label: Any = None, status: str = "") -> str:
        segments = self.node.GetSegmentation()
        segmentID = segments.AddEmptySegment(f"id_{segments.GetNumberOfSegments()}", name)
        segment = segments.GetSegment(segmentID)
        if label is not None:
            segment.SetTag(TAG_NAME, terminologyTag(label))
        if status:
            segment.SetTag("Segmentation.Status", status)
        if mask is not None:
            self.slicer.util.updateSegmentBinaryLabelmapFromArray(mask, self.node, segmentID, self.volume)
        return segmentID

    def save(self, path: Any, crop: bool = False) -> Any:
        self.node.GetSegmentation().CollapseBinaryLabelmaps(False)
        storage = self.node.CreateDefaultStorageNode()
        self.slicer.mrmlScene.AddNode(storage)
        storage.SetFileName(str(path))
        storage.SetCropToMinimumExtent(crop)
        assert storage.WriteData(self.node)
        return path


@pytest.fixture
def drawing(slicer, makeVolume):
    return lambda matrix=OBLIQUE: Drawing(slicer, makeVolume(scans.SHAPE, matrix))


class TestSegments:
    def test_have_name_code_side_status_and_voxels(self, drawing, tmp_path):
        drawn = drawing()
        drawn.add("Niere rechts ü 肝", RIGHT, RIGHT_KIDNEY, "completed")
        drawn.add("left", LEFT, LEFT_KIDNEY)
        right, left = read_segmentation(drawn.save(tmp_path / "a.seg.nrrd")).segments
        assert (right.name, right.status, right.voxels) == ("Niere rechts ü 肝", "completed", RIGHT.sum())
        for segment, label in ((right, RIGHT_KIDNEY), (left, LEFT_KIDNEY)):
            assert (segment.code, segment.modifier) == (label.code, label.modifier)

    def test_that_are_empty_are_there_without_voxels(self, drawing, tmp_path):
        drawn = drawing()
        drawn.add("right", RIGHT, RIGHT_KIDNEY)
        drawn.add("spleen", None, SPLEEN, "notstarted")
        _, spleen = read_segmentation(drawn.save(tmp_path / "a.seg.nrrd")).segments
        assert (spleen.name, spleen.voxels, spleen.status) == ("spleen", 0, "notstarted")

    def test_that_are_all_empty_give_an_empty_label_map(self, drawing, tmp_path):
        drawn = drawing()
        drawn.add("spleen", None, SPLEEN)
        segmentation = read_segmentation(drawn.save(tmp_path / "a.seg.nrrd"))
        assert not segmentation.label_map({"id_0": 1}, geometryOfVolume(drawn.volume)).array.any()

    def test_that_overlap_lie_in_layers_and_are_told(self, drawing, tmp_path):
        drawn = drawing()
        other = block((3, 8), (4, 10), (5, 16))
        for name, mask in (("right", RIGHT), ("left", LEFT), ("other", other)):
            drawn.add(name, mask)
        segmentation = read_segmentation(drawn.save(tmp_path / "a.seg.nrrd"))
        assert [segment.voxels for segment in segmentation.segments] == [RIGHT.sum(), LEFT.sum(), other.sum()]
        grid = geometryOfVolume(drawn.volume)
        np.testing.assert_array_equal(segmentation.label_map({"id_2": 7}, grid).array, 7 * other)
        with pytest.raises(
            SkcdfError, match=f"right and other in {(RIGHT & other).sum()} voxels, left and other"
        ):
            segmentation.label_map({"id_0": 1, "id_1": 2, "id_2": 3}, grid)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    axes=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from((-1, 1))] * 3),
    angles=st.tuples(*[st.floats(-40, 40)] * 3),
    crop=st.booleans(),
)
def test_on_every_oblique_grid_the_voxels_are_those_that_were_drawn(
    slicer, drawing, tmp_path, axes, signs, angles, crop
):
    slicer.mrmlScene.Clear(1)
    drawn = drawing(scans.ijkToRASMatrix(tuple(axes), signs, angles))
    drawn.add("right", RIGHT)
    drawn.add("left", LEFT)
    segmentation = read_segmentation(drawn.save(tmp_path / "a.seg.nrrd", crop))
    image = segmentation.label_map({"id_0": 1, "id_1": 2}, geometryOfVolume(drawn.volume))
    np.testing.assert_array_equal(image.array, RIGHT + 2 * LEFT)


def test_a_segmentation_on_another_grid_is_refused(slicer, drawing, makeVolume, tmp_path):
    drawn = drawing()
    drawn.add("right", RIGHT)
    path = drawn.save(tmp_path / "a.seg.nrrd")
    finer = makeVolume(scans.SHAPE, scans.ijkToRASMatrix(angles=(11, -23, 7), spacing=(0.5, 1.1, 2.9)))
    with pytest.raises(SkcdfError, match="do not lie on those of the scan"):
        read_segmentation(path).label_map({"id_0": 1}, geometryOfVolume(finer))


@pytest.mark.parametrize("crop", [False, True])
def test_what_slicer_saved_enters_a_pool(drawing, tmp_path, crop):
    drawn, folder = drawing(), tmp_path / "source"
    write_image(folder / "CT.nrrd", imageOfVolume(drawn.volume))
    drawn.add("Segment_1", RIGHT, RIGHT_KIDNEY)
    drawn.add("Linke Niere", LEFT, LEFT_KIDNEY)
    drawn.add("spleen", None, SPLEEN)
    drawn.save(folder / "CT-segmentation.seg.nrrd", crop)
    pool = LabelledPool.create(tmp_path / "pool", LABEL_SET, "CT")
    (entry,) = plan_import(pool, open_source(folder)).run()
    assert (entry.name, entry.action, entry.reason) == ("CT", "add", "")
    assert entry.voxels == {"spleen": 0, "right_kidney": RIGHT.sum(), "left_kidney": LEFT.sum()}
