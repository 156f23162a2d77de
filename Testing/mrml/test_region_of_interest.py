"""A region of interest as a box of voxels, wherever and however volume and region lie."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scans

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.RegionOfInterest import regionBox

OBLIQUE = scans.ijkToRASMatrix(angles=(11, -23, 7))
TABLE = scans.rigid((20, 10, -35), (12, -40, 65))
LENS = scans.rigid((-5, 40, 15), (3, 8, -20))


@pytest.fixture
def makeRegion(slicer):
    """Makes a region: its centre and size in mm in its own directions, these, and its parent transform."""

    def make(centre, size, directions=None, transform=None):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Liver")
        node.SetSize(size)
        matrix = np.eye(4)
        matrix[:3, :3] = np.eye(3) if directions is None else directions
        matrix[:3, 3] = centre
        node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
        if transform is not None:
            parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
            parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(transform))
            node.SetAndObserveTransformNodeID(parent.GetID())
        return node

    return make


def voxelsInside(shape, voxelToObject, size):
    """Which voxels have their centre in the region, by nothing but matrices: ``(z, y, x)``, voxel by voxel."""
    found = np.zeros(shape, bool)
    for z, y, x in itertools.product(*map(range, shape)):
        position = (voxelToObject @ [x, y, z, 1])[:3]
        found[z, y, x] = (np.abs(position) <= np.array(size) / 2 + 1e-6).all()
    return found


def test_a_region_along_the_grid_is_exactly_its_voxels(makeVolume, makeRegion):
    volume = makeVolume(scans.SHAPE, OBLIQUE)
    directions = OBLIQUE[:3, :3] / np.linalg.norm(OBLIQUE[:3, :3], axis=0)
    spacing = np.linalg.norm(OBLIQUE[:3, :3], axis=0)
    first, last = (
        np.array([4, 3, 2]),
        np.array([12, 8, 6]),
    )  # (x, y, z), from the first voxel's centre to the last's
    centre = (OBLIQUE @ [*(first + last) / 2, 1])[:3]
    region = makeRegion(centre, (last - first) * spacing, directions)
    assert regionBox(region, volume) == ((2, 7), (3, 9), (4, 13))


def test_a_region_around_the_whole_volume_is_all_of_it(makeVolume, makeRegion):
    volume = makeVolume(scans.SHAPE, OBLIQUE, TABLE)
    region = makeRegion((0, 0, 0), (2000, 2000, 2000))
    assert regionBox(region, volume) == ((0, 9), (0, 14), (0, 19))


@pytest.mark.parametrize("volumeTransform", [None, TABLE], ids=["volume plain", "volume moved"])
@pytest.mark.parametrize("regionTransform", [None, LENS], ids=["region plain", "region moved"])
@pytest.mark.parametrize("turned", [False, True], ids=["straight", "turned"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)], ids=["axial", "sagittal"])
def test_the_box_holds_the_region_and_is_no_larger_than_its_corners(
    makeVolume, makeRegion, volumeTransform, regionTransform, turned, axes
):
    ijkToRAS = scans.ijkToRASMatrix(axes=axes, signs=(-1, 1, -1), angles=(11, -23, 7))
    volume = makeVolume(scans.SHAPE, ijkToRAS, volumeTransform)
    ijkToWorld = (np.eye(4) if volumeTransform is None else volumeTransform) @ ijkToRAS
    regionToWorld = np.eye(4) if regionTransform is None else regionTransform
    directions = scans.rigid((30, -15, 50), (0, 0, 0))[:3, :3] if turned else np.eye(3)
    size = (6.0, 7.0, 11.0)
    centreInWorld = ijkToWorld @ [9.3, 6.6, 4.1, 1]
    centre = (np.linalg.inv(regionToWorld) @ centreInWorld)[:3]
    region = makeRegion(centre, size, directions, regionTransform)
    objectToNode = np.eye(4)
    objectToNode[:3, :3], objectToNode[:3, 3] = directions, centre
    voxelToObject = np.linalg.inv(regionToWorld @ objectToNode) @ ijkToWorld

    box = regionBox(region, volume)
    found = voxelsInside(scans.SHAPE, voxelToObject, size)
    assert found.sum() > 20
    outside = found.copy()
    outside[tuple(slice(*side) for side in box)] = False
    assert not outside.any()
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * size
    ijk = (np.linalg.inv(voxelToObject) @ np.c_[corners, np.ones(8)].T)[:3]
    lows, highs = ijk.min(axis=1)[::-1], ijk.max(axis=1)[::-1]
    for (first, last), low, high, voxels in zip(box, lows, highs, scans.SHAPE, strict=True):
        assert low <= first and last - 1 <= high
        assert first == 0 or first - 1 < low
        assert last == voxels or last > high


def test_a_region_in_warped_space_is_found_where_it_is(slicer, makeVolume, makeRegion):
    import vtk

    volume = makeVolume((20, 20, 20), scans.ijkToRASMatrix(spacing=(1, 1, 1)))
    middle = np.array([-41.0, 7.5, 250.25])
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in itertools.product((-40, 0, 40), repeat=3):
        # Far away everything stays; the middle of space is pushed 5 mm towards the feet.
        point = middle + np.array(corner, float)
        source.InsertNextPoint(point)
        target.InsertNextPoint(point - [0, 0, 5 if corner == (0, 0, 0) else 0])
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(spline)
    region = makeRegion(middle, (4, 4, 4))
    region.SetAndObserveTransformNodeID(node.GetID())
    (z0, z1), (y0, y1), (x0, x1) = regionBox(region, volume)
    assert (y0, y1, x0, x1) == (8, 13, 8, 13)
    assert (z0 + z1 - 1) / 2 == pytest.approx(5, abs=1)


class TestRefusals:
    def test_one_that_was_not_drawn_yet(self, slicer, makeVolume):
        region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Liver")
        with pytest.raises(SkcdfError, match="Liver: the region has not been drawn"):
            regionBox(region, makeVolume(scans.SHAPE, OBLIQUE))

    def test_one_beside_the_volume(self, makeVolume, makeRegion):
        with pytest.raises(SkcdfError, match="Liver: the region holds no voxel of CT"):
            regionBox(makeRegion((5000, 0, 0), (10, 10, 10)), makeVolume(scans.SHAPE, OBLIQUE))

    def test_one_between_two_voxels(self, makeVolume, makeRegion):
        volume = makeVolume(scans.SHAPE, scans.ijkToRASMatrix())
        centre = (scans.ijkToRASMatrix() @ [4.5, 4.5, 4.5, 1])[:3]
        with pytest.raises(SkcdfError, match="holds no voxel"):
            regionBox(makeRegion(centre, (0.1, 0.1, 0.1)), volume)

    def test_a_volume_without_voxels(self, slicer, makeRegion):
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        with pytest.raises(SkcdfError, match="no voxels"):
            regionBox(makeRegion((0, 0, 0), (10, 10, 10)), volume)
