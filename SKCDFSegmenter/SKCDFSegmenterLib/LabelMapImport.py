"""A label map becomes a segmentation node: one segment per organ found, named, coloured and coded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from skcdf.errors import SkcdfError
from skcdf.image import Image
from skcdf.labels import Label, LabelSet

from .Terminology import TAG_NAME, terminologyTag
from .VolumeImage import geometryOfVolume


@dataclass(frozen=True)
class ImportedLabelMap:
    """A label map in the scene.

    Attributes:
        segmentationNode: the new node.
        found: the organs that have a segment, by value.
        notFound: the organs of the label set that the label map does not hold; they have no segment, since an
            empty segment would claim that somebody looked and the organ is absent.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode
    found: tuple[Label, ...]
    notFound: tuple[Label, ...]


def segmentationFromLabelMap(
    labelMap: Image, labelSet: LabelSet, volumeNode: slicer.vtkMRMLScalarVolumeNode, name: str
) -> ImportedLabelMap:
    """Adds a segmentation of ``volumeNode`` to the scene.

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
    if not labelMap.geometry.same_grid(geometryOfVolume(volumeNode)):
        raise SkcdfError(
            f"{volumeNode.GetName()}: the label map lies on another grid than the volume.",
            "The volume was changed during the segmentation; segment it again.",
        )
    voxels = _voxelsPerValue(labelMap.array, labelSet)
    segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentationNode.CreateDefaultDisplayNodes()
    # Transform before reference geometry: Slicer converts that between the transforms of both nodes, once.
    # The other way round, saving the scene resamples the segments onto a grid beside the volume's.
    segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    _placeBesideVolume(segmentationNode, volumeNode)

    found = tuple(label for label in labelSet.labels if voxels[label.value])
    sharedLabelMap = _orientedImage(labelMap.array, len(labelSet.labels), volumeNode)
    for label in found:
        segmentationNode.GetSegmentation().AddSegment(_segment(label, sharedLabelMap), label.name)
    notFound = tuple(label for label in labelSet.labels if not voxels[label.value])
    return ImportedLabelMap(segmentationNode, found, notFound)


def _voxelsPerValue(array: np.ndarray, labelSet: LabelSet) -> np.ndarray:
    """Voxels of every value, background included; slice by slice, since counting needs 8 bytes per voxel."""
    if array.min() < 0 or array.max() >= labelSet.number_of_classes:
        raise SkcdfError(
            f"The label map holds values from {array.min()} to {array.max()}, but label set {labelSet.name} "
            f"has 0 to {labelSet.number_of_classes - 1}.",
            "Choose the label set that the label map was made with.",
        )
    voxels = np.zeros(labelSet.number_of_classes, np.int64)
    for plane in array:
        voxels += np.bincount(plane.ravel(), minlength=len(voxels))
    return voxels


def _orientedImage(
    array: np.ndarray, largestValue: int, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkOrientedImageData:
    values = array.astype(np.min_scalar_type(largestValue)).ravel()
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(values, deep=True))
    ijkToRAS = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRAS)
    image.SetImageToWorldMatrix(ijkToRAS)
    return image


def _segment(label: Label, sharedLabelMap: slicer.vtkOrientedImageData) -> slicer.vtkSegment:
    segment = slicer.vtkSegment()
    segment.SetName(label.title)
    segment.SetColor(*(channel / 255 for channel in label.color))
    segment.SetTag(TAG_NAME, terminologyTag(label))
    segment.SetLabelValue(label.value)
    representation = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    segment.AddRepresentation(representation, sharedLabelMap)
    return segment


def _placeBesideVolume(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Moves the segmentation under the patient and study of the volume."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item, volumeItem = (hierarchy.GetItemByDataNode(node) for node in (segmentationNode, volumeNode))
    if item and volumeItem:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))
