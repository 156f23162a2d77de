"""One chart of lines over iterations, as nodes of the scene that are not saved with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from .Texts import _

COLORS = (
    (0.0, 0.45, 0.7),
    (0.84, 0.37, 0.0),
    (0.0, 0.62, 0.45),
    (0.8, 0.47, 0.65),
    (0.34, 0.71, 0.91),
    (0.9, 0.62, 0.0),
)
"""Okabe and Ito's colours, told apart by colour-blind people, too."""
MAIN_COLOR = (0.35, 0.35, 0.35)
"""Grey is seen on a dark and on a light background."""
X = "iteration"


class CurvePlot:
    """A chart with a line for each name.

    Args:
        title: of the chart.
        yTitle: of its vertical axis.
        main: the line that is drawn thicker than the others.
        limits: of the vertical axis; ``None``: as the values are.
    """

    def __init__(self, title: str, yTitle: str, main: str, limits: tuple[float, float] | None = None) -> None:
        self._title, self._main = title, main
        self._tableNode = self._add("vtkMRMLTableNode", title)
        self._chartNode = self._add("vtkMRMLPlotChartNode", title)
        self._chartNode.SetTitle(title)
        self._chartNode.SetXAxisTitle(_("iteration"))
        self._chartNode.SetYAxisTitle(yTitle)
        if limits is not None:
            self._chartNode.SetYAxisRangeAuto(False)
            self._chartNode.SetYAxisRange(limits)
        self._seriesNodes: dict[str, slicer.vtkMRMLPlotSeriesNode] = {}

    @property
    def isInScene(self) -> bool:
        """Whether the nodes are still there: closing the scene takes them away."""
        return all(slicer.mrmlScene.IsNodePresent(node) for node in self._nodes())

    def draw(self, points: Sequence[Mapping[str, float]]) -> None:
        """Draws these points and no others.

        Args:
            points: each with its ``iteration`` and, by name, the values that it has.
        """
        names = list(dict.fromkeys(name for point in points for name in point))
        table = vtk.vtkTable()
        for name in names:
            column = numpy_to_vtk([point.get(name, math.nan) for point in points], deep=True)
            column.SetName(name)
            table.AddColumn(column)
        self._tableNode.SetAndObserveTable(table)
        for name in names:
            if name not in self._seriesNodes and name != X:
                self._seriesNodes[name] = self._newSeries(name)

    def showIn(self, viewName: str) -> None:
        """Shows the chart in the plot view of that layout name, if the layout has it."""
        view = slicer.mrmlScene.GetSingletonNode(viewName, "vtkMRMLPlotViewNode")
        if view is not None:
            view.SetPlotChartNodeID(self._chartNode.GetID())

    def remove(self) -> None:
        """Takes the nodes out of the scene."""
        for node in self._nodes():
            if slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)

    def _newSeries(self, name: str) -> slicer.vtkMRMLPlotSeriesNode:
        node = self._add("vtkMRMLPlotSeriesNode", name.replace("_", " "))
        node.SetAndObserveTableNodeID(self._tableNode.GetID())
        node.SetXColumnName(X)
        node.SetYColumnName(name)
        node.SetPlotType(node.PlotTypeScatter)
        isMain = name == self._main
        node.SetLineWidth(4 if isMain else 2)
        others = len(self._seriesNodes) - (self._main in self._seriesNodes)
        node.SetColor(*(MAIN_COLOR if isMain else COLORS[others % len(COLORS)]))
        # Lines of one colour differ in their dashes: nobody has to tell twelve colours apart.
        styles = (node.LineStyleSolid, node.LineStyleDash, node.LineStyleDot, node.LineStyleDashDot)
        node.SetLineStyle(styles[0] if isMain else styles[others // len(COLORS) % len(styles)])
        # A single point makes no line, only its marker is seen.
        node.SetMarkerStyle(node.MarkerStyleCircle)
        node.SetMarkerSize(5)
        self._chartNode.AddAndObservePlotSeriesNodeID(node.GetID())
        return node

    def _add(self, className: str, name: str) -> slicer.vtkMRMLNode:
        node = slicer.mrmlScene.AddNewNodeByClass(className, name)
        node.SetSaveWithScene(False)
        return node

    def _nodes(self) -> list[slicer.vtkMRMLNode]:
        return [*self._seriesNodes.values(), self._chartNode, self._tableNode]
