"""What a run has found: sentences, organs in 3D, and the table of their figures."""

from __future__ import annotations

from typing import Any

import slicer

from ..RunSummary import failureLines, summaryLines
from ..SegmentationQueue import QueuedOutcome
from .Dialogs import Dialogs
from .Lines import showLine
from .OrganTableView import OrganTableView


class ResultView:
    """The lower part of the section.

    Args:
        ui: the section's widgets.
        dialogs: asks for the name of a file.
    """

    def __init__(self, ui: Any, dialogs: Dialogs) -> None:
        self._ui = ui
        self._segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        self._table = OrganTableView(ui, dialogs)
        self.clear()

    def clear(self) -> None:
        """Shows nothing."""
        self._segmentationNode = None
        self._ui.show3DButton.setSegmentationNode(None)
        self._say("")
        self._table.setSegmentation(None)
        self._ui.resultBox.setVisible(False)

    def showSegmentation(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Shows another segmentation, which was not segmented just now."""
        if segmentationNode is self._segmentationNode:
            return
        if segmentationNode is None:
            self.clear()
            return
        self._take(segmentationNode, ())
        self._say(f"{segmentationNode.GetName()}. {segmentationNode.GetDescription() or ''}".strip())

    def showOutcomes(self, outcomes: tuple[QueuedOutcome, ...]) -> str:
        """Shows what became of scans.

        Returns:
            What is to be said where there is no result: why.
        """
        done = [each.outcome for each in outcomes if each.outcome.segmentationNode is not None]
        if done:
            self._take(done[-1].segmentationNode, done[-1].organs)
            self._say("\n".join(summaryLines(outcomes)))
        return "\n".join(failureLines(outcomes))

    def measure(self) -> None:
        """Fills the table."""
        self._table.measure()

    def _take(
        self, segmentationNode: slicer.vtkMRMLSegmentationNode, rows: tuple[dict[str, Any], ...]
    ) -> None:
        self._segmentationNode = segmentationNode
        self._ui.show3DButton.setSegmentationNode(segmentationNode)
        self._table.setSegmentation(segmentationNode, rows)
        self._ui.resultBox.setVisible(True)

    def _say(self, text: str) -> None:
        showLine(self._ui.summaryLabel, text)
