"""A scan of the pool as a volume in the scene, beside whatever is there."""

from __future__ import annotations

import contextlib
from pathlib import Path

import slicer

from skcdf.errors import SkcdfError
from skcdf.image import read_geometry
from skcdf.image_hash import voxel_hash
from skcdf.pool import LabelledPool

from .InputChoice import SYNTHETIC, segmentableVolumes
from .Texts import _
from .VolumeImage import imageOfVolume

POOL_SCAN = "SKCDF.PoolScan"
"""Attribute of a volume node: the pool's file that it was loaded from."""


def unlabelledCases(pool: LabelledPool) -> tuple[str, ...]:
    """Names of the cases that are still without labels.

    Raises:
        SkcdfError: the pool is gone or damaged.
    """
    return tuple(record.name for record in pool.records() if record.state == "unlabelled")


def poolScanInScene(pool: LabelledPool, case: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The volume of a case that is in the scene already, wherever it came from; ``None``: there is none.

    Raises:
        SkcdfError: there is no such case.
    """
    record = pool.record(case)
    path = pool.root / record.image_file
    return _loaded(path) or _same(path, record.image_hash)


def loadPoolScan(pool: LabelledPool, case: str) -> slicer.vtkMRMLScalarVolumeNode:
    """A new volume with the scan of a case. The pool keeps no name of it but the case's, since names may tell whose.

    Nothing in the scene is removed or changed.

    Raises:
        SkcdfError: there is no such case, or its scan cannot be read.
    """
    node = _load(pool.root / pool.record(case).image_file, _("{case} (to review)").format(case=case))
    if pool.description.synthetic:
        node.SetAttribute(SYNTHETIC, "true")
    return node


def showVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Shows a volume in all slice views, fitted to them; does nothing where there is no window."""
    # None of the application's classes has a layoutManager without a main window.
    layoutManager = getattr(slicer.app, "layoutManager", lambda: None)()
    if layoutManager is not None:
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)


def _loaded(path: Path) -> slicer.vtkMRMLScalarVolumeNode | None:
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        # Its voxels may have been replaced: a node that is not as it was loaded is another scan.
        if node.GetAttribute(POOL_SCAN) == str(path) and not node.GetModifiedSinceRead():
            return node
    return None


def _same(path: Path, imageHash: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    """A volume with the very voxels, by which the pool knows scans; those of another size are not looked at."""
    with contextlib.suppress(SkcdfError):  # the file is gone: whoever loads it says so
        size = sorted(read_geometry(path).size)
        for node in segmentableVolumes():
            if sorted(node.GetImageData().GetDimensions()) == size and _hash(node) == imageHash:
                return node
    return None


def _hash(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Empty for a volume that the pool could not have, with slanted axes for example."""
    try:
        return voxel_hash(imageOfVolume(volumeNode))
    except SkcdfError:
        return ""


def _load(path: Path, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    scene = slicer.mrmlScene
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    if not path.is_file() or not storage.ReadData(node):
        scene.RemoveNode(storage)
        scene.RemoveNode(node)
        raise SkcdfError(
            _("{path}: the scan cannot be read.").format(path=path),
            _("Check that the drive is there. If it is, the file is damaged: restore it from a copy."),
        )
    node.SetAndObserveStorageNodeID(storage.GetID())
    node.CreateDefaultDisplayNodes()
    node.SetAttribute(POOL_SCAN, str(path))
    return node
