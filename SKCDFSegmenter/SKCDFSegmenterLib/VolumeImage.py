"""A scalar volume node as the engine's image, and on disk for the child process.

The parent transform of a volume is left alone: the image lies where the volume would lie without it, and
results are put under the same transform.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk

from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.nrrd import write_nrrd

from .Texts import _

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def ijkToRASOfVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """4×4 matrix from index ``(x, y, z, 1)`` to RAS in mm, the parent transform left out."""
    ijkToRAS = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRAS)
    return slicer.util.arrayFromVTKMatrix(ijkToRAS)


def latticeOfVolumeIn(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> np.ndarray | None:
    """The volume's 4×4 matrix from index to mm in a segmentation's own frame, whatever transforms both are under.

    ``None`` where a transform between them is not linear, or shears: then no grid of the one is a grid of the other.
    """
    toSegmentation = vtk.vtkMatrix4x4()
    isLinear = slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(
        volumeNode.GetParentTransformNode(), segmentationNode.GetParentTransformNode(), toSegmentation
    )
    lattice = slicer.util.arrayFromVTKMatrix(toSegmentation) @ ijkToRASOfVolume(volumeNode)
    axes = lattice[:3, :3] / np.linalg.norm(lattice[:3, :3], axis=0)
    return lattice if isLinear and np.abs(axes.T @ axes - np.eye(3)).max() < 1e-3 else None


def geometryOfVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Geometry:
    """The voxel grid of a volume in LPS, its parent transform left out.

    Raises:
        SkcdfError: the volume has no voxels, or its axes are not perpendicular.
    """
    imageData = volumeNode.GetImageData()
    if imageData is None or 0 in imageData.GetDimensions() or imageData.GetPointData().GetScalars() is None:
        raise SkcdfError(
            _("{volume}: the volume has no voxels.").format(volume=volumeNode.GetName()),
            _("Load the scan again."),
        )
    ijkToLPS = RAS_TO_LPS @ ijkToRASOfVolume(volumeNode)
    spacing = np.linalg.norm(ijkToLPS[:3, :3], axis=0)
    direction = ijkToLPS[:3, :3] / np.where(spacing > 0, spacing, 1)
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-3:
        raise SkcdfError(
            _("{volume}: the axes of the volume are not perpendicular to each other.").format(
                volume=volumeNode.GetName()
            ),
            _("Resample it first, for example with the Crop Volume module."),
        )
    return Geometry(
        imageData.GetDimensions(),
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        (float(ijkToLPS[0, 3]), float(ijkToLPS[1, 3]), float(ijkToLPS[2, 3])),
        tuple(float(value) for value in direction.ravel()),
    )


def imageOfVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Image:
    """A copy of the volume's voxels ``(z, y, x)`` with their grid.

    Raises:
        SkcdfError: the volume has no voxels, several values per voxel, or axes that are not perpendicular.
    """
    geometry = geometryOfVolume(volumeNode)
    _requireScalar(volumeNode)
    array = slicer.util.arrayFromVolume(volumeNode)
    isWide = array.dtype.itemsize > 4
    return Image(array.astype(np.float32) if isWide else array.copy(), geometry, volumeNode.GetName())


def writeVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode, path: Path) -> None:
    """Writes the volume for the child process; the node's own file and its "modified" state stay as they are.

    Slicer's own writer takes as long; but when a disk is full it prints ITK's exceptions, and leaves a folder there.

    Args:
        volumeNode: the volume.
        path: a ``.nrrd`` file, written without compression.

    Raises:
        SkcdfError: as `imageOfVolume`, or the file cannot be written.
    """
    geometry = geometryOfVolume(volumeNode)
    _requireScalar(volumeNode)
    try:
        write_nrrd(path, slicer.util.arrayFromVolume(volumeNode), geometry, note="", level=0)
    except OSError as error:
        raise SkcdfError(
            _("{path}: the scan cannot be written ({reason}).").format(
                path=path, reason=error.strerror or error
            ),
            _("Check the free disk space and that the folder is writable."),
        ) from error


def _requireScalar(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    components = volumeNode.GetImageData().GetNumberOfScalarComponents()
    if components != 1:
        raise SkcdfError(
            _("{volume}: the volume has {n} values per voxel.").format(
                volume=volumeNode.GetName(), n=components
            ),
            _("Choose a scan with one value per voxel; colour images and vector fields cannot be segmented."),
        )
