"""``qMRMLNodeComboBox``: the nodes of a scene to choose from, and its sister with check marks."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6.QtCore import Property, Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QInputDialog, QListWidget, QListWidgetItem, QWidget

from .kept import kept
from .scene_watch import SceneWatch

EVENTS = (
    slicer.vtkMRMLScene.NodeAddedEvent,
    slicer.vtkMRMLScene.NodeRemovedEvent,
    slicer.vtkMRMLScene.EndCloseEvent,
    slicer.vtkMRMLScene.EndImportEvent,
    slicer.vtkMRMLScene.EndBatchProcessEvent,
)


class qMRMLNodeComboBox(QWidget):
    """Follows the scene: nodes of its types come, go and are renamed in the list.

    As in Slicer: disabled without a scene; without "None" the first node that comes to the empty list is chosen.
    """

    CPP = True
    _nodeChanged = Signal(object)
    _validNodeChanged = Signal(bool)
    currentNodeIDChanged = Signal(str)
    _activated = Signal(object)
    _added = Signal(object)
    _addedByUser = Signal(object)
    _addedByUserAction = Signal(object)
    _aboutToBeRemoved = Signal(object)
    CPP_SIGNALS = {
        "currentNodeChanged(vtkMRMLNode*)": "_nodeChanged",
        "currentNodeChanged(bool)": "_validNodeChanged",
        "nodeActivated(vtkMRMLNode*)": "_activated",
        "nodeAdded(vtkMRMLNode*)": "_added",
        "nodeAddedByUser(vtkMRMLNode*)": "_addedByUser",
        "nodeAddedByUserAction(vtkMRMLNode*)": "_addedByUserAction",
        "nodeAboutToBeRemoved(vtkMRMLNode*)": "_aboutToBeRemoved",
    }

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {}
        self._attributes: list[tuple[str, str, Any]] = []
        self._scene: Any = None
        self._nodes: list[Any] = []
        self._current: Any = None
        self._watch = SceneWatch(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._view = self._makeView()
        self._view.enabled = False
        layout.addWidget(self._view)
        self.setFocusProxy(self._view)

    def _makeView(self) -> QWidget:
        combo = QComboBox(self)
        combo.setSizePolicy(combo.sizePolicy.Expanding, combo.sizePolicy.Fixed)
        combo.connect("activated(int)", self._onActivated)
        return combo

    # What only the menu of the real widget shows is kept, and has no effect.
    nodeTypes = kept("QStringList", "nodeTypes", [], "_refresh")
    hideChildNodeTypes = kept("QStringList", "hideChildNodeTypes", [], "_refresh")
    showChildNodeTypes = kept(bool, "showChildNodeTypes", True, "_refresh")
    showHidden = kept(bool, "showHidden", False, "_refresh")
    noneEnabled = kept(bool, "noneEnabled", False, "_refresh")
    noneDisplay = kept(str, "noneDisplay", "None", "_refresh")
    baseName = kept(str, "baseName", "", "_refresh")
    addEnabled = kept(bool, "addEnabled", True, "_refresh")
    removeEnabled = kept(bool, "removeEnabled", True, "_refresh")
    editEnabled = kept(bool, "editEnabled", False, "_refresh")
    renameEnabled = kept(bool, "renameEnabled", False, "_refresh")
    selectNodeUponCreation = kept(bool, "selectNodeUponCreation", True, "_refresh")
    interactionNodeSingletonTag = kept(str, "interactionNodeSingletonTag", "Singleton", "_refresh")
    currentNodeID = Property(
        str,
        lambda self: self._current.GetID() if self._current else "",
        lambda self, ID: self.setCurrentNodeID(ID),
    )

    # Scene

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Sets the scene to follow."""
        self._scene = scene
        self._watch.observe("scene", scene, EVENTS, qMRMLNodeComboBox._refresh)
        self._view.enabled = scene is not None
        self._refresh()

    def addAttribute(self, nodeType: str, name: str, value: Any = None) -> None:
        """Shows nodes of a type only where they have an attribute, perhaps of one value."""
        self._attributes.append((nodeType, name, value))
        self._refresh()

    def removeAttribute(self, nodeType: str, name: str) -> None:
        """Takes `addAttribute` back."""
        self._attributes = [item for item in self._attributes if item[:2] != (nodeType, name)]
        self._refresh()

    def _shown(self, nodes: list[Any]) -> list[Any]:
        """Those of a scene's nodes that the list has; what is asked of each is read once."""
        kinds, notTheirs, attributes = self.nodeTypes, self.hideChildNodeTypes, self._attributes
        hidden, children = self.showHidden, self.showChildNodeTypes

        def shows(node: Any) -> bool:
            if not (any(map(node.IsA, kinds)) if children else node.GetClassName() in kinds):
                return False
            if (children and any(map(node.IsA, notTheirs))) or (not hidden and node.GetHideFromEditors()):
                return False
            return all(
                node.GetAttribute(name) is not None
                if value is None
                else node.GetAttribute(name) == str(value)
                for kind, name, value in attributes
                if node.IsA(kind)
            )

        return [node for node in nodes if shows(node)]

    def _refresh(self) -> None:
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        wasEmpty = not self._nodes
        known = {node.GetID() for node in self._nodes if node is not None}
        everything = [] if self._scene is None else slicer.util.getNodesByClass("vtkMRMLNode", self._scene)
        self._nodes = self._shown(everything)
        for node in self._nodes:
            self._watch.observe(node.GetID(), node, (vtk.vtkCommand.ModifiedEvent,), qMRMLNodeComboBox._show)
        if self._current is not None and self._current not in self._nodes:
            self._choose(self._nodes[0] if self._nodes and not self.noneEnabled else None)
        elif self._current is None and wasEmpty and self._nodes and not self.noneEnabled:
            self._choose(self._nodes[0])
        self._show()
        for node in self._nodes:
            if node.GetID() not in known:
                self._added.emit(node)
                self._addedByUser.emit(node)

    def _show(self) -> None:
        entries = [(node.GetName() or "", node) for node in self._nodes]
        if self.noneEnabled:
            entries.insert(0, (self.noneDisplay, None))
        self._view.blockSignals(True)
        self._showEntries(entries)
        self._view.blockSignals(False)

    def _showEntries(self, entries: list[tuple[str, Any]]) -> None:
        self._entries = entries
        self._view.clear()
        for text, _node in entries:
            self._view.addItem(text)
        chosen = [index for index, (_text, node) in enumerate(entries) if node is self._current]
        self._view.setCurrentIndex(chosen[0] if chosen else -1)

    def _onActivated(self, index: int) -> None:
        node = self._entries[index][1]
        self._choose(node)
        self._activated.emit(node)

    # Current node

    def currentNode(self) -> Any:
        """The chosen node, or None."""
        return self._current

    def setCurrentNode(self, node: Any) -> None:
        """Chooses a node, or one by its ID; another one than those of the list is no node."""
        if isinstance(node, str):
            self.setCurrentNodeID(node)
        else:
            self._choose(node if node in self._nodes else None)
            self._show()

    def setCurrentNodeID(self, nodeID: str) -> None:
        """Chooses a node by its ID."""
        self.setCurrentNode(next((node for node in self._nodes if node.GetID() == nodeID), None))

    def setCurrentNodeIndex(self, index: int) -> None:
        """Chooses the node at a place of the list."""
        self.setCurrentNode(self.nodeFromIndex(index))

    def _choose(self, node: Any) -> None:
        if node is self._current:
            return
        self._current = node
        self._nodeChanged.emit(node)
        self._validNodeChanged.emit(node is not None)
        self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def nodeCount(self) -> int:
        """How many nodes there are to choose from."""
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:
        """The node at a place of the list, or None."""
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def nodes(self) -> list[Any]:
        """The nodes to choose from."""
        return list(self._nodes)

    def addNode(self, nodeType: str = "") -> Any:
        """What *Create new* does."""
        if not nodeType and not self.nodeTypes:
            return None
        node = self._scene.CreateNodeByClass(nodeType or self.nodeTypes[0])
        node.UnRegister(None)
        node.SetName(self._scene.GetUniqueNameByString(self.baseName or node.GetNodeTagName()))
        for kind, name, value in self._attributes:
            if node.IsA(kind):
                node.SetAttribute(name, "" if value is None else str(value))
        node = self._scene.AddNode(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self._addedByUserAction.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        """What *Delete current* does."""
        if self._current is not None:
            self._aboutToBeRemoved.emit(self._current)
            self._scene.RemoveNode(self._current)

    def renameCurrentNode(self) -> None:
        """What *Rename current* does."""
        name = QInputDialog.getText(self, "Rename", "New name:")
        if name:
            self._current.SetName(name)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """Several nodes to choose; drawn as the list that opens in Slicer."""

    CPP = True
    checkedNodesChanged = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        self._checked: set[str] = set()
        super().__init__(parent)

    def _makeView(self) -> QWidget:
        view = QListWidget(self)
        view.setMaximumHeight(90)
        view.connect("itemChanged(QListWidgetItem*)", self._onItemChanged)
        return view

    def _showEntries(self, entries: list[tuple[str, Any]]) -> None:
        self._view.clear()
        self._checked &= {node.GetID() for _text, node in entries if node is not None}
        for text, node in entries:
            item = QListWidgetItem(text, self._view)
            item.setData(Qt.ItemDataRole.UserRole, node.GetID())
            isChecked = node.GetID() in self._checked
            item.setCheckState(Qt.CheckState.Checked if isChecked else Qt.CheckState.Unchecked)

    def _onItemChanged(self, item: QListWidgetItem) -> None:
        nodeID = item.data(Qt.ItemDataRole.UserRole)
        isChecked = int(item.checkState()) == Qt.CheckState.Checked.value
        if isChecked != (nodeID in self._checked):
            (self._checked.add if isChecked else self._checked.discard)(nodeID)
            self.checkedNodesChanged.emit()

    def checkedNodes(self) -> list[Any]:
        """The nodes with a check mark."""
        return [node for node in self._nodes if node.GetID() in self._checked]

    def uncheckedNodes(self) -> list[Any]:
        """The others."""
        return [node for node in self._nodes if node.GetID() not in self._checked]

    def allChecked(self) -> bool:
        """Whether all have one."""
        return not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        """Whether none has one."""
        return not self.checkedNodes()

    def checkState(self, node: Any) -> Any:
        """A node's check mark."""
        return (
            Qt.CheckState.Checked
            if node is not None and node.GetID() in self._checked
            else Qt.CheckState.Unchecked
        )

    def setCheckState(self, node: Any, state: Any) -> None:
        """Sets a node's check mark."""
        isChecked = int(getattr(state, "value", state)) == Qt.CheckState.Checked.value
        if node in self._nodes and isChecked != (node.GetID() in self._checked):
            (self._checked.add if isChecked else self._checked.discard)(node.GetID())
            self._show()
            self.checkedNodesChanged.emit()

    def check(self, node: Any) -> None:
        """Checks a node."""
        self.setCheckState(node, Qt.CheckState.Checked)

    def uncheck(self, node: Any) -> None:
        """Takes a node's check mark away."""
        self.setCheckState(node, Qt.CheckState.Unchecked)
