"""Scans of the pool come into the scene beside what is there."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import scans

from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.image_hash import voxel_hash
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool

SCAN = Image(
    np.random.default_rng(1).normal(0, 200, scans.SHAPE).astype(np.int16),
    Geometry(scans.SHAPE[::-1], (0.8, 0.9, 2.5), (10.0, -20.0, 30.0)),
)


@pytest.fixture
def pool(tmp_path):
    pool = LabelledPool.create(tmp_path / "pool", LabelSet.load("phantom13"), "CT")
    pool.add_case("case_001", SCAN, None, subject="a")
    return pool


def test_the_volume_is_the_pool_s_scan_to_the_voxel(slicer, pool):
    from SKCDFSegmenterLib.PoolScans import loadPoolScan
    from SKCDFSegmenterLib.VolumeImage import imageOfVolume

    volume = loadPoolScan(pool, "case_001")
    assert volume.GetName() == "case_001 (to review)"
    assert voxel_hash(imageOfVolume(volume)) == pool.record("case_001").image_hash
    assert volume.GetDisplayNode() is not None


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_phantom_is_still_known_for_one(slicer, tmp_path, synthetic):
    from SKCDFSegmenterLib.InputChoice import isSynthetic
    from SKCDFSegmenterLib.PoolScans import loadPoolScan

    pool = LabelledPool.create(tmp_path / "pool", LabelSet.load("phantom13"), "CT", synthetic=synthetic)
    pool.add_case("case_001", SCAN, None, subject="a")
    assert isSynthetic(loadPoolScan(pool, "case_001")) == synthetic


def test_nothing_in_the_scene_is_removed_and_a_loaded_scan_is_found(slicer, pool, makeVolume):
    from SKCDFSegmenterLib.PoolScans import loadPoolScan, poolScanInScene

    other = makeVolume(scans.SHAPE, np.eye(4))
    assert poolScanInScene(pool, "case_001") is None
    first = loadPoolScan(pool, "case_001")
    assert poolScanInScene(pool, "case_001") is first
    assert slicer.mrmlScene.IsNodePresent(other)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2


def scanInScene(slicer, turned=False):
    """The scan as the user has it; `turned`: its rows stored the other way round, as another program would."""
    array, affine = SCAN.array, SCAN.geometry.affine.copy()
    if turned:
        array = array[:, ::-1]
        affine[:3, 3] += affine[:3, 1] * (SCAN.array.shape[1] - 1)
        affine[:3, 1] *= -1
    toRAS = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(array), ijkToRAS=toRAS, name="my scan")


@pytest.mark.parametrize("turned", [False, True])
def test_the_scan_that_the_user_has_loaded_is_found_by_its_voxels(slicer, pool, makeVolume, turned):
    from SKCDFSegmenterLib.PoolScans import poolScanInScene

    makeVolume(scans.SHAPE, np.eye(4))  # as large, with other voxels
    mine = scanInScene(slicer, turned)
    assert poolScanInScene(pool, "case_001") is mine
    slicer.util.arrayFromVolume(mine)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(mine)
    assert poolScanInScene(pool, "case_001") is None


def test_a_volume_with_slanted_axes_is_passed_over(slicer, pool):
    from SKCDFSegmenterLib.PoolScans import poolScanInScene

    slanted = scanInScene(slicer)
    matrix = np.eye(4)
    matrix[0, 1] = 0.5
    slanted.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    assert poolScanInScene(pool, "case_001") is None


def test_a_volume_that_was_changed_since_is_left_alone(slicer, pool):
    from SKCDFSegmenterLib.PoolScans import loadPoolScan, poolScanInScene

    first = loadPoolScan(pool, "case_001")
    slicer.util.arrayFromVolume(first)[:] = 0
    slicer.util.arrayFromVolumeModified(first)
    assert poolScanInScene(pool, "case_001") is None
    second = loadPoolScan(pool, "case_001")
    assert second is not first and second.GetName() != first.GetName()
    assert slicer.util.arrayFromVolume(second).any()


def test_a_scan_that_is_gone_is_told_and_leaves_no_node(slicer, pool):
    from SKCDFSegmenterLib.PoolScans import loadPoolScan, poolScanInScene

    (pool.root / pool.record("case_001").image_file).unlink()
    before = slicer.mrmlScene.GetNumberOfNodes()
    assert poolScanInScene(pool, "case_001") is None
    with pytest.raises(SkcdfError, match="cannot be read"):
        loadPoolScan(pool, "case_001")
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_only_cases_without_labels_wait_for_review(pool):
    from SKCDFSegmenterLib.PoolScans import unlabelledCases

    other = Image(SCAN.array + 1, SCAN.geometry)
    pool.add_case("case_002", other, Image((SCAN.array > 300).astype(np.uint8), SCAN.geometry), subject="b")
    assert unlabelledCases(pool) == ("case_001",)
    pool.withdraw("case_001")
    assert unlabelledCases(pool) == ()
