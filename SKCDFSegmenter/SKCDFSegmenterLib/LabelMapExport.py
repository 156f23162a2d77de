"""A segmentation node becomes a label map: a segment has the value of the organ it is, never by order."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from skcdf.errors import SkcdfError
from skcdf.image import Image
from skcdf.labels import LabelSet

from .SegmentIdentity import segmentsOfLabels
from .VolumeImage import geometryOfVolume


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
    segmentation = segmentationNode.GetSegmentation()
    valueOfSegment, foreign = _assignSegments(segmentationNode, labelSet, organs)
    layers: dict[int, list[str]] = {}
    for segmentID in valueOfSegment:
        layers.setdefault(segmentation.GetLayerIndex(segmentID), []).append(segmentID)

    array = np.zeros(geometry.shape, np.min_scalar_type(len(labelSet.labels)))
    sizes = np.zeros(labelSet.number_of_classes, np.int64)
    contested = []
    for segmentIDs in layers.values():
        values = np.array([0, *(valueOfSegment[segmentID] for segmentID in segmentIDs)], array.dtype)
        layer = values[mergedSegments(segmentationNode, segmentIDs, volumeNode)]
        for plane in layer:  # slice by slice: counting needs 8 bytes per voxel
            sizes += np.bincount(plane.ravel(), minlength=len(sizes))
        voxels = np.flatnonzero((array > 0) & (layer > 0))
        contested.append((voxels, layer.ravel()[voxels]))
        np.copyto(array, layer, where=array == 0)
    overlaps = _settle(array.reshape(-1), contested, sizes, labelSet)
    annotated = set(valueOfSegment.values())
    return ExportedLabelMap(
        Image(array, geometry, segmentationNode.GetName()),
        tuple(label.name for label in labelSet.labels if label.value in annotated),
        tuple(foreign),
        overlaps,
    )


def mergedSegments(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentIDs: list[str],
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
) -> np.ndarray:
    """Segments on the volume's grid, segment ``i`` with value ``i + 1``; where several overlap, with one of theirs.

    Raises:
        SkcdfError: a transform between segments and volume is not linear.
    """
    names = vtk.vtkStringArray()
    for segmentID in segmentIDs:
        names.InsertNextValue(segmentID)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    try:
        logic = slicer.modules.segmentations.logic()
        if not logic.ExportSegmentsToLabelmapNode(segmentationNode, names, node, volumeNode):
            raise SkcdfError(
                f"{segmentationNode.GetName()}: the segments cannot be brought onto the grid of "
                f"{volumeNode.GetName()}.",
                "Check in the Transforms module that no non-linear transform lies between them.",
            )
        return slicer.util.arrayFromVolume(node).copy()
    finally:
        if node.GetDisplayNode():
            slicer.mrmlScene.RemoveNode(node.GetDisplayNode().GetColorNode())
        slicer.mrmlScene.RemoveNode(node)


def _settle(
    voxels: np.ndarray, contested: list[tuple[np.ndarray, np.ndarray]], sizes: np.ndarray, labelSet: LabelSet
) -> tuple[Overlap, ...]:
    """Gives every voxel that several segments claim to the smallest organ, in place, and says what happened.

    A small organ drawn inside a large one is the usual case, and the large one misses little.

    Args:
        voxels: the flat label map, holding the first claim.
        contested: flat indices and values of the later claims.
        sizes: voxels per value.
        labelSet: names for the report.
    """
    rank = np.empty(len(sizes), int)
    rank[np.argsort(sizes, kind="stable")] = np.arange(len(sizes))
    lostVoxels: dict[tuple[int, int], int] = {}
    for indices, claims in contested:
        current = voxels[indices]
        claimWins = rank[claims] < rank[current]
        kept, lost = np.where(claimWins, (claims, current), (current, claims))
        voxels[indices] = kept
        pairs, counts = np.unique(np.stack([kept, lost], axis=1), axis=0, return_counts=True)
        for pair, count in zip(pairs, counts, strict=True):
            key = (int(pair[0]), int(pair[1]))
            lostVoxels[key] = lostVoxels.get(key, 0) + int(count)
    names = ("background", *labelSet.names)
    return tuple(
        Overlap(names[kept], names[lost], count) for (kept, lost), count in sorted(lostVoxels.items())
    )


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
                f"Segments {first} and {second} are both the organ {label.title}.",
                "Join them in the Segment Editor (Logical operators, Add), or delete one.",
            )
        for segmentID in segmentIDs:
            valueOfSegment[segmentID] = label.value
    return valueOfSegment, [segmentation.GetSegment(segmentID).GetName() for segmentID in foreign]
