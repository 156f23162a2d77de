"""The organs of a segmentation and what has become of them, with the buttons that complete and reopen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from ..ResultWords import stateWords
from ..SegmentRecord import setCompleted
from ..SegmentStates import OrganState, SegmentStates
from ..Texts import _


class StatesTable:
    """The list *Organs and their states*.

    Args:
        ui: the section's widgets.
        onChange: called after organs were completed or reopened.
    """

    def __init__(self, ui: Any, onChange: Callable[[], None]) -> None:
        self._ui, self._onChange = ui, onChange
        self._segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        self._states: SegmentStates | None = None
        self._organs: tuple[OrganState, ...] = ()
        table = ui.statesTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Organ"), _("State"), _("Unsure")])
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.connect("itemSelectionChanged()", self._showButtons)
        ui.completeButton.connect("clicked()", self._complete)
        ui.reopenButton.connect("clicked()", self._reopen)
        self._fill()

    @property
    def organs(self) -> tuple[OrganState, ...]:
        """What is in the list."""
        return self._organs

    def setSegmentation(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Takes another segmentation, or none."""
        if segmentationNode is not self._segmentationNode:
            self._segmentationNode = segmentationNode
            self._states = None if segmentationNode is None else SegmentStates(segmentationNode)
        self._fill()

    def look(self) -> None:
        """Looks at the voxels again."""
        if self._states is not None:
            self._states.look()
        self._fill()

    def touched(self, segmentID: str) -> None:
        """Somebody works on a segment."""
        if self._states is not None:
            self._states.touched(segmentID)
        self._fill()

    def _fill(self) -> None:
        organs = () if self._states is None else self._states.organs()
        if organs != self._organs:
            same = [each.segmentID for each in organs] == [each.segmentID for each in self._organs]
            self._organs = organs
            if not same:
                self._ui.statesTable.clearSelection()
                self._ui.statesTable.setRowCount(len(organs))
            for row, each in enumerate(organs):
                unsure = "" if each.unsure is None else _("{n} %").format(n=f"{100 * each.unsure:.0f}")
                for column, text in enumerate((each.name, stateWords(each.state), unsure)):
                    item = qt.QTableWidgetItem(text)
                    item.setToolTip(each.origin)
                    self._ui.statesTable.setItem(row, column, item)
            self._ui.statesTable.resizeRowsToContents()
        self._showButtons()

    def _chosen(self) -> list[OrganState]:
        table = self._ui.statesTable
        return [each for row, each in enumerate(self._organs) if table.item(row, 0).isSelected()]

    def _showButtons(self) -> None:
        chosen = self._chosen()
        self._ui.completeButton.enabled = any(each.state != "completed" for each in chosen)
        self._ui.reopenButton.enabled = any(each.state == "completed" for each in chosen)

    def _complete(self) -> None:
        self._setCompleted(True)

    def _reopen(self) -> None:
        self._setCompleted(False)

    def _setCompleted(self, completed: bool) -> None:
        segmentation = self._segmentationNode.GetSegmentation()
        for each in self._chosen():
            segment = segmentation.GetSegment(each.segmentID)
            if segment is not None and (each.state == "completed") != completed:
                setCompleted(segment, completed)
        self._fill()
        self._onChange()
