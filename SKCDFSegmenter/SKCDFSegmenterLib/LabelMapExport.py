"""A segmentation node becomes a label map: a segment has the value of the organ it is, never by order."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from skcdf.errors import SkcdfError
from skcdf.image import Image
from skcdf.labels import LabelSet

from .SegmentIdentity import segmentsOfLabels
from .SegmentLabelMaps import BINARY_LABELMAP, voxelsOfSegments
from .SegmentVoxels import SegmentVoxels, voxelsOfArray
from .Texts import _
from .VolumeImage import geometryOfVolume, ijkToRASOfVolume, latticeOfVolumeIn


@dataclass(frozen=True)
class Overlap:
    """Voxels that two segments claim.

    Attributes:
        kept: name of the label that has them in the label map: the smaller organ.
        lost: name of the other label.
        voxels: how many.
    """

    kept: str
    lost: str
    voxels: int


@dataclass(frozen=True)
class ExportedLabelMap:
    """A segmentation as a label map, with all that a label map cannot say.

    Attributes:
        image: the label map on the volume's grid.
        annotated: names of the labels that have a segment, by value. An empty segment counts: the organ was
            looked for and is absent. Labels not named here are unknown in this case, not background.
        foreign: names of the segments that the label set does not have; they are not in the label map.
        overlaps: what segments took from each other.
    """

    image: Image
    annotated: tuple[str, ...]
    foreign: tuple[str, ...]
    overlaps: tuple[Overlap, ...]


def labelMapFromSegmentation(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    labelSet: LabelSet,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    organs: Container[str] | None = None,
) -> ExportedLabelMap:
    """The segments that ``labelSet`` knows, on the grid of ``volumeNode``.

    Positions are compared in the world: parent transforms of both nodes are taken into account.

    Args:
        segmentationNode: the segments.
        labelSet: the organs and their values.
        volumeNode: the grid.
        organs: names of the labels that are wanted, ``None`` for all; others are left out and take no voxels.

    Raises:
        SkcdfError: two segments are the same organ, or the volume has no usable grid.
    """
    geometry = geometryOfVolume(volumeNode)
    valueOfSegment, foreign = _assignSegments(segmentationNode, labelSet, organs)
    voxels = voxelsOnGrid(segmentationNode, valueOfSegment, volumeNode)
    array = np.zeros(geometry.shape, np.min_scalar_type(len(labelSet.labels)))
    overlaps = _paste(
        array, {valueOfSegment[segmentID]: each for segmentID, each in voxels.items()}, labelSet
    )
    annotated = set(valueOfSegment.values())
    return ExportedLabelMap(
        Image(array, geometry, segmentationNode.GetName()),
        tuple(label.name for label in labelSet.labels if label.value in annotated),
        tuple(foreign),
        overlaps,
    )


def voxelsOnGrid(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentIDs: Iterable[str],
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
) -> dict[str, SegmentVoxels]:
    """The voxels of segments on the volume's grid, by ID; resampled where the segmentation has another one.

    Raises:
        SkcdfError: a transform between segments and volume is not linear.
    """
    wanted = list(segmentIDs)
    lattice = latticeOfVolumeIn(segmentationNode, volumeNode)
    segmentation = segmentationNode.GetSegmentation()
    areLabelMaps = segmentation.GetSourceRepresentationName() == BINARY_LABELMAP
    if lattice is not None and areLabelMaps:
        found = voxelsOfSegments(segmentationNode, wanted)
        placed = {segmentID: each.on(lattice) for segmentID, each in found.items()}
        if None not in placed.values():
            return placed
    layers: dict[int, list[str]] = {}
    for index, segmentID in enumerate(wanted):  # segments of one layer cannot overlap, surfaces can
        layer = segmentation.GetLayerIndex(segmentID) if areLabelMaps else index
        layers.setdefault(layer, []).append(segmentID)
    resampled = {}
    for each in layers.values():
        array = _resampled(segmentationNode, each, volumeNode)
        values = {segmentID: index + 1 for index, segmentID in enumerate(each)}
        resampled.update(voxelsOfArray(array, values, (0, 0, 0), ijkToRASOfVolume(volumeNode)))
    return {segmentID: resampled[segmentID] for segmentID in wanted}


def _resampled(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentIDs: list[str],
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
) -> np.ndarray:
    """Segments that do not overlap, on the volume's grid; segment ``i`` has value ``i+1``."""
    names = vtk.vtkStringArray()
    for segmentID in segmentIDs:
        names.InsertNextValue(segmentID)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    try:
        logic = slicer.modules.segmentations.logic()
        if not logic.ExportSegmentsToLabelmapNode(segmentationNode, names, node, volumeNode):
            raise SkcdfError(
                _("{segmentation}: the segments cannot be brought onto the grid of {volume}.").format(
                    segmentation=segmentationNode.GetName(), volume=volumeNode.GetName()
                ),
                _("Check in the Transforms module that no non-linear transform lies between them."),
            )
        return slicer.util.arrayFromVolume(node).copy()
    finally:
        if node.GetDisplayNode():
            slicer.mrmlScene.RemoveNode(node.GetDisplayNode().GetColorNode())
        slicer.mrmlScene.RemoveNode(node)


def _paste(array: np.ndarray, voxels: Mapping[int, SegmentVoxels], labelSet: LabelSet) -> tuple[Overlap, ...]:
    """Puts organs into a label map and tells what they took from each other.

    The smaller organ gets a voxel that two claim: a small organ drawn inside a large one is the usual case, and the
    large one misses little.
    """
    names = ("background", *labelSet.names)
    overlaps = []
    for value, each in sorted(voxels.items(), key=lambda item: (-item[1].count, -item[0])):
        for lost, count in enumerate(each.paste(array, value)):
            if lost and count:
                overlaps.append((value, lost, int(count)))
    return tuple(Overlap(names[kept], names[lost], count) for kept, lost, count in sorted(overlaps))


def _assignSegments(
    segmentationNode: slicer.vtkMRMLSegmentationNode, labelSet: LabelSet, organs: Container[str] | None
) -> tuple[dict[str, int], list[str]]:
    """The value of every segment that is a wanted organ of the label set, and the names of those that are none."""
    segmentation = segmentationNode.GetSegmentation()
    ofLabel, foreign = segmentsOfLabels(segmentationNode, labelSet)
    valueOfSegment: dict[str, int] = {}
    for label in labelSet.labels:
        if organs is not None and label.name not in organs:
            continue
        segmentIDs = ofLabel.get(label.name, [])
        if len(segmentIDs) > 1:
            first, second = (segmentation.GetSegment(segmentID).GetName() for segmentID in segmentIDs[:2])
            raise SkcdfError(
                _("Segments {first} and {second} are both the organ {organ}.").format(
                    first=first, second=second, organ=label.title
                ),
                _("Join them in the Segment Editor (Logical operators, Add), or delete one."),
            )
        for segmentID in segmentIDs:
            valueOfSegment[segmentID] = label.value
    return valueOfSegment, [segmentation.GetSegment(segmentID).GetName() for segmentID in foreign]
