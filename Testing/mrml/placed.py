"""Results of models in the scene, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import scans

from skcdf.image import Image
from skcdf.labels import LabelSet
from SKCDFSegmenterLib.LabelMapImport import ImportedLabelMap, placeResult
from SKCDFSegmenterLib.SegmentRecord import ModelRecord
from SKCDFSegmenterLib.VolumeImage import geometryOfVolume

LABEL_SET = LabelSet.load("synapse13")
OBLIQUE = scans.ijkToRASMatrix(angles=(11, -23, 7))
TABLE = scans.rigid((20, 10, -35), (12, -40, 65))
# Organs of the test label map, with the values 1, 2 and 5.
SPLEEN, RIGHT_KIDNEY, ESOPHAGUS = "spleen", "right_kidney", "esophagus"
FIRST = ModelRecord("abdomen v1", "aa11", "2026-11-26T08:00:00+00:00")
SECOND = ModelRecord("abdomen v2", "bb22", "2026-11-27T09:30:00+00:00")

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def place(
    volume: Any, array: np.ndarray | None = None, record: ModelRecord = FIRST, **options: Any
) -> ImportedLabelMap:
    """Puts a label map into the scene as a model's result; by default the three blocks of `scans.labels`."""
    geometry = geometryOfVolume(volume)
    labels = scans.labels(geometry) if array is None else Image(array, geometry)
    return placeResult(labels, LABEL_SET, volume, name="Result", record=record, **options)


def array(**boxes: Box) -> np.ndarray:
    """A label map with a block for each organ, later ones over earlier ones."""
    result = np.zeros(scans.SHAPE, np.uint8)
    for organ, box in boxes.items():
        result[tuple(slice(*side) for side in box)] = LABEL_SET.value_of(organ)
    return result


def mask(*box: tuple[int, int]) -> np.ndarray:
    """A boolean block in the volume."""
    result = np.zeros(scans.SHAPE, bool)
    result[tuple(slice(*side) for side in box)] = True
    return result


def voxels(slicer: Any, segmentation: Any, segmentID: str, volume: Any) -> np.ndarray:
    """A segment's voxels on the volume's grid, as Slicer itself gives them."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentID, volume).astype(bool)


def segmentIDs(segmentation: Any) -> list[str]:
    """In the order of the segment list."""
    return list(segmentation.GetSegmentation().GetSegmentIDs())


def draw(slicer: Any, segmentation: Any, volume: Any, segmentID: str, name: str, drawn: np.ndarray) -> str:
    """Adds a segment by hand."""
    added = segmentation.GetSegmentation().AddEmptySegment(segmentID, name)
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn.astype(np.uint8), segmentation, added, volume)
    return added


def reloaded(slicer: Any, path: Any, node: Any, crop: bool = False) -> Any:
    """Saves a segmentation as ``.seg.nrrd`` and loads it into another node."""
    storage = node.CreateDefaultStorageNode()
    slicer.mrmlScene.AddNode(storage)
    storage.SetFileName(str(path))
    storage.SetCropToMinimumExtent(crop)
    assert storage.WriteData(node)
    return slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path))


def strays(slicer: Any, segmentation: Any) -> set[int]:
    """Values in label maps that no segment there has: voxels left behind, which a later segment could inherit."""
    segments, found = segmentation.GetSegmentation(), set()
    for layer in range(segments.GetNumberOfLayers()):
        sharing = segments.GetSegmentIDsForLayer(layer)
        array = slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, sharing[0])
        claimed = {0, *(segments.GetSegment(each).GetLabelValue() for each in sharing)}
        found |= set(np.unique(array).tolist()) - claimed
    return found


def names(labels: Iterable[Any]) -> list[str]:
    """Of labels."""
    return [label.name for label in labels]


def harden(*nodes: Any) -> None:
    """What *Harden transform* of the Transforms and Data modules does."""
    for node in nodes:
        node.HardenTransform()
