"""The panel as a whole: its sections from top to bottom, and the timer that keeps children to their word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

from ..Workspace import Workspace
from .AdvancedPanel import AdvancedPanel
from .CorrectPanel import CorrectPanel
from .Dialogs import Dialogs
from .Installer import Installer
from .ProjectPanel import ProjectPanel
from .QuitGuard import QuitGuard
from .Section import Section
from .SegmentPanel import SegmentPanel
from .TeachPanel import TeachPanel

TICK_MS = 200


class MainPanel:
    """Project, Segment, Correct, Teach, Advanced.

    Args:
        uiFolder: the folder of the ``.ui`` files.
        workspace: does the work.
        dialogs: questions to the user.
    """

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs | None = None) -> None:
        self.workspace, self.dialogs = workspace, dialogs or Dialogs()
        self.widget = slicer.util.loadUI(str(Path(uiFolder) / "SKCDFSegmenter.ui"))
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        parts = (uiFolder, workspace, self.dialogs)
        self.installer = Installer(workspace, self.dialogs)
        self.project = ProjectPanel(*parts, self.installer)
        self.segment = SegmentPanel(*parts)
        self.correct = CorrectPanel(*parts)
        self.teach = TeachPanel(*parts)
        self.advanced = AdvancedPanel(*parts, self.installer)
        self.sections: tuple[Section, ...] = (
            self.project,
            self.segment,
            self.correct,
            self.teach,
            self.advanced,
        )
        for section in self.sections:
            self.ui.sections.layout().addWidget(section.widget)
        self._quitGuard = QuitGuard(workspace, self.dialogs)
        self._timer = qt.QTimer(self.widget)
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self.workspace.tick)
        self._timer.start()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Shows the parameters of a scene, or none."""
        for section in self.sections:
            section.setParameterNode(parameterNode)
        self.parametersChanged()

    def parametersChanged(self, caller: Any = None, event: Any = None) -> None:
        """Called after a parameter has changed."""
        for section in self.sections:
            section.parametersChanged()

    def enter(self) -> None:
        """Called each time the user opens the module."""
        for section in self.sections:
            section.enter()

    def exit(self) -> None:
        """Called each time the user opens another module."""
        for section in self.sections:
            section.exit()

    def sceneClosing(self) -> None:
        """Called just before the scene is closed."""
        for section in self.sections:
            section.sceneClosing()

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded; ends all children."""
        self._timer.stop()
        self.installer.cleanup()
        for section in self.sections:
            section.cleanup()
        self._quitGuard.cleanup()
        self.workspace.shutdown()
