"""The segmentations of the scene that belong to a scan: there may be organs to work on before any run."""

from __future__ import annotations

import numpy as np
import slicer

from .SegmentLabelMaps import latticeOfImage
from .Texts import _
from .VolumeImage import latticeOfVolumeIn

SAME_GRID_MM = 1e-2
"""How far apart two grids may lie that are one: files round."""


def segmentationsOf(
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
) -> tuple[slicer.vtkMRMLSegmentationNode, ...]:
    """Those that have segments and were drawn on the scan, in the order in which they came into the scene.

    A file does not keep on which scan it was drawn: then it is the one whose very grid it has.
    """
    if volumeNode is None or volumeNode.GetImageData() is None:
        return ()
    return tuple(
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if not node.GetHideFromEditors()
        and node.GetSegmentation().GetNumberOfSegments()
        and _belongs(node, volumeNode)
    )


def offerWords(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, offered: tuple[slicer.vtkMRMLSegmentationNode, ...]
) -> str:
    """That there are organs to work on, though none are chosen."""
    names = ", ".join(node.GetName() for node in offered)
    if len(offered) == 1:
        text = _(
            "{scan} has organs that are drawn already: {names}. They can be corrected like those of a model."
        )
    else:
        text = _("{scan} has organs that are drawn already, several times: choose one above: {names}.")
    return text.format(scan=volumeNode.GetName(), names=names)


def _belongs(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> bool:
    drawnOn = segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())
    return drawnOn is volumeNode if drawnOn is not None else _hasGridOf(segmentationNode, volumeNode)


def _hasGridOf(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> bool:
    converter, image = slicer.vtkSegmentationConverter, slicer.vtkOrientedImageData()
    text = segmentationNode.GetSegmentation().GetConversionParameter(
        converter.GetReferenceImageGeometryParameterName()
    )
    lattice = latticeOfVolumeIn(segmentationNode, volumeNode)
    if lattice is None or not text or not converter.DeserializeImageGeometry(text, image, False):
        return False
    dimensions = volumeNode.GetImageData().GetDimensions()
    corners = np.array([(0, 0, 0, 1), (*(n - 1 for n in dimensions), 1)]).T
    apart = (lattice - latticeOfImage(image)) @ corners
    return image.GetDimensions() == dimensions and bool(np.abs(apart).max() < SAME_GRID_MM)
