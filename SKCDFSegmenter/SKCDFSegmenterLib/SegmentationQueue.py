"""Segments several volumes, one after the other; one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import slicer

from skcdf.errors import SkcdfError

from .Signal import callSafely
from .Texts import _
from .VolumeSegmenter import SegmentationOutcome, SegmentationSettings, VolumeSegmenter


@dataclass(frozen=True)
class QueuedOutcome:
    """What became of one volume.

    Attributes:
        volumeName: its name, also when it is gone.
        volumeNode: the volume.
        outcome: how its run ended.
    """

    volumeName: str
    volumeNode: slicer.vtkMRMLScalarVolumeNode
    outcome: SegmentationOutcome


class SegmentationQueue:
    """Volumes on their way through a `VolumeSegmenter`.

    Args:
        segmenter: who segments; nobody else may start it while the queue runs.
    """

    def __init__(self, segmenter: VolumeSegmenter) -> None:
        self._segmenter = segmenter
        self._waiting: list[tuple[str, slicer.vtkMRMLScalarVolumeNode]] = []
        self._outcomes: list[QueuedOutcome] = []
        self._current: tuple[str, slicer.vtkMRMLScalarVolumeNode] | None = None
        self._running = False

    @property
    def running(self) -> bool:
        """Whether volumes are left."""
        return self._running

    def start(
        self,
        volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        settings: SegmentationSettings,
        *,
        onProgress: Callable[[int, int, dict[str, Any]], None] | None = None,
        onVolume: Callable[[QueuedOutcome], None] | None = None,
        onFinished: Callable[[tuple[QueuedOutcome, ...]], None] | None = None,
    ) -> None:
        """Starts and returns at once; each volume gets a new segmentation node.

        Args:
            volumeNodes: the scans.
            settings: how.
            onProgress: gets the number of the volume, from 0, how many there are, and its ``progress`` event.
            onVolume: gets each outcome as it comes.
            onFinished: gets all of them, in order, once. After a cancel those that had not begun are missing.

        Raises:
            SkcdfError: a segmentation is running already.
        """
        if self._running or self._segmenter.running:
            raise SkcdfError(
                _("A segmentation is running already."), _("Wait for it to finish, or cancel it.")
            )
        self._waiting = [(node.GetName(), node) for node in volumeNodes]
        self._settings, self._total = settings, len(self._waiting)
        self._onProgress, self._onVolume, self._onFinished = onProgress, onVolume, onFinished
        self._outcomes, self._running = [], True
        self._next()

    def cancel(self) -> None:
        """Ends the run and starts no other; what is finished stays in the scene."""
        if not self._running:
            return
        self._waiting.clear()
        self._segmenter.cancel()

    def _next(self) -> None:
        """Starts the next volume that can be started, else finishes."""
        while self._waiting:
            self._current = self._waiting.pop(0)
            try:
                self._begin(self._current[1])
                return
            except SkcdfError as error:
                self._keep(SegmentationOutcome(error=error))
        self._running = False
        if self._onFinished is not None:
            callSafely(self._onFinished, tuple(self._outcomes))

    def _begin(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        if not slicer.mrmlScene.IsNodePresent(volumeNode):
            raise SkcdfError(_("The volume was closed before its turn."), _("Load it and segment it again."))
        number = self._total - len(self._waiting) - 1
        self._segmenter.start(
            volumeNode,
            self._settings,
            onProgress=lambda event: self._tellProgress(number, event),
            onFinished=self._finish,
        )

    def _tellProgress(self, number: int, event: dict[str, Any]) -> None:
        if self._onProgress is not None:
            self._onProgress(number, self._total, event)

    def _finish(self, outcome: SegmentationOutcome) -> None:
        self._keep(outcome)
        if outcome.cancelled:  # by whomever: a closed scene, a worker that is shut down
            self._waiting.clear()
        self._next()

    def _keep(self, outcome: SegmentationOutcome) -> None:
        assert self._current is not None
        queued = QueuedOutcome(*self._current, outcome)
        self._outcomes.append(queued)
        if self._onVolume is not None:
            callSafely(self._onVolume, queued)
