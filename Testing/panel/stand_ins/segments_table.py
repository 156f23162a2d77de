"""``qMRMLSegmentsTableView`` and the button that shows segments in 3-D."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6.QtCore import Property, QItemSelection, QItemSelectionModel, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from .kept import kept
from .mrml_widget import qMRMLWidget
from .scene_watch import SceneWatch

STATES = ("Not started", "In progress", "Completed", "Flagged")


class qMRMLSegmentsTableView(qMRMLWidget):
    """The segments of a segmentation: shown, colour, name, status."""

    CPP = True
    selectionChanged = Signal(QItemSelection, QItemSelection)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {}
        self._node: Any = None
        self._watch = SceneWatch(self)
        self._hidden: list[str] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._table = QTableWidget(0, 4, self)
        self._table.setHorizontalHeaderLabels(["Shown", "", "Name", "Status"])
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.verticalHeader().setVisible(False)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.connect("itemSelectionChanged()", self._onSelection)
        layout.addWidget(self._table)

    segmentCount = Property(int, lambda self: self._table.rowCount)
    selectionMode = kept(int, "selectionMode", 3)
    headerVisible = kept(bool, "headerVisible", True)
    visibilityColumnVisible = kept(bool, "visibilityColumnVisible", True, "_showColumns")
    colorColumnVisible = kept(bool, "colorColumnVisible", True, "_showColumns")
    opacityColumnVisible = kept(bool, "opacityColumnVisible", True)
    statusColumnVisible = kept(bool, "statusColumnVisible", False, "_showColumns")
    layerColumnVisible = kept(bool, "layerColumnVisible", False)
    readOnly = kept(bool, "readOnly", False)
    filterBarVisible = kept(bool, "filterBarVisible", False)
    textFilter = kept(str, "textFilter", "", "_refresh")
    jumpToSelectedSegmentEnabled = kept(bool, "jumpToSelectedSegmentEnabled", False)

    def _showColumns(self) -> None:
        for column, shown in (
            (0, self.visibilityColumnVisible),
            (1, self.colorColumnVisible),
            (3, self.statusColumnVisible),
        ):
            self._table.setColumnHidden(column, not shown)

    def tableWidget(self) -> QTableWidget:
        """The table inside."""
        return self._table

    def segmentationNode(self) -> Any:
        """The segmentation."""
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        """Sets the segmentation to show."""
        if node is self._node:
            return
        self._node = node
        core = slicer.vtkSegmentation
        events = (core.SegmentAdded, core.SegmentRemoved, core.SegmentModified, core.SegmentsOrderModified)
        self._watch.observe(
            "segments",
            node.GetSegmentation() if node is not None else None,
            events,
            qMRMLSegmentsTableView._refresh,
        )
        self._refresh()

    def _refresh(self) -> None:
        selected = self.selectedSegmentIDs()
        self._table.blockSignals(True)
        self._table.setRowCount(0)
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        for segmentID in segmentation.GetSegmentIDs() if segmentation is not None else ():
            segment = segmentation.GetSegment(segmentID)
            if segmentID not in self._hidden and self.textFilter.lower() in segment.GetName().lower():
                self._addRow(segmentID, segment)
        self.setSelectedSegmentIDs(selected)
        self._table.blockSignals(False)
        self._showColumns()

    def _addRow(self, segmentID: str, segment: Any) -> None:
        row = self._table.rowCount
        self._table.insertRow(row)
        display = self._node.GetDisplayNode()
        isShown = display is None or display.GetSegmentVisibility(segmentID)
        status = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(segment)
        for column, text in enumerate(("Yes" if isShown else "No", "", segment.GetName(), STATES[status])):
            item = QTableWidgetItem(text)
            item.setData(Qt.ItemDataRole.UserRole, segmentID)
            if column == 1:
                item.setBackground(QColor.fromRgbF(*segment.GetColor()))
            self._table.setItem(row, column, item)

    def segmentIDForRow(self, row: int) -> str:
        """The segment in a row."""
        return self._table.item(row, 0).data(Qt.ItemDataRole.UserRole)

    def rowForSegmentID(self, segmentID: str) -> int:
        """The row of a segment; -1 where it is not shown."""
        ids = self.displayedSegmentIDs()
        return ids.index(segmentID) if segmentID in ids else -1

    def displayedSegmentIDs(self) -> list[str]:
        """The segments in the table."""
        return [self.segmentIDForRow(row) for row in range(self._table.rowCount)]

    def selectedSegmentIDs(self) -> list[str]:
        """The chosen segments."""
        rows = sorted({index.row() for index in self._table.selectionModel().selectedRows()})
        return [self.segmentIDForRow(row) for row in rows]

    def setSelectedSegmentIDs(self, segmentIDs: list[str]) -> None:
        """Chooses segments."""
        self._table.clearSelection()
        for segmentID in segmentIDs:
            row = self.rowForSegmentID(segmentID)
            if row >= 0:
                flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
                self._table.selectionModel().select(self._table.model().index(row, 0), flags)

    def clearSelection(self) -> None:
        """Chooses none."""
        self._table.clearSelection()

    def setHideSegments(self, segmentIDs: list[str]) -> None:
        """Leaves segments out."""
        self._hidden = list(segmentIDs)
        self._refresh()

    def hideSegments(self) -> list[str]:
        """The segments that are left out."""
        return list(self._hidden)

    def setSelectedSegmentsStatus(self, status: int = -1) -> None:
        """Sets the status of the chosen segments, as the table's menu does."""
        for segmentID in self.selectedSegmentIDs():
            segment = self._node.GetSegmentation().GetSegment(segmentID)
            slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(segment, status)

    def _onSelection(self) -> None:
        self.selectionChanged.emit(QItemSelection(), QItemSelection())


class qMRMLSegmentationShow3DButton(QPushButton):
    """Makes surfaces of a segmentation and shows them, or takes them away."""

    CPP = True

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Show 3D", parent)
        self._values: dict[str, Any] = {}
        self._node: Any = None
        self.setCheckable(True)
        self.setEnabled(False)
        self.connect("clicked(bool)", self._onClicked)

    locked = kept(bool, "locked", False)

    def segmentationNode(self) -> Any:
        """The segmentation."""
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        """Sets the segmentation."""
        self._node = node
        self.setEnabled(node is not None)
        self.setChecked(node is not None and node.GetSegmentation().ContainsRepresentation("Closed surface"))

    def _onClicked(self, isOn: bool) -> None:
        if isOn:
            self._node.CreateClosedSurfaceRepresentation()
        else:
            self._node.RemoveClosedSurfaceRepresentation()
