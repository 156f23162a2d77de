"""A label map becomes segments: one per organ found, named, coloured and coded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import slicer

from skcdf.errors import SkcdfError
from skcdf.image import Image
from skcdf.labels import Label, LabelSet

from .OrganPlacement import Placement, Region, permittedVoxels, planPlacement
from .Proposals import Proposal, rememberProposals
from .SegmentDisplay import surfacesKept
from .SegmentLabelMaps import BINARY_LABELMAP, eraseVoxels, orientedImage
from .SegmentRecord import ModelRecord, anchorOf, writeRecord
from .SegmentVoxels import SegmentVoxels, commonBox, voxelsOfArray
from .Snapshot import takeSnapshot
from .Terminology import TAG_NAME, terminologyTag
from .Texts import _
from .VolumeImage import geometryOfVolume, ijkToRASOfVolume, latticeOfVolumeIn


@dataclass(frozen=True)
class ImportedLabelMap:
    """A label map in the scene.

    Attributes:
        segmentationNode: the node that has it.
        found: the organs that have a new segment, or new voxels in their old one, by value.
        notFound: the organs looked for that the label map does not hold; they have no segment, since an empty
            segment would claim that somebody looked and the organ is absent.
        kept: the organs whose segments were left as they are, since a person has edited, completed or drawn them.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode
    found: tuple[Label, ...]
    notFound: tuple[Label, ...]
    kept: tuple[Label, ...] = ()


def segmentationFromLabelMap(
    labelMap: Image, labelSet: LabelSet, volumeNode: slicer.vtkMRMLScalarVolumeNode, name: str
) -> ImportedLabelMap:
    """Adds a segmentation of ``volumeNode`` to the scene that no model has proposed.

    The segments share one label map whose values are those of the label set, so that a saved ``.seg.nrrd``
    has them, too. Segment IDs are the label names, and stay so when the user renames a segment.

    Args:
        labelMap: voxels ``(z, y, x)`` with values of ``labelSet``, on the grid of ``volumeNode``.
        labelSet: what the values mean.
        volumeNode: the segmented scan; the segmentation is put under its parent transform.
        name: the name of the new node.

    Raises:
        SkcdfError: the label map is on another grid, or holds values that the label set does not have.
    """
    _check(labelMap, labelSet, volumeNode)
    return _newSegmentation(labelMap.array, labelSet, labelSet.labels, volumeNode, name, None)


def placeResult(
    labelMap: Image,
    labelSet: LabelSet,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    *,
    name: str,
    record: ModelRecord,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    organs: Iterable[str] = (),
    keepEdited: bool = True,
    region: Region | None = None,
) -> ImportedLabelMap:
    """Puts a model's result into the scene: into a new segmentation, or into one that is there already.

    In one that is there, segments that are still as a model proposed them get the new voxels and keep ID, name,
    colour and place in the list; one whose organ is no longer found goes. Segments that a person has edited,
    completed or drawn keep their voxels, also against new organs that overlap them; so do organs that the run was
    not about. Segments that are no organ of the label set are left alone. `Snapshot.restorePrevious` undoes it.

    Args:
        labelMap: voxels ``(z, y, x)`` with values of ``labelSet``, on the grid of ``volumeNode``.
        labelSet: what the values mean.
        volumeNode: the segmented scan; a new segmentation is put under its parent transform.
        name: the name of a new node.
        record: the model.
        segmentationNode: where the result goes; ``None``: into a new node.
        organs: names of the labels that the run was about; empty: all.
        keepEdited: whether edited segments stay; completed ones and those of other origin always do.
        region: the box that was computed; outside it, what is replaced keeps its voxels. ``None``: everything was.

    Raises:
        SkcdfError: the label map is on another grid, holds values that the label set does not have, or the
            segmentation cannot take it. The scene is as it was.
    """
    _check(labelMap, labelSet, volumeNode)
    wanted = {labelSet.value_of(organ) for organ in organs}
    labels = tuple(label for label in labelSet.labels if not wanted or label.value in wanted)
    if segmentationNode is None:
        return _newSegmentation(labelMap.array, labelSet, labels, volumeNode, name, record)
    if segmentationNode.GetSegmentation().GetNumberOfSegments() == 0:
        _tieToVolume(segmentationNode, volumeNode)
    placement = planPlacement(segmentationNode, labelSet, [label.name for label in labels], keepEdited)
    lattice = latticeOfVolumeIn(segmentationNode, volumeNode)
    if lattice is None:
        raise SkcdfError(
            _("{segmentation} and {volume} are under transforms that bend one against the other.").format(
                segmentation=segmentationNode.GetName(), volume=volumeNode.GetName()
            ),
            _("Put both under the same transform, or make a new segmentation."),
        )
    array = permittedVoxels(labelMap.array, placement, labelSet, segmentationNode, volumeNode, region)
    voxels = voxelsOfArray(array, {label.name: label.value for label in placement.organs}, (0, 0, 0), lattice)
    box = commonBox(voxels.values())
    image = orientedImage(array[box], box, lattice)
    _replace(segmentationNode, volumeNode, placement, voxels, image, record)
    found = tuple(label for label in placement.organs if not voxels[label.name].isEmpty)
    notFound = tuple(label for label in placement.organs if voxels[label.name].isEmpty)
    return ImportedLabelMap(segmentationNode, found, notFound, placement.kept)


