"""Grids, label maps and ground truth for the tests on MRML nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from skcdf.geometry import Geometry
from skcdf.image import Image

SHAPE = (9, 14, 19)  # (z, y, x), all different, so that a swapped axis cannot hide


def ijkToRASMatrix(
    axes: tuple[int, int, int] = (0, 1, 2),
    signs: tuple[int, int, int] = (-1, -1, 1),
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0),
    spacing: tuple[float, float, float] = (0.7, 1.1, 2.9),
) -> np.ndarray:
    """Index axis ``i`` runs along RAS axis ``axes[i]`` with ``signs[i]``, turned by Euler ``angles`` in °."""
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for index, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        matrix[axis, index] = sign
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ matrix[:3, :3]
    matrix[:3, :3] = turned * spacing
    matrix[:3, 3] = (-31.0, 17.5, 240.25)
    return matrix


def rigid(angles: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """Rotation by Euler ``angles`` in °, then a shift in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def labels(geometry: Geometry) -> Image:
    """Three separate blocks with the values 1, 2 and 5, none of them symmetric in the grid."""
    array = np.zeros(geometry.shape, np.uint8)
    array[1:4, 2:5, 3:9] = 1
    array[5:8, 1:7, 11:14] = 2
    array[2:6, 9:13, 6:17] = 5
    return Image(array, geometry)


def centres(image: Image, rasOfIjk: np.ndarray) -> dict[int, np.ndarray]:
    """The true centre of every value in mm, by nothing but the matrix from ``(i, j, k)`` to world RAS."""
    result = {}
    for value in np.unique(image.array[image.array > 0]):
        ijk = np.argwhere(image.array == value).mean(axis=0)[::-1]
        result[int(value)] = (rasOfIjk @ [*ijk, 1.0])[:3]
    return result


def segmentCentre(slicer: Any, segmentation: Any, segmentID: str) -> np.ndarray:
    """The centre of a segment in world RAS, from Slicer's own representation of it."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    image = slicer.vtkOrientedImageData()
    slicer.modules.segmentations.logic().GetSegmentBinaryLabelmapRepresentation(
        segmentation, segmentID, image, True
    )
    value = segmentation.GetSegmentation().GetSegment(segmentID).GetLabelValue()  # segments share the image
    start = np.array(image.GetExtent())[::2]
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    ijk = np.argwhere(array == value).mean(axis=0)[::-1] + start
    return (slicer.util.arrayFromVTKMatrix(matrix) @ [*ijk, 1.0])[:3]
