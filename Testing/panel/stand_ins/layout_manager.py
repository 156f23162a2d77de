"""``slicer.app.layoutManager()``: real layout, slice and selection nodes and logics, and widgets that
only name their view."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6.QtCore import Property, QObject, Signal
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from .mrml_views import qMRMLPlotWidget


class qMRMLSliceWidget(QWidget):
    """A slice view."""

    CPP = True

    def __init__(self, logic: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._logic = logic
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(f"{logic.GetSliceNode().GetLayoutName()} slice view", self))

    def mrmlSliceNode(self) -> Any:
        """The view's node."""
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        """What the view shows."""
        return self._logic.GetSliceCompositeNode()

    def sliceLogic(self) -> Any:
        """The view's logic."""
        return self._logic

    def fitSliceToBackground(self) -> None:
        """Fits the view."""
        self._logic.FitSliceToBackground()


class qMRMLThreeDWidget(QWidget):
    """A 3-D view."""

    CPP = True

    def __init__(self, node: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._node = node

    def mrmlViewNode(self) -> Any:
        """The view's node."""
        return self._node

    def threeDView(self) -> Any:
        """The view inside."""
        return self

    def resetFocalPoint(self) -> None:
        """Moves the camera; there is none."""

    def resetCamera(self) -> None:
        """Moves the camera; there is none."""


class qSlicerLayoutManager(QObject):
    """Arranges views: the layout is that of the scene's layout node."""

    CPP = True
    layoutChanged = Signal(int)

    def __init__(self, applicationLogic: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._applicationLogic = applicationLogic
        self._layoutLogic = slicer.vtkMRMLLayoutLogic()
        self._layoutLogic.SetMRMLApplicationLogic(applicationLogic)
        self._slices: dict[str, qMRMLSliceWidget] = {}
        self._logics = vtk.vtkCollection()
        applicationLogic.SetSliceLogics(self._logics)
        self._observed: tuple[Any, int] | None = None

    def _leaveScene(self) -> None:
        """Takes logics and widgets away from the scene: it can then be emptied of the application's nodes, too."""
        if self._observed is not None:
            self._observed[0].RemoveObserver(self._observed[1])
            self._observed = None
        for widget in self._slices.values():
            widget.sliceLogic().SetMRMLScene(None)
        self._slices = {}
        self._logics = vtk.vtkCollection()
        self._applicationLogic.SetSliceLogics(self._logics)
        self._layoutLogic.SetMRMLScene(None)

    def _enterScene(self, scene: Any) -> None:
        """Makes the application's nodes in a scene that has none: layout, views, selection."""
        self._layoutLogic.SetMRMLScene(scene)
        node = self._layoutLogic.GetLayoutNode()
        node.SetViewArrangement(node.SlicerLayoutFourUpView)
        node.SaveLayout = True
        self._observed = (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onLayoutModified))
        self._last = node.GetViewArrangement()
        for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode", scene):
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(self._applicationLogic)
            logic.SetMRMLScene(scene)
            logic.SetSliceNode(sliceNode)
            self._logics.AddItem(logic)
            self._slices[sliceNode.GetLayoutName()] = qMRMLSliceWidget(logic)

    def _onLayoutModified(self, caller: Any, event: str) -> None:
        if caller.GetViewArrangement() != self._last:
            self._last = caller.GetViewArrangement()
            self.layoutChanged.emit(self._last)

    def _layout(self) -> int:
        return self._layoutLogic.GetLayoutNode().GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        """Arranges the views."""
        self._layoutLogic.GetLayoutNode().SetViewArrangement(int(layout))

    layout = Property(int, _layout, setLayout)
    threeDViewCount = Property(int, lambda self: len(slicer.util.getNodesByClass("vtkMRMLViewNode")))
    plotViewCount = Property(int, lambda self: len(slicer.util.getNodesByClass("vtkMRMLPlotViewNode")))
    tableViewCount = Property(int, lambda self: len(slicer.util.getNodesByClass("vtkMRMLTableViewNode")))

    def layoutLogic(self) -> Any:
        """The logic that makes views for a layout."""
        return self._layoutLogic

    def sliceViewNames(self) -> list[str]:
        """The names of the slice views."""
        return list(self._slices)

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        """A slice view."""
        return self._slices.get(name)

    def mrmlSliceLogics(self) -> Any:
        """The logics of the slice views."""
        return self._logics

    def threeDWidget(self, index: int) -> qMRMLThreeDWidget:
        """A 3-D view."""
        return qMRMLThreeDWidget(slicer.util.getNodesByClass("vtkMRMLViewNode")[index])

    def plotWidget(self, index: int) -> qMRMLPlotWidget | None:
        """A view of plots; there is none where the layout has none."""
        nodes = slicer.util.getNodesByClass("vtkMRMLPlotViewNode")
        if index >= len(nodes):
            return None
        widget = qMRMLPlotWidget()
        widget.setMRMLPlotViewNode(nodes[index])
        return widget

    def resetSliceViews(self) -> None:
        """Fits all slice views."""
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """Moves the cameras; there are none."""
