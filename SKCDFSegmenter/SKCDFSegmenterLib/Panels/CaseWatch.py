"""Tells when a case has changed: another segment, a new name or status, other voxels of organs or scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk

QUIET_MS = 300


class CaseWatch:
    """Watches one scan and its segmentation at a time, and tells once after a burst of changes.

    Args:
        parent: a widget; with its end the watching ends.
        onChanged: is called.
    """

    def __init__(self, parent: Any, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self._tags: list[tuple[Any, int]] = []
        self._volume: Any = None
        self._scan: Any = None
        self._timer = qt.QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(QUIET_MS)
        self._timer.connect("timeout()", onChanged)

    def look(self, volumeNode: Any, segmentationNode: Any) -> None:
        """Watches these from now on; ``None``: nothing."""
        for node, tag in self._tags:
            node.RemoveObserver(tag)
        self._timer.stop()
        self._tags, self._volume = [], volumeNode
        segmentation = slicer.vtkSegmentation
        if segmentationNode is not None:
            for event in (
                segmentation.SegmentAdded,
                segmentation.SegmentRemoved,
                segmentation.SegmentModified,
                segmentation.SourceRepresentationModified,
            ):
                self._watch(segmentationNode, event, self._onSegmentation)
        if volumeNode is not None:
            self._scan = _scanOf(volumeNode)
            for event in (vtk.vtkCommand.ModifiedEvent, volumeNode.ImageDataModifiedEvent):
                self._watch(volumeNode, event, self._onVolume)

    def settle(self) -> None:
        """Tells now of changes that are still waited upon: what comes next is about the case as it is."""
        if self._timer.isActive():
            self._timer.stop()
            self._onChanged()

    def _watch(self, node: Any, event: int, slot: Callable[..., None]) -> None:
        self._tags.append((node, node.AddObserver(event, slot)))

    def _onSegmentation(self, caller: Any, event: str) -> None:
        self._timer.start()

    def _onVolume(self, caller: Any, event: str) -> None:
        """A node is also modified where only its name, window or selection is another one."""
        scan = _scanOf(self._volume)
        if scan != self._scan:
            self._scan = scan
            self._timer.start()


def _scanOf(volumeNode: Any) -> tuple[Any, ...]:
    """What changes with voxels and grid, and with nothing else."""
    image, matrix = volumeNode.GetImageData(), vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    elements = (matrix.GetElement(row, column) for row in range(3) for column in range(4))
    return (image.GetMTime() if image is not None else None, *elements)
