"""A new region lies in the middle of the scan, wherever that is."""

from __future__ import annotations

import numpy as np
import pytest
import scans


@pytest.mark.parametrize("transform", [None, scans.rigid((0, 0, 90), (100, -50, 7))])
def test_a_new_region_is_the_middle_half_of_the_scan_along_each_axis(slicer, makeVolume, transform):
    from SKCDFSegmenterLib.RegionPlacement import placeInMiddle, regionShare

    volume = makeVolume((40, 60, 80), scans.ijkToRASMatrix(spacing=(1, 1, 2)), transform)
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    placeInMiddle(region, volume)
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    middle = (bounds[::2] + bounds[1::2]) / 2
    assert np.allclose(region.GetCenterWorld(), middle, atol=1)
    assert regionShare(region, volume) == pytest.approx(1 / 8, rel=0.15)
