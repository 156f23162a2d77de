"""Section 3, *Teach*: the pool, what to correct next, training, and whether the new model is better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skcdf.errors import SkcdfError

from ..ResultWords import errorWords
from ..TeachingWords import countsWords
from ..Texts import _
from ..Workspace import Workspace
from .CasesBox import CasesBox
from .Dialogs import Dialogs
from .Lines import showLine
from .OutcomeBox import OutcomeBox
from .ReviewBox import ReviewBox
from .Section import Section
from .TrainingBox import TrainingBox
from .UnlabelledBox import UnlabelledBox
from .VersionsBox import VersionsBox


class TeachPanel(Section):
    """Puts the parts together and counts the pool's cases.

    Args:
        uiFolder: the folder of the ``.ui`` files.
        workspace: does the work.
        dialogs: questions to the user.
    """

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, "TeachPanel", workspace, dialogs)
        parts = (uiFolder, workspace, dialogs)
        self.cases = CasesBox(*parts)
        self.unlabelled = UnlabelledBox(*parts)
        self.review = ReviewBox(*parts)
        self.training = TrainingBox(*parts)
        self.outcome = OutcomeBox(*parts)
        self.versions = VersionsBox(*parts)
        self.boxes = (
            self.cases,
            self.unlabelled,
            self.review,
            self.training,
            self.outcome,
            self.versions,
        )
        for box in self.boxes:
            self.ui.boxes.layout().addWidget(box.widget)
        workspace.projectChanged.connect(self._showProject)
        workspace.poolChanged.connect(self._showCounts)
        self._showProject()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Binds all parts to the scene's parameters, or to none."""
        super().setParameterNode(parameterNode)
        for box in self.boxes:
            box.setParameterNode(parameterNode)

    def parametersChanged(self) -> None:
        """Called after a parameter has changed, or the node itself."""
        for box in self.boxes:
            box.parametersChanged()

    def enter(self) -> None:
        """Called each time the user opens the module: other programs may have changed the pool meanwhile."""
        self._showCounts()
        for box in self.boxes:
            box.enter()

    def exit(self) -> None:
        """Called each time the user opens another module."""
        for box in self.boxes:
            box.exit()

    def sceneClosing(self) -> None:
        """Called just before the scene is closed."""
        for box in self.boxes:
            box.sceneClosing()

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded."""
        self.workspace.projectChanged.disconnect(self._showProject)
        self.workspace.poolChanged.disconnect(self._showCounts)
        for box in self.boxes:
            box.cleanup()

    def _showProject(self) -> None:
        project = self.workspace.project
        for box in (self.unlabelled, self.review, self.training, self.versions):
            box.widget.setVisible(project is not None)
        self._showCounts()

    def _showCounts(self) -> None:
        project = self.workspace.project
        if project is None:
            showLine(self.ui.countsLabel, "")
            showLine(
                self.ui.hintLabel,
                _(
                    "No project folder is open. Open or create one at the top of the panel; adding the first case "
                    "asks for one, too."
                ),
            )
            return
        try:
            counts = project.counts()
        except SkcdfError as error:
            showLine(self.ui.countsLabel, "")
            showLine(self.ui.hintLabel, errorWords(error))
            return
        isEmpty = not any(vars(counts).values())
        hint = _("The pool is empty. Correct a segmentation in step 2, then add the case here.")
        showLine(self.ui.hintLabel, hint if isEmpty else "")
        showLine(self.ui.countsLabel, "" if isEmpty else countsWords(counts))
