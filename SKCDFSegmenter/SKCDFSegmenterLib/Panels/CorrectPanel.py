"""Step 2: look where the model was unsure, correct it, and say what is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

from ..InputChoice import ScreenWatch
from ..MissingOrgan import addOrgan, organTitle
from ..PlaceTour import PlaceTour
from ..ProjectWords import breakable
from ..ScanSegmentations import offerWords, segmentationsOf
from ..Snapshot import canRestore, replacing, restorePrevious
from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .EmbeddedEditor import EmbeddedEditor
from .Section import Section
from .StatesTable import StatesTable

SETTLE_MS = 400
REFERENCE_VOLUME = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()


class CorrectPanel(Section, VTKObservationMixin):
    """The section *2. Correct*."""

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        Section.__init__(self, uiFolder, "CorrectPanel", workspace, dialogs)
        VTKObservationMixin.__init__(self)
        self._entered = False
        self._segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        self._tour = PlaceTour(None)
        self._editor = EmbeddedEditor(self.ui.editorPlace.layout(), self._onEffect)
        self._table = StatesTable(self.ui, self._showPlace)
        self._unseen = True  # whether voxels may have changed since they were looked at
        self._timer = qt.QTimer(self.widget)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.connect("timeout()", self._onSettled)
        self._watch = ScreenWatch(self._onScene)
        self.ui.correctCollapsible.connect("contentsCollapsed(bool)", self._onCollapsed)
        self.ui.offeredButton.connect("clicked()", self._takeOffered)
        self.ui.nextPlaceButton.connect("clicked()", self._goOn)
        self.ui.previousPlaceButton.connect("clicked()", self._goBack)
        self.ui.addOrganButton.connect("clicked()", self._addOrgan)
        self.ui.restoreButton.connect("clicked()", self._restore)
        replacing.connect(self._editor.remember)
        self._show()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Binds the section to the scene's parameters."""
        super().setParameterNode(parameterNode)
        if parameterNode is not None and self._entered:
            self._watch.start()  # it let go of the scene that was closed

    def parametersChanged(self) -> None:
        """Takes the segmentation of the parameters."""
        if self.parameterNode is None:  # the module is left, or the scene closes: `sceneClosing` lets go
            self._editor.deactivate()
            return
        node = self.parameterNode.outputSegmentation
        if node is not self._segmentationNode:
            self._take(node)
        self._activate()

    def enter(self) -> None:
        """The module was opened."""
        self._entered = True
        self._watch.start()
        self._activate()

    def exit(self) -> None:
        """Another module was opened: keys and mouse are its own again."""
        self._entered = False
        self._watch.stop()
        self._timer.stop()
        self._editor.deactivate()

    def sceneClosing(self) -> None:
        """Lets go of the scene."""
        self._watch.stop()
        self._timer.stop()
        self._editor.sceneClosing()
        self._take(None)

    def cleanup(self) -> None:
        """The application closes, or the module is loaded again."""
        replacing.disconnect(self._editor.remember)
        self._watch.stop()
        self._timer.stop()
        self._editor.deactivate()
        self._take(None)
        self.setParameterNode(None)

    def _take(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Another segmentation, or none."""
        self.removeObservers()
        self._segmentationNode = segmentationNode
        self._tour = PlaceTour(segmentationNode)
        if segmentationNode is not None:
            kind = slicer.vtkSegmentation
            self.addObserver(segmentationNode, kind.SourceRepresentationModified, self._onVoxels)
            for event in (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified):
                self.addObserver(segmentationNode, event, self._onSegments)
        self._table.setSegmentation(segmentationNode)
        self._show()

    def _activate(self) -> None:
        """The editor works while the user sees it and there is something to edit."""
        visible = (
            self._entered and self.parameterNode is not None and not self.ui.correctCollapsible.collapsed
        )
        if not visible or self._segmentationNode is None:
            self._editor.deactivate()
            self._showEmpty()
            return
        if not self._editor.active:
            with self.errorsShown():
                self._editor.activate()
            self._unseen = True
            self._timer.start()
        self._editor.show(self._segmentationNode, self._volume())
        self._show()

    def _volume(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The scan below the segmentation."""
        reference = self._segmentationNode.GetNodeReference(REFERENCE_VOLUME)
        return reference if reference is not None else self.parameterNode.inputVolume

    def _show(self) -> None:
        """Says what there is to correct."""
        node = self._segmentationNode
        self.ui.correctBox.setVisible(node is not None)
        self._showEmpty()
        self._showPlace()
        possible = canRestore(node)
        self.ui.restoreButton.enabled = possible
        self.ui.restoreLabel.text = (
            _("Brings back what the last run into this segmentation replaced; once more takes that back.")
            if possible
            else _("No run has replaced anything in this segmentation.")
        )

    def _showEmpty(self) -> None:
        """Says what comes first where nothing is chosen, and offers organs that the scan has already."""
        isEmpty = self._segmentationNode is None
        volume = self.parameterNode.inputVolume if isEmpty and self.parameterNode is not None else None
        offered = segmentationsOf(volume)
        text = _(
            "There is nothing to correct yet. Segment a scan (1. Segment), or choose a segmentation above."
        )
        self.ui.emptyLabel.text = breakable(offerWords(volume, offered) if offered else text)
        self.ui.emptyLabel.setVisible(isEmpty)
        self.ui.offeredButton.setVisible(len(offered) == 1)

    def _takeOffered(self) -> None:
        offered = segmentationsOf(self.parameterNode.inputVolume)
        if offered:
            self.parameterNode.outputSegmentation = offered[0]

    def _showPlace(self) -> None:
        self.ui.placeLabel.text = breakable(self._tour.words())
        self.ui.nextPlaceButton.enabled = self._tour.canGoOn
        self.ui.previousPlaceButton.enabled = self._tour.canGoBack
        missing = self._tour.missingOrgan
        self.ui.addOrganButton.setVisible(bool(missing))
        if missing:
            self.ui.addOrganButton.text = _("Add {organ} to draw it").format(organ=organTitle(missing))

    def _goOn(self) -> None:
        self._arrive(self._tour.goOn())

    def _goBack(self) -> None:
        self._arrive(self._tour.goBack())

    def _arrive(self, place: Any) -> None:
        if place is not None and self._segmentationNode.GetSegmentation().GetSegment(place.organ) is not None:
            self._editor.select(place.organ)
        self._showPlace()

    def _addOrgan(self) -> None:
        with self.errorsShown():
            self._editor.select(addOrgan(self._segmentationNode, self._tour.missingOrgan))
        self._table.setSegmentation(self._segmentationNode)
        self._showPlace()

    def _restore(self) -> None:
        with self.errorsShown():
            self._editor.putDown()
            restorePrevious(self._segmentationNode)
        self._look()

    def _look(self) -> None:
        self._unseen = False
        self._table.look()
        self._show()

    def _onCollapsed(self, collapsed: bool) -> None:
        self._activate()

    def _onVoxels(self, caller: Any = None, event: Any = None) -> None:
        self._unseen = True
        self._timer.start()

    def _onSegments(self, caller: Any = None, event: Any = None) -> None:
        self._timer.start()

    def _onScene(self) -> None:
        if self._segmentationNode is None:  # there may be organs to offer now
            self._timer.start()

    def _onEffect(self) -> None:
        self._timer.start()

    def _onSettled(self) -> None:
        """Some time after the last stroke, or after a tool was taken up or put down."""
        if self._segmentationNode is None:
            self._showEmpty()
        if self._segmentationNode is None or not self._editor.active:
            return
        if self._unseen and not self._editor.effectActive:
            self._look()
            return
        if self._unseen:  # looking takes a moment, and the user is about to go on
            self._table.touched(self._editor.segmentID)
        self._table.setSegmentation(self._segmentationNode)
        self._show()
