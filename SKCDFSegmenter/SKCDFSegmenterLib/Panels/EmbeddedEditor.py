"""Slicer's Segment Editor inside the panel, and its manners: what it takes hold of it lets go again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

SINGLETON_TAG = "SKCDFSegmenter"
UNDO_STATES = 10


class EmbeddedEditor(VTKObservationMixin):
    """The editor's widget, made when it is first needed: it loads all effects, which takes a moment.

    Its shortcuts are single keys of the whole window, and its effects follow the mouse in all views: both are its own
    only between `activate` and `deactivate`.

    Args:
        layout: where it goes.
        onEffect: called when the user has taken up a tool or put it down, or chosen another segment.
    """

    def __init__(self, layout: Any, onEffect: Callable[[], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._layout, self._onEffect = layout, onEffect
        self._active = False
        self._parameters: Any = None
        self.widget: Any = None

    @property
    def active(self) -> bool:
        """Whether shortcuts and effects work."""
        return self._active

    def activate(self) -> None:
        """The user can see it: from now on its shortcuts work."""
        if self._active:
            return
        if self.widget is None:
            self._make()
        self._active = True
        self.widget.turnOffLightboxes()  # it cannot draw in views that show several slices
        self.widget.installKeyboardShortcuts()
        self._bindParameters()
        self.widget.updateWidgetFromMRML()

    def deactivate(self) -> None:
        """The user has turned away: no effect, no shortcut, nothing observed in the views."""
        if not self._active:
            return
        self._active = False
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()
        self.removeObservers()
        self._parameters = None

    def show(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
    ) -> None:
        """Takes a segmentation to edit, and the scan below it."""
        if self.widget is None or not self._active:
            return
        if self.widget.segmentationNode() is not segmentationNode:
            self.widget.setActiveEffect(None)
            self.widget.setSegmentationNode(segmentationNode)
        if volumeNode is not None and self.widget.sourceVolumeNode() is not volumeNode:
            self.widget.setSourceVolumeNode(volumeNode)

    def select(self, segmentID: str) -> None:
        """Chooses the segment that the effects change."""
        if self.widget is not None and self._active:
            self.widget.setCurrentSegmentID(segmentID)

    @property
    def effectActive(self) -> bool:
        """Whether a tool is in the user's hand."""
        node = None if self.widget is None else self.widget.mrmlSegmentEditorNode()
        return node is not None and bool(node.GetActiveEffectName())

    @property
    def segmentID(self) -> str:
        """The segment that the effects change; empty: none."""
        return "" if self.widget is None else self.widget.currentSegmentID() or ""

    def putDown(self) -> None:
        """Takes the tool out of the user's hand."""
        if self.widget is not None:
            self.widget.setActiveEffect(None)

    def remember(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
        """Makes what is about to happen to a segmentation one step that the editor's own *Undo* takes back.

        Without it, *Undo* after a run would take back the run together with the stroke before it.
        """
        if self.widget is not None and self.widget.segmentationNode() is segmentationNode:
            self.widget.saveStateForUndo()

    def sceneClosing(self) -> None:
        """Lets go of the scene."""
        self.deactivate()
        if self.widget is not None:
            self.widget.setSegmentationNode(None)
            self.widget.removeViewObservations()

    def _make(self) -> None:
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.maximumNumberOfUndoStates = UNDO_STATES
        # The section has its own selector, and knows the scan.
        self.widget.segmentationNodeSelectorVisible = False
        self.widget.sourceVolumeNodeSelectorVisible = False
        self._bindParameters()  # before the scene: what is preselected then is kept in them
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._layout.addWidget(self.widget)

    def _bindParameters(self) -> None:
        """Its own parameters: those of the module Segment Editor stay as they are."""
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(SINGLETON_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(SINGLETON_TAG)
            node = scene.AddNode(node)
        self.widget.setMRMLSegmentEditorNode(node)
        if node is not self._parameters:
            self.removeObservers()
            self._parameters = node
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParameters)

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        self._onEffect()
