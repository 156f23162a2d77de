"""The application's views, drawn off-screen from what the scene holds: slices, 3-D, and plots.

The panel's test harness has layout, slice and view nodes as Slicer has them, and widgets that only name their view.
Here Slicer's own displayable managers draw what these nodes say, cross-hair included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from make_pictures import SLICE_MANAGERS, THREE_D_MANAGERS, open_view, pixels_of

SLICES = ("Red", "Green", "Yellow")
SEEN_FROM = (-420.0, 760.0, 160.0)
"""RAS in mm from the middle: from the front, a little from the right and above."""
BOTTOM, TOP = (0.757, 0.765, 0.910), (0.455, 0.471, 0.745)
"""Colours of the background of Slicer's 3-D views."""


class Views:
    """Slicer's views of one scene.

    Args:
        size: width and height of each in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        # Slicer complains of a scene without mouse modes and of managers that it knows already.
        vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_ERROR)
        self._size = size
        self._windows: dict[str, tuple[Any, ...]] = {}
        if slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode") is None:
            crosshair = slicer.vtkMRMLCrosshairNode()
            crosshair.SetCrosshairName("default")
            slicer.mrmlScene.AddNode(crosshair)
        for name in SLICES:
            slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode().SetDimensions(*size, 1)

    def slice(self, name: str) -> np.ndarray:
        """Pixels ``(y, x, rgb)`` of a slice view, from the top down."""
        if name not in self._windows:
            self._windows[name] = self._open_slice(name)
        window, renderer, _managers, logic, actor = self._windows[name]
        logic.UpdatePipeline()
        connection = logic.GetImageDataConnection()
        actor.SetVisibility(connection is not None)
        if connection is not None:
            actor.GetMapper().SetInputConnection(connection)
        renderer.ResetCameraClippingRange()
        return pixels_of(window)[::-1]

    def solid(self) -> np.ndarray:
        """Pixels ``(y, x, rgb)`` of the 3-D view, from the top down."""
        if "3D" not in self._windows:
            node = slicer.app.layoutManager().threeDWidget(0).mrmlViewNode()
            factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
            self._windows["3D"] = open_view(slicer, node, factory, THREE_D_MANAGERS, self._size)
        window, renderer, _group = self._windows["3D"]
        renderer.SetBackground(BOTTOM)
        renderer.SetBackground2(TOP)
        renderer.GradientBackgroundOn()
        camera = renderer.GetActiveCamera()
        camera.SetFocalPoint(0, 0, 0)
        camera.SetPosition(*SEEN_FROM)
        camera.SetViewUp(0, 0, 1)
        renderer.ResetCamera()
        camera.Zoom(1.3)
        return pixels_of(window)[::-1]

    def plot(self, view_name: str, size: tuple[int, int]) -> np.ndarray:
        """Pixels ``(y, x, rgb)`` of a plot view, from the top down, drawn by VTK's charts as in Slicer."""
        view = vtk.vtkContextView()
        window = view.GetRenderWindow()
        window.SetOffScreenRendering(1)
        window.SetSize(*size)
        view.GetRenderer().SetBackground(1, 1, 1)
        node = slicer.mrmlScene.GetSingletonNode(view_name, "vtkMRMLPlotViewNode")
        if node is not None and node.GetPlotChartNode() is not None:
            view.GetScene().AddItem(_chart(node.GetPlotChartNode()))
        return pixels_of(window)[::-1]

    def _open_slice(self, name: str) -> tuple[Any, ...]:
        widget = slicer.app.layoutManager().sliceWidget(name)
        managers = (*SLICE_MANAGERS, "vtkMRMLCrosshairDisplayableManager")
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        window, renderer, group = open_view(slicer, widget.mrmlSliceNode(), factory, managers, self._size)
        actor = vtk.vtkImageActor()
        renderer.AddActor(actor)
        width, height = self._size
        camera = renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        camera.SetFocalPoint(width / 2, height / 2, 0)
        camera.SetPosition(width / 2, height / 2, 1)
        camera.SetParallelScale(height / 2)
        return window, renderer, group, widget.sliceLogic(), actor


def _chart(node: Any) -> vtk.vtkChartXY:
    """A chart as the node describes it."""
    chart = vtk.vtkChartXY()
    chart.SetTitle(node.GetTitle() or "")
    chart.SetShowLegend(True)
    chart.GetLegend().SetInline(False)  # beside the lines, which the user can drag it to as well
    chart.GetAxis(vtk.vtkAxis.BOTTOM).SetTitle(node.GetXAxisTitle() or "")
    left = chart.GetAxis(vtk.vtkAxis.LEFT)
    left.SetTitle(node.GetYAxisTitle() or "")
    if not node.GetYAxisRangeAuto():
        left.SetBehavior(vtk.vtkAxis.FIXED)
        left.SetRange(*node.GetYAxisRange())
    for index in range(node.GetNumberOfPlotSeriesNodes()):
        series = node.GetNthPlotSeriesNode(index)
        x, y = series.GetXColumnName(), series.GetYColumnName()
        rows = _rows_with_values(series.GetTableNode().GetTable(), x, y)
        if rows.GetNumberOfRows():
            line = chart.AddPlot(vtk.vtkChart.LINE)
            line.SetInputData(rows, x, y)
            line.SetLabel(series.GetName())
            line.SetColor(*(round(255 * part) for part in series.GetColor()), 255)
            line.SetWidth(series.GetLineWidth())
            line.GetPen().SetLineType(series.GetLineStyle())
            line.SetMarkerStyle(series.GetMarkerStyle())
            line.SetMarkerSize(series.GetMarkerSize())
    return chart


def _rows_with_values(table: vtk.vtkTable, x: str, y: str) -> vtk.vtkTable:
    """The rows in which both columns have numbers: a line leads from one to the next."""
    chosen = vtk.vtkTable()
    for name in (x, y):
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        chosen.AddColumn(column)
    for row in range(table.GetNumberOfRows()):
        values = [table.GetValueByName(row, name).ToDouble() for name in (x, y)]
        if not np.isnan(values).any():
            for column, value in enumerate(values):
                chosen.GetColumn(column).InsertNextValue(value)
    chosen.Modified()
    return chosen
