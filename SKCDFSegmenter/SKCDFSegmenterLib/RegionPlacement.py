"""A new region of interest is put where the user sees it: in the middle of the scan."""

from __future__ import annotations

import math

import slicer

from .RegionOfInterest import regionBox

SHARE = 0.5
"""Of the scan's extent, along each axis."""


def placeInMiddle(roiNode: slicer.vtkMRMLMarkupsROINode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Gives a region the middle of a volume, wherever its parent transform has put that."""
    bounds = [0.0] * 6
    volumeNode.GetRASBounds(bounds)
    low, high = bounds[::2], bounds[1::2]
    roiNode.SetCenter([(a + b) / 2 for a, b in zip(low, high, strict=True)])
    roiNode.SetSize([SHARE * (b - a) for a, b in zip(low, high, strict=True)])
    roiNode.CreateDefaultDisplayNodes()


def regionShare(roiNode: slicer.vtkMRMLMarkupsROINode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> float:
    """How much of a volume's voxels a region takes in, 0 to 1.

    Raises:
        SkcdfError: as `regionBox`.
    """
    box = regionBox(roiNode, volumeNode)
    return math.prod(end - first for first, end in box) / math.prod(volumeNode.GetImageData().GetDimensions())
