"""A segmentation node becomes a label map: a segment has the value of the organ it is, never by order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from skcdf.errors import SkcdfError
from skcdf.image import Image
from skcdf.labels import Label, LabelSet

from .Terminology import TAG_NAME, structureOfTag
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
) -> ExportedLabelMap:
    """The segments that ``labelSet`` knows, on the grid of ``volumeNode``.

    Positions are compared in the world: parent transforms of both nodes are taken into account.

    Raises:
        SkcdfError: two segments are the same organ, or the volume has no usable grid.
    """
    geometry = geometryOfVolume(volumeNode)
    segmentation = segmentationNode.GetSegmentation()
    valueOfSegment, foreign = _assignSegments(segmentation, labelSet)
    layers: dict[int, list[str]] = {}
    for segmentID in valueOfSegment:
        layers.setdefault(segmentation.GetLayerIndex(segmentID), []).append(segmentID)

    array = np.zeros(geometry.shape, np.min_scalar_type(len(labelSet.labels)))
    sizes = np.zeros(labelSet.number_of_classes, np.int64)
    contested = []
    for segmentIDs in layers.values():
        values = np.array([0, *(valueOfSegment[segmentID] for segmentID in segmentIDs)], array.dtype)
        layer = values[_mergedLayer(segmentationNode, segmentIDs, volumeNode)]
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


def _mergedLayer(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentIDs: list[str],
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
) -> np.ndarray:
    """Segments of one layer, which cannot overlap, on the volume's grid; segment ``i`` has value ``i+1``."""
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
    segmentation: slicer.vtkSegmentation, labelSet: LabelSet
) -> tuple[dict[str, int], list[str]]:
    """The value of every segment that is an organ of the label set, and the names of those that are none."""
    valueOfSegment: dict[str, int] = {}
    segmentOfValue: dict[int, str] = {}
    foreign = []
    for segmentID in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentID)
        label = _labelOfSegment(segmentID, segment, labelSet)
        if label is None:
            foreign.append(segment.GetName())
        elif label.value in segmentOfValue:
            other = segmentation.GetSegment(segmentOfValue[label.value]).GetName()
            raise SkcdfError(
                f"Segments {other} and {segment.GetName()} are both the organ {label.title}.",
                "Join them in the Segment Editor (Logical operators, Add), or delete one.",
            )
        else:
            valueOfSegment[segmentID] = label.value
            segmentOfValue[label.value] = segmentID
    return valueOfSegment, foreign


def _labelOfSegment(segmentID: str, segment: slicer.vtkSegment, labelSet: LabelSet) -> Label | None:
    """The organ a segment is: by its terminology code, else by its ID, else by its name.

    The code comes first since it is what the user sees and edits; the ID cannot be seen. A code that says
    otherwise overrules ID and name.
    """
    structure = structureOfTag(_tag(segment))
    if structure is not None:
        byCode = [label for label in labelSet.labels if structure.isOf(label)]
        if len(byCode) == 1:
            return byCode[0]
    name = segment.GetName().strip().casefold()
    byID = [label for label in labelSet.labels if label.name == segmentID]
    byName = [label for label in labelSet.labels if name in (label.name.casefold(), label.title.casefold())]
    for label in (*byID, *byName):
        if structure is None or not structure.contradicts(label):
            return label
    return None


def _tag(segment: slicer.vtkSegment) -> str:
    value = vtk.reference("")
    return str(value) if segment.GetTag(TAG_NAME, value) else ""
