"""A scan of the pool as a volume in the scene, beside whatever is there."""

from __future__ import annotations

from pathlib import Path

import slicer

from skcdf.errors import SkcdfError
from skcdf.pool import LabelledPool

from .Texts import _

POOL_SCAN = "SKCDF.PoolScan"
"""Attribute of a volume node: the pool's file that it was loaded from."""


def unlabelledCases(pool: LabelledPool) -> tuple[str, ...]:
    """Names of the cases that are still without labels.

    Raises:
        SkcdfError: the pool is gone or damaged.
    """
    return tuple(record.name for record in pool.records() if record.state == "unlabelled")


def loadPoolScan(pool: LabelledPool, case: str) -> slicer.vtkMRMLScalarVolumeNode:
    """The volume of a case: the one that was loaded before and is still there, else a new one.

    Nothing in the scene is removed or changed.

    Raises:
        SkcdfError: there is no such case, or its scan cannot be read.
    """
    path = pool.root / pool.record(case).image_file
    return _loaded(path) or _load(path, case)


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


def _load(path: Path, case: str) -> slicer.vtkMRMLScalarVolumeNode:
    scene = slicer.mrmlScene
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(case))
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
