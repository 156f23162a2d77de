"""One button that starts and cancels, and beside it how far the run is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer

from skcdf.errors import SkcdfError

from ..ResultWords import phaseWords, progressShare, queueWords
from ..SegmentationQueue import QueuedOutcome
from ..Texts import _
from ..VolumeSegmenter import SegmentationOutcome, SegmentationSettings
from ..Workspace import Workspace
from .Lines import showLine


class RunControl:
    """*Segment*, which is *Cancel* during a run, the bar, and the line that says what is going on.

    Args:
        ui: the section's widgets.
        workspace: segments.
        onStart: called when the user wants to segment.
        onFinished: gets what became of the scans, in order; of the last one, after a cancel.
    """

    def __init__(
        self,
        ui: Any,
        workspace: Workspace,
        onStart: Callable[[], None],
        onFinished: Callable[[tuple[QueuedOutcome, ...]], None],
    ) -> None:
        self._ui, self._workspace = ui, workspace
        self._onStart, self._onFinished = onStart, onFinished
        self._cancelling = False
        self._names: tuple[str, ...] = ()
        self.running = False
        ui.segmentButton.connect("clicked()", self._onClicked)
        ui.progressBar.setRange(0, 100)
        self._showIdle()

    def start(
        self,
        volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        settings: SegmentationSettings,
        region: slicer.vtkMRMLMarkupsROINode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        several: bool,
    ) -> None:
        """Starts a run, or says in the line why there is none.

        Args:
            volumeNodes: the scans.
            settings, region, segmentationNode: as of `VolumeSegmenter.start`.
            several: scans in a row, the whole of each into a segmentation of its own.
        """
        self._names = tuple(node.GetName() for node in volumeNodes)
        self._showRunning()
        try:
            if several:
                self._workspace.queue.start(
                    volumeNodes, settings, onProgress=self._onQueueProgress, onFinished=self._finish
                )
                return
            volumeNode = volumeNodes[0]
            self._workspace.segmenter.start(
                volumeNode,
                settings,
                region=region,
                segmentationNode=segmentationNode,
                onProgress=self._onProgress,
                onFinished=lambda outcome: self._finish(
                    (QueuedOutcome(volumeNode.GetName(), volumeNode, outcome),)
                ),
            )
        except SkcdfError as error:
            self._showIdle()
            self._onFinished((QueuedOutcome(self._names[0], None, SegmentationOutcome(error=error)),))

    def cancel(self) -> None:
        """Ends the run; within two seconds it has ended."""
        if not self.running:
            return
        self._cancelling = True
        self._ui.segmentButton.text = _("Cancelling…")
        self._ui.segmentButton.enabled = False
        self._say(_("Cancelling; the scene stays as it is."))
        self._workspace.queue.cancel()
        self._workspace.segmenter.cancel()

    def show(self, ready: bool, warned: bool, words: str) -> None:
        """Says whether a run can be started; during one, nothing changes.

        Args:
            ready: it can.
            warned: something speaks against it.
            words: what is missing, or how the last run ended.
        """
        if self.running:
            return
        self._ui.segmentButton.text = _("Segment anyway") if ready and warned else _("Segment")
        self._ui.segmentButton.enabled = ready
        self._ui.segmentButton.toolTip = _("Find the organs in the scan.") if ready else words
        self._say(words)

    def _onClicked(self) -> None:
        if self.running:
            self.cancel()
        else:
            self._onStart()

    def _showRunning(self) -> None:
        self.running, self._cancelling = True, False
        self._ui.segmentButton.text = _("Cancel")
        self._ui.segmentButton.toolTip = _("End the segmentation; the scene stays as it is.")
        self._ui.segmentButton.enabled = True
        self._ui.progressBar.setValue(0)
        self._ui.progressBar.setVisible(True)
        self._say(phaseWords({"phase": "start"}))

    def _showIdle(self) -> None:
        self.running = False
        self._ui.progressBar.setVisible(False)

    def _onProgress(self, event: dict[str, Any]) -> None:
        if self._cancelling:
            return
        share = progressShare(event)
        if share is not None:
            self._ui.progressBar.setValue(share)
        self._say(phaseWords(event))

    def _onQueueProgress(self, number: int, total: int, event: dict[str, Any]) -> None:
        if self._cancelling:
            return
        share = progressShare(event)
        if share is not None:
            self._ui.progressBar.setValue(round((100 * number + share) / total))
        self._say(f"{queueWords(number, total, self._names[number])}. {phaseWords(event)}")

    def _finish(self, outcomes: tuple[QueuedOutcome, ...]) -> None:
        self._showIdle()
        self._onFinished(outcomes)

    def _say(self, words: str) -> None:
        showLine(self._ui.statusLabel, words)
