"""Tells when a case has changed: another segment, a new name or status, other voxels of organs or scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

QUIET_MS = 300


class CaseWatch:
    """Watches one scan and its segmentation at a time, and tells once after a burst of changes.

    Args:
        parent: a widget; with its end the watching ends.
        onChanged: is called.
    """

    def __init__(self, parent: Any, onChanged: Callable[[], None]) -> None:
        self._tags: list[tuple[Any, int]] = []
        self._timer = qt.QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(QUIET_MS)
        self._timer.connect("timeout()", onChanged)

    def look(self, volumeNode: Any, segmentationNode: Any) -> None:
        """Watches these from now on; ``None``: nothing."""
        for node, tag in self._tags:
            node.RemoveObserver(tag)
        self._timer.stop()
        self._tags = []
        segmentation = slicer.vtkSegmentation
        if segmentationNode is not None:
            for event in (
                segmentation.SegmentAdded,
                segmentation.SegmentRemoved,
                segmentation.SegmentModified,
                segmentation.SourceRepresentationModified,
            ):
                self._watch(segmentationNode, event)
        if volumeNode is not None:
            self._watch(volumeNode, volumeNode.ImageDataModifiedEvent)

    def _watch(self, node: Any, event: int) -> None:
        self._tags.append((node, node.AddObserver(event, self._onEvent)))

    def _onEvent(self, caller: Any, event: str) -> None:
        self._timer.start()
