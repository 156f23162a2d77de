"""A region of interest, as the user has drawn it, in voxels of a volume."""

from __future__ import annotations

import itertools

import numpy as np
import slicer
import vtk

from skcdf.errors import SkcdfError

from .Texts import _
from .VolumeImage import geometryOfVolume

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
_TOLERANCE = 1e-3
"""Voxels: a face that lies on a voxel's centre but for rounding errors includes it."""
_STEPS_THROUGH_WARP = 9


def regionBox(roiNode: slicer.vtkMRMLMarkupsROINode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Box:
    """The smallest box of voxels that holds every voxel centre inside the region.

    Positions are compared in the world: parent transforms of both nodes are taken into account. A region that lies
    obliquely to the grid gets the box around it.

    Returns:
        First voxel and the one after the last along the array's axes ``(z, y, x)``.

    Raises:
        SkcdfError: the region has no extent yet, holds no voxel of the volume, or the volume has no usable grid.
    """
    geometry = geometryOfVolume(volumeNode)
    size = np.array(roiNode.GetSize())
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise SkcdfError(
            _("{name}: the region has not been drawn yet.").format(name=roiNode.GetName()),
            _("Place it in the slice views, or segment the whole volume."),
        )
    indices = _indices(roiNode, size, volumeNode)
    low = np.ceil(indices.min(axis=0) - _TOLERANCE).astype(int)
    high = np.floor(indices.max(axis=0) + _TOLERANCE).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, geometry.size)
    if (low >= high).any():
        raise SkcdfError(
            _("{region}: the region holds no voxel of {volume}.").format(
                region=roiNode.GetName(), volume=volumeNode.GetName()
            ),
            _("Move the region onto the volume, or segment the whole volume."),
        )
    x, y, z = ((int(first), int(last)) for first, last in zip(low, high, strict=True))
    return z, y, x


def _indices(
    roiNode: slicer.vtkMRMLMarkupsROINode, size: np.ndarray, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> np.ndarray:
    """Voxel indices ``(n, 3)`` in ``(x, y, z)`` order of the region's corners, and of more where space is warped."""
    toVolume = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        roiNode.GetParentTransformNode(), volumeNode.GetParentTransformNode(), toVolume
    )
    isLinear = slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(toVolume, None)
    along = np.linspace(-0.5, 0.5, 2 if isLinear else _STEPS_THROUGH_WARP)
    corners = np.array(list(itertools.product(along, repeat=3))) * size
    points = _applied(roiNode.GetObjectToNodeMatrix(), corners)
    rasToIJK = vtk.vtkMatrix4x4()
    volumeNode.GetRASToIJKMatrix(rasToIJK)
    return _applied(rasToIJK, np.array([toVolume.TransformPoint(point) for point in points]))


def _applied(matrix: vtk.vtkMatrix4x4, points: np.ndarray) -> np.ndarray:
    array = slicer.util.arrayFromVTKMatrix(matrix)
    return points @ array[:3, :3].T + array[:3, 3]