def _check(labelMap: Image, labelSet: LabelSet, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    if not labelMap.geometry.same_grid(geometryOfVolume(volumeNode)):
        raise SkcdfError(
            _("{volume}: the label map lies on another grid than the volume.").format(
                volume=volumeNode.GetName()
            ),
            _("The volume was changed during the segmentation; segment it again."),
        )
    low, high = labelMap.array.min(), labelMap.array.max()
    if low < 0 or high >= labelSet.number_of_classes:
        raise SkcdfError(
            _(
                "The label map holds values from {low} to {high}, but label set {name} has 0 to {last}."
            ).format(low=low, high=high, name=labelSet.name, last=labelSet.number_of_classes - 1),
            _("Choose the label set that the label map was made with."),
        )


def _newSegmentation(
    labelArray: np.ndarray,
    labelSet: LabelSet,
    labels: tuple[Label, ...],
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    name: str,
    record: ModelRecord | None,
) -> ImportedLabelMap:
    segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    _tieToVolume(segmentationNode, volumeNode)
    table = np.zeros(labelSet.number_of_classes, np.min_scalar_type(labelSet.number_of_classes))
    for label in labels:
        table[label.value] = label.value
    array = table[labelArray]
    lattice = ijkToRASOfVolume(volumeNode)
    voxels = voxelsOfArray(array, {label.name: label.value for label in labels}, (0, 0, 0), lattice)
    box, anchor = commonBox(voxels.values()), anchorOf(segmentationNode)
    image = orientedImage(array[box], box, lattice)
    found = tuple(label for label in labels if not voxels[label.name].isEmpty)
    for label in found:
        segment = _segment(label, image)
        if record is not None:
            writeRecord(segment, label.name, record, voxels[label.name], anchor)
        segmentationNode.GetSegmentation().AddSegment(segment, label.name)
    if record is not None:
        _remember(segmentationNode, labels, voxels, record)
    notFound = tuple(label for label in labels if voxels[label.name].isEmpty)
    return ImportedLabelMap(segmentationNode, found, notFound)


def _replace(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    placement: Placement,
    voxels: dict[str, SegmentVoxels],
    image: slicer.vtkOrientedImageData,
    record: ModelRecord,
) -> None:
    """Gives organs their new voxels; ``image`` holds them with the values of the label set."""
    segmentation = segmentationNode.GetSegmentation()
    segmentIDs = {
        label.name: placement.replaced.get(label.name) or segmentation.GenerateUniqueSegmentID(label.name)
        for label in placement.organs
        if label.name in placement.replaced or not voxels[label.name].isEmpty
    }
    if anchorOf(segmentationNode) is None:  # before the snapshot, which is found again by it
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    present = takeSnapshot(segmentationNode, segmentIDs.values())
    anchor = anchorOf(segmentationNode)
    with surfacesKept(segmentationNode, segmentIDs.values()):
        eraseVoxels(segmentationNode, present)  # from the label maps that they share with others
        for label in placement.organs:
            segmentID = segmentIDs.get(label.name)
            if segmentID is None:
                continue
            segment = segmentation.GetSegment(segmentID)
            if voxels[label.name].isEmpty:
                segmentation.RemoveSegment(segmentID)
            elif segment is not None:
                segment.SetLabelValue(label.value)
                segment.AddRepresentation(BINARY_LABELMAP, image)
                writeRecord(segment, label.name, record, voxels[label.name], anchor)
            else:
                segment = _segment(label, image)
                writeRecord(segment, label.name, record, voxels[label.name], anchor)
                segmentation.AddSegment(segment, segmentID)
    _remember(segmentationNode, placement.organs, voxels, record)


def _remember(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    labels: Iterable[Label],
    voxels: dict[str, SegmentVoxels],
    record: ModelRecord,
) -> None:
    new = {label.name: Proposal(label, voxels[label.name], record.title) for label in labels}
    rememberProposals(segmentationNode, new)


def _segment(label: Label, sharedLabelMap: slicer.vtkOrientedImageData) -> slicer.vtkSegment:
    segment = slicer.vtkSegment()
    segment.SetName(label.title)
    segment.SetColor(*(channel / 255 for channel in label.color))
    segment.SetTag(TAG_NAME, terminologyTag(label))
    segment.SetLabelValue(label.value)
    segment.AddRepresentation(BINARY_LABELMAP, sharedLabelMap)
    return segment


def _tieToVolume(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Puts a segmentation without segments under the volume's transform, patient and study, and on its grid."""
    segmentationNode.CreateDefaultDisplayNodes()
    # Transform before reference geometry: Slicer converts that between the transforms of both nodes, once.
    # The other way round, saving the scene resamples the segments onto a grid beside the volume's.
    segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    _placeBesideVolume(segmentationNode, volumeNode)


def _placeBesideVolume(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Moves the segmentation under the patient and study of the volume."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item, volumeItem = (hierarchy.GetItemByDataNode(node) for node in (segmentationNode, volumeNode))
    if item and volumeItem:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))
