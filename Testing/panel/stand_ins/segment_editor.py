"""``qMRMLSegmentEditorWidget``: Slicer's editor, as far as a panel that embeds it can tell.

It knows its parameter node, effects, observations and shortcuts, and complains when they are used out of
turn: what a panel
forgets to take away after leaving it is what users of Slicer complain of. Strokes are made by the test, on
the segmentation.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6.QtCore import Property, QObject, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from .kept import kept
from .mrml_widget import qMRMLWidget
from .node_combo_box import qMRMLNodeComboBox
from .scene_watch import SceneWatch
from .segments_table import qMRMLSegmentsTableView

EFFECTS = (
    "Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices", "Margin",
    "Hollow", "Smoothing", "Scissors", "Islands", "Logical operators", "Mask volume",
)  # fmt: skip


class qSlicerSegmentEditorAbstractEffect(QObject):
    """A tool of the editor."""

    CPP = True

    def __init__(self, name: str = "", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {"name": name}

    name = kept(str, "name", "")
    active = kept(bool, "active", False)

    def setParameter(self, name: str, value: Any) -> None:
        """Sets a parameter of the tool."""
        self._values[f"parameter {name}"] = str(value)

    def parameter(self, name: str) -> str:
        """A parameter of the tool."""
        return self._values.get(f"parameter {name}", "")


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """The editor."""

    CPP = True
    _segmentationChanged = Signal(object)
    _sourceVolumeChanged = Signal(object)
    currentSegmentIDChanged = Signal(str)
    CPP_SIGNALS = {
        "segmentationNodeChanged(vtkMRMLSegmentationNode*)": "_segmentationChanged",
        "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)": "_sourceVolumeChanged",
    }

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {}
        self._node: Any = None
        self._effects = {name: qSlicerSegmentEditorAbstractEffect(name, self) for name in EFFECTS}
        self._active: qSlicerSegmentEditorAbstractEffect | None = None
        self._shortcuts: list[QShortcut] = []
        self._observesViews = False
        self._watch = SceneWatch(self)
        self._history = slicer.vtkSegmentationHistory()  # Slicer's own
        self._build()

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        self._segmentationBox = self._row(layout, "Segmentation:", "vtkMRMLSegmentationNode")
        self._sourceBox = self._row(layout, "Source volume:", "vtkMRMLScalarVolumeNode")
        self._segmentationBox.connect("currentNodeChanged(vtkMRMLNode*)", self.setSegmentationNode)
        self._sourceBox.connect("currentNodeChanged(vtkMRMLNode*)", self.setSourceVolumeNode)
        buttons = QHBoxLayout()
        self._addButton, self._removeButton = QPushButton("Add", self), QPushButton("Remove", self)
        self._addButton.connect("clicked()", self._addSegment)
        self._removeButton.connect("clicked()", self._removeSegment)
        for button in (self._addButton, self._removeButton):
            buttons.addWidget(button)
        layout.addLayout(buttons)
        self._table = qMRMLSegmentsTableView(self)
        self._table.connect("selectionChanged(QItemSelection,QItemSelection)", self._onSelection)
        layout.addWidget(self._table)
        grid, self._effectButtons = QGridLayout(), {}
        for index, name in enumerate(EFFECTS):
            button = QToolButton(self)
            button.text, button.checkable = name, True
            button.setSizePolicy(button.sizePolicy.Expanding, button.sizePolicy.Fixed)
            button.connect(
                "clicked(bool)",
                lambda checked, name=name: self.setActiveEffectByName(name if checked else ""),
            )
            self._effectButtons[name] = button
            grid.addWidget(button, index // 3, index % 3)
        layout.addLayout(grid)

    def _row(self, layout: Any, text: str, nodeType: str) -> qMRMLNodeComboBox:
        row, box = QHBoxLayout(), qMRMLNodeComboBox(self)
        box.nodeTypes, box.noneEnabled = [nodeType], True
        label = QLabel(text, self)
        row.addWidget(label)
        row.addWidget(box)
        layout.addLayout(row)
        self._values[f"{nodeType} row"] = (label, box)
        return box

    def _showRow(self, nodeType: str, shown: bool) -> None:
        for part in self._values[f"{nodeType} row"]:
            part.setVisible(shown)

    segmentationNodeSelectorVisible = Property(
        bool,
        lambda self: not self._segmentationBox.isHidden(),
        lambda self, shown: self._showRow("vtkMRMLSegmentationNode", shown),
    )
    sourceVolumeNodeSelectorVisible = Property(
        bool,
        lambda self: not self._sourceBox.isHidden(),
        lambda self, shown: self._showRow("vtkMRMLScalarVolumeNode", shown),
    )
    autoShowSourceVolumeNode = kept(bool, "autoShowSourceVolumeNode", True)
    switchToSegmentationsButtonVisible = kept(bool, "switchToSegmentationsButtonVisible", True)
    undoEnabled = kept(bool, "undoEnabled", True)
    maximumNumberOfUndoStates = kept(int, "maximumNumberOfUndoStates", 10)
    readOnly = kept(bool, "readOnly", False)
    unorderedEffectsVisible = kept(bool, "unorderedEffectsVisible", True)
    locked = kept(bool, "locked", False)

    # Nodes

    def setMRMLScene(self, scene: Any) -> None:
        """Sets the scene; it forgets its parameter node when the scene is closed."""
        qMRMLWidget.setMRMLScene(self, scene)
        for widget in (self._segmentationBox, self._sourceBox, self._table):
            widget.setMRMLScene(scene)
        self._watch.observe(
            "scene", scene, (slicer.vtkMRMLScene.EndCloseEvent,), qMRMLSegmentEditorWidget._onSceneClosed
        )

    def _onSceneClosed(self) -> None:
        self.setActiveEffect(None)
        self.updateWidgetFromMRML()

    def mrmlSegmentEditorNode(self) -> Any:
        """The parameter node."""
        return self._node

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        """Sets the parameter node: without one nothing can be edited."""
        self._node = node
        self._watch.observe(
            "node", node, (vtk.vtkCommand.ModifiedEvent,), qMRMLSegmentEditorWidget.updateWidgetFromMRML
        )
        self.updateWidgetFromMRML()

    def updateWidgetFromMRML(self) -> None:
        """Shows what the parameter node says."""
        segmentation, volume = self.segmentationNode(), self.sourceVolumeNode()
        self._history.SetSegmentation(segmentation.GetSegmentation() if segmentation is not None else None)
        self._segmentationBox.setCurrentNode(segmentation)
        self._sourceBox.setCurrentNode(volume)
        self._table.setSegmentationNode(segmentation)
        chosen = [segmentID for segmentID in (self.currentSegmentID(),) if segmentID]
        if self._table.selectedSegmentIDs() != chosen:  # as in Slicer, the list follows the parameter node
            self._table.setSelectedSegmentIDs(chosen)
        canEdit = segmentation is not None and volume is not None
        self._addButton.enabled = segmentation is not None
        self._removeButton.enabled = bool(self.currentSegmentID())
        for button in self._effectButtons.values():
            button.enabled = canEdit
        if self._active is not None and not canEdit:
            self.setActiveEffect(None)

    def segmentationNode(self) -> Any:
        """The segmentation that is edited."""
        return self._node.GetSegmentationNode() if self._node is not None else None

    def segmentationNodeID(self) -> str:
        """Its ID."""
        node = self.segmentationNode()
        return node.GetID() if node is not None else ""

    def setSegmentationNode(self, node: Any) -> None:
        """Chooses the segmentation."""
        if self._node is None or node is self._node.GetSegmentationNode():
            return
        self._node.SetAndObserveSegmentationNode(node)
        ids = node.GetSegmentation().GetSegmentIDs() if node is not None else ()
        self._node.SetSelectedSegmentID(ids[0] if ids else "")
        self._segmentationChanged.emit(node)

    def setSegmentationNodeID(self, nodeID: str) -> None:
        """Chooses the segmentation by its ID."""
        self.setSegmentationNode(self._scene.GetNodeByID(nodeID))

    def sourceVolumeNode(self) -> Any:
        """The volume that is segmented."""
        return self._node.GetSourceVolumeNode() if self._node is not None else None

    def sourceVolumeNodeID(self) -> str:
        """Its ID."""
        node = self.sourceVolumeNode()
        return node.GetID() if node is not None else ""

    def setSourceVolumeNode(self, node: Any) -> None:
        """Chooses the volume."""
        if self._node is not None and node is not self._node.GetSourceVolumeNode():
            self._node.SetAndObserveSourceVolumeNode(node)
            self._sourceVolumeChanged.emit(node)

    def setSourceVolumeNodeID(self, nodeID: str) -> None:
        """Chooses the volume by its ID."""
        self.setSourceVolumeNode(self._scene.GetNodeByID(nodeID))

    def currentSegmentID(self) -> str:
        """The chosen segment's ID."""
        return (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""

    def setCurrentSegmentID(self, segmentID: str) -> None:
        """Chooses a segment."""
        if self._node is not None and segmentID != self.currentSegmentID():
            self._node.SetSelectedSegmentID(segmentID)
            self.currentSegmentIDChanged.emit(segmentID)

    def _onSelection(self) -> None:
        ids = self._table.selectedSegmentIDs()
        if ids:
            self.setCurrentSegmentID(ids[0])

    def _addSegment(self) -> None:
        self.setCurrentSegmentID(self.segmentationNode().GetSegmentation().AddEmptySegment())

    def _removeSegment(self) -> None:
        self.segmentationNode().GetSegmentation().RemoveSegment(self.currentSegmentID())

    # Effects

    def availableEffectNames(self) -> list[str]:
        """The names of the tools."""
        return list(self._effects)

    def effectByName(self, name: str) -> Any:
        """A tool, or None."""
        return self._effects.get(name)

    def activeEffect(self) -> Any:
        """The tool in use, or None."""
        return self._active

    def setActiveEffect(self, effect: Any) -> None:
        """Takes a tool, or none. As in Slicer, none is taken where nothing can be edited."""
        if effect is not None and (self.segmentationNode() is None or self.sourceVolumeNode() is None):
            effect = None
        if self._active is not None:
            self._active.active = False
        self._active = effect
        if effect is not None:
            effect.active = True
        if self._node is not None:
            self._node.SetActiveEffectName(effect.name if effect is not None else "")
        for name, button in self._effectButtons.items():
            button.checked = effect is not None and name == effect.name

    def setActiveEffectByName(self, name: str) -> None:
        """Takes a tool by its name; "" for none."""
        self.setActiveEffect(self._effects.get(name))

    # What has to be taken away again

    def setupViewObservations(self) -> None:
        """Listens to the views."""
        self._observesViews = True

    def removeViewObservations(self) -> None:
        """Listens to them no more."""
        self._observesViews = False

    def installKeyboardShortcuts(self, parent: QWidget | None = None) -> None:
        """Makes the editor's keys work in a window: the main window where none is given. Twice makes them twice."""
        parent = parent if parent is not None else slicer.util.mainWindow()
        for key in ("Ctrl+Z", "Ctrl+Y", "Esc", "Space", "1", "2", "3", "Q", "W"):
            shortcut = QShortcut(parent if parent is not None else self)
            shortcut.setKey(QKeySequence(key))
            self._shortcuts.append(shortcut)

    def uninstallKeyboardShortcuts(self) -> None:
        """Takes the keys away."""
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []

    def turnOffLightboxes(self) -> bool:
        """Shows one slice in each view; whether there were more."""
        return False

    def rotateSliceViewsToSegmentation(self) -> None:
        """Turns the slice views to the voxel grid."""
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            node.RotateToVolumePlane(self.sourceVolumeNode())

    def undo(self) -> None:
        """Takes the last change back, where something was remembered before it."""
        self._history.RestorePreviousState()

    def redo(self) -> None:
        """Brings it back."""
        self._history.RestoreNextState()

    def saveStateForUndo(self) -> None:
        """Remembers the segmentation; effects do so before each stroke."""
        if self.segmentationNode() is not None and self.undoEnabled:
            self._history.SetMaximumNumberOfStates(self.maximumNumberOfUndoStates)
            self._history.SaveState()

    @property
    def _leftBehind(self) -> list[str]:
        """What a panel that was left has not taken away; for tests."""
        return [
            what
            for what, isThere in (
                ("active effect", self._active is not None),
                ("view observations", self._observesViews),
                ("keyboard shortcuts", bool(self._shortcuts)),
            )
            if isThere
        ]
