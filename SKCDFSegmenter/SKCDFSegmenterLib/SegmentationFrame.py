"""How a segmentation has moved since something was noted in its own frame.

*Harden transform* moves the segments, and with them the reference geometry, but nothing that is remembered of them.
"""

from __future__ import annotations

import numpy as np
import slicer

from .SegmentLabelMaps import latticeOfImage


def frameOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> str:
    """Where a segmentation's frame lies, as a text for `movementSince`: its reference geometry, and whose that is."""
    return f"{_volumeID(segmentationNode)} {_geometry(segmentationNode)}"


def movementSince(segmentationNode: slicer.vtkMRMLSegmentationNode, frame: str) -> np.ndarray:
    """4×4 matrix in mm from where something lay in the segmentation's frame to where it lies in it now.

    It is unity where no transform was hardened, and where that cannot be known. Another reference geometry that the
    user has chosen is no movement: segments stay where they are. It has another extent, or is another volume's;
    hardening a linear transform changes the matrix only.

    Args:
        segmentationNode: the segmentation.
        frame: of that moment, from `frameOf`; empty: nobody knows.
    """
    volumeID, _, geometry = frame.partition(" ")
    now = _geometry(segmentationNode)
    then, present = _image(geometry), _image(now)
    if geometry == now or then is None or present is None:
        return np.eye(4)
    isOfTheSameVolume = _volumeID(segmentationNode) in (volumeID, "")  # empty: it was deleted
    if not isOfTheSameVolume or then.GetExtent() != present.GetExtent():
        return np.eye(4)
    return latticeOfImage(present) @ np.linalg.inv(latticeOfImage(then))


def referenceLattice(segmentationNode: slicer.vtkMRMLSegmentationNode) -> np.ndarray | None:
    """4×4 matrix of a segmentation's reference geometry, from index ``(x, y, z, 1)`` to mm; ``None`` without one."""
    image = _image(_geometry(segmentationNode))
    return None if image is None else latticeOfImage(image)


def _geometry(segmentationNode: slicer.vtkMRMLSegmentationNode) -> str:
    """Matrix and extent as Slicer writes them; empty where there are none."""
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    return segmentationNode.GetSegmentation().GetConversionParameter(name)


def _volumeID(segmentationNode: slicer.vtkMRMLSegmentationNode) -> str:
    return (
        segmentationNode.GetNodeReferenceID(segmentationNode.GetReferenceImageGeometryReferenceRole()) or ""
    )


def _image(geometry: str) -> slicer.vtkOrientedImageData | None:
    image = slicer.vtkOrientedImageData()
    deserialize = slicer.vtkSegmentationConverter.DeserializeImageGeometry
    return image if geometry and deserialize(geometry, image, False) else None
