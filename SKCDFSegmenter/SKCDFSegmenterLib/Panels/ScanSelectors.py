"""Which scans to segment: one, preselected as the one on screen, or several in a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from ..InputChoice import ScreenWatch, isOnScreen, isSegmentable, volumeOnScreen
from ..Texts import _
from .Lines import showLine

SETTLE_MS = 150
"""Loading a scan changes all views several times."""


class ScanSelectors:
    """The row *Scan* and what it says about the views.

    Args:
        ui: the section's widgets.
        parent: owns the timer.
        onChange: called when the choice is another one.
    """

    def __init__(self, ui: Any, parent: Any, onChange: Callable[[], None]) -> None:
        self._ui, self._onChange = ui, onChange
        self._parameterNode: Any = None
        self._watch = ScreenWatch(self._screenChanged)
        self._timer = qt.QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.connect("timeout()", self.lookAtScreen)
        ui.severalCheckBox.connect("toggled(bool)", self._onSeveral)
        ui.scansSelector.connect("checkedNodesChanged()", onChange)
        ui.onScreenButton.connect("clicked()", self._takeFromScreen)
        self._showSelectors()

    @property
    def several(self) -> bool:
        """Whether several scans are wanted in a row."""
        return self._ui.severalCheckBox.checked

    @property
    def scans(self) -> tuple[slicer.vtkMRMLScalarVolumeNode, ...]:
        """The scans that are chosen."""
        if self.several:
            return tuple(node for node in self._ui.scansSelector.checkedNodes() if isSegmentable(node))
        volumeNode = None if self._parameterNode is None else self._parameterNode.inputVolume
        return (volumeNode,) if volumeNode is not None else ()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Takes the parameters of a scene, or none."""
        self._parameterNode = parameterNode
        self.lookAtScreen()

    def enter(self) -> None:
        """The module was opened."""
        self._watch.start()
        self.lookAtScreen()

    def exit(self) -> None:
        """Another module was opened, or the scene is about to close."""
        self._timer.stop()
        self._watch.stop()

    def reset(self) -> None:
        """Forgets what is not kept with the scene."""
        self._ui.severalCheckBox.checked = False

    def lookAtScreen(self) -> None:
        """Takes the scan on screen where none is chosen, and says so where another one is chosen."""
        if self._parameterNode is None:
            return
        shown = volumeOnScreen()
        if self._parameterNode.inputVolume is None and shown is not None:
            self._parameterNode.inputVolume = shown
        self.compareWithScreen()

    def compareWithScreen(self) -> None:
        """Says whether the slice views show another scan than the one that is chosen."""
        if self._parameterNode is None:
            return
        shown = volumeOnScreen()
        chosen = self._parameterNode.inputVolume
        differs = chosen is not None and shown is not None and chosen is not shown and not isOnScreen(chosen)
        self._ui.onScreenButton.enabled = differs
        isTold = differs and not self.several
        text = _("The slice views show another scan: {name}.").format(name=shown.GetName()) if isTold else ""
        showLine(self._ui.inputHint, text)

    def _screenChanged(self) -> None:
        if not (slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsBatchProcessing()):
            self._timer.start()

    def _takeFromScreen(self) -> None:
        shown = volumeOnScreen()
        if shown is not None and self._parameterNode is not None:
            self._parameterNode.inputVolume = shown
            self.compareWithScreen()

    def _onSeveral(self, several: bool) -> None:
        chosen = None if self._parameterNode is None else self._parameterNode.inputVolume
        if several and chosen is not None:
            self._ui.scansSelector.setCheckState(chosen, qt.Qt.Checked)
        self._showSelectors()
        self.compareWithScreen()
        self._onChange()

    def _showSelectors(self) -> None:
        self._ui.inputSelector.setVisible(not self.several)
        self._ui.onScreenButton.setVisible(not self.several)
        self._ui.scansSelector.setVisible(self.several)
        self._ui.inputLabel.text = _("Scans:") if self.several else _("Scan:")
        self._ui.inputLabel.setBuddy(self._ui.scansSelector if self.several else self._ui.inputSelector)
