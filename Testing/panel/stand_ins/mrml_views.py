"""Widgets that show a table or a chart of the scene."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from .kept import kept
from .mrml_widget import qMRMLWidget
from .scene_watch import SceneWatch


class qMRMLTableView(qMRMLWidget):
    """Shows a table node."""

    CPP = True

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._watch = SceneWatch(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._table = QTableWidget(self)
        self._table.horizontalHeader().setStretchLastSection(True)
        layout.addWidget(self._table)

    def mrmlTableNode(self) -> Any:
        """The table node."""
        return self._node

    def setMRMLTableNode(self, node: Any) -> None:
        """Sets the table node to show."""
        self._node = node
        self._watch.observe("table", node, (vtk.vtkCommand.ModifiedEvent,), qMRMLTableView._refresh)
        self._refresh()

    def _refresh(self) -> None:
        table = self._node.GetTable() if self._node is not None else vtk.vtkTable()
        self._table.setRowCount(table.GetNumberOfRows())
        self._table.setColumnCount(table.GetNumberOfColumns())
        self._table.setHorizontalHeaderLabels(
            [table.GetColumnName(i) or "" for i in range(table.GetNumberOfColumns())]
        )
        for row in range(table.GetNumberOfRows()):
            for column in range(table.GetNumberOfColumns()):
                self._table.setItem(row, column, QTableWidgetItem(table.GetValue(row, column).ToString()))


class qMRMLPlotView(qMRMLWidget):
    """Draws the lines of a chart node's series, in their colours."""

    CPP = True

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {}
        self._node: Any = None
        self.setMinimumSize(200, 120)

    titleVisible = kept(bool, "titleVisible", True)

    def mrmlPlotViewNode(self) -> Any:
        """The view's node."""
        return self._node

    def setMRMLPlotViewNode(self, node: Any) -> None:
        """Sets the view's node, which names the chart."""
        self._node = node
        self.update()

    def fitToContent(self) -> None:
        """Fits the axes; they always fit."""

    def paintEvent(self, event: Any) -> None:
        """Draws the chart."""
        painter = QPainter(self)
        painter.fillRect(self.rect, QColor("white"))
        chart = self._node.GetPlotChartNode() if self._node is not None else None
        if chart is not None:
            painter.drawText(
                self.rect,
                int(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignHCenter),
                chart.GetTitle() or "",
            )
            for index in range(chart.GetNumberOfPlotSeriesNodes()):
                _drawSeries(painter, chart.GetNthPlotSeriesNode(index), self.rect.adjusted(20, 24, -20, -20))
        painter.end()


def _drawSeries(painter: QPainter, series: Any, area: Any) -> None:
    table = series.GetTableNode()
    if table is None:
        return
    points = [
        [
            table.GetTable().GetColumnByName(name).GetVariantValue(row).ToDouble()
            for row in range(table.GetNumberOfRows())
        ]
        for name in (series.GetXColumnName(), series.GetYColumnName())
        if table.GetTable().GetColumnByName(name) is not None
    ]
    if len(points) < 2 or not points[0]:
        return
    scaled = [[(value - min(axis)) / ((max(axis) - min(axis)) or 1) for value in axis] for axis in points]
    path = QPainterPath()
    for index, (x, y) in enumerate(zip(*scaled, strict=True)):
        position = (area.left() + x * area.width(), area.bottom() - y * area.height())
        (path.lineTo if index else path.moveTo)(*position)
    painter.setPen(QPen(QColor.fromRgbF(*series.GetColor()), 2))
    painter.drawPath(path)


class qMRMLPlotWidget(QWidget):
    """The view of plots in the application's layout."""

    CPP = True

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        self._view = qMRMLPlotView(self)
        layout.addWidget(self._view)

    def mrmlPlotViewNode(self) -> Any:
        """The view's node."""
        return self._view.mrmlPlotViewNode()

    def setMRMLPlotViewNode(self, node: Any) -> None:
        """Sets the view's node."""
        self._view.setMRMLPlotViewNode(node)

    def plotView(self) -> qMRMLPlotView:
        """The view inside."""
        return self._view
