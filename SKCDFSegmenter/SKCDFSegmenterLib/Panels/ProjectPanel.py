"""The panel's head: the project that is open, what is missing on this computer, and the ways to begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt

from skcdf.errors import SkcdfError

from ..NewProject import NewProject
from ..ProjectWords import projectCounts, projectTitle, projectWarning
from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .ImportDialog import ImportDialog
from .Installer import Installer
from .Lines import showLine
from .NewProjectDialog import NewProjectDialog
from .PhantomStart import PhantomStart
from .Section import Section
from .SetUpLine import SetUpLine

LAST_PROJECT = "SKCDFSegmenter/LastProject"


class ProjectPanel(Section):
    """Opens, makes and closes projects, and starts imports; the set-up has a class of its own.

    Args:
        uiFolder: the folder of the ``.ui`` files.
        workspace: does the work.
        dialogs: questions to the user.
        installer: the panel's one installer.
    """

    def __init__(
        self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs, installer: Installer
    ) -> None:
        super().__init__(uiFolder, "ProjectPanel", workspace, dialogs)
        self._uiFolder = uiFolder
        self.setUp = SetUpLine(self.ui, workspace, dialogs, installer)
        self._phantom = PhantomStart(workspace, dialogs, self._tell)
        self.newProjectDialog: NewProjectDialog | None = None
        self.importDialog: ImportDialog | None = None
        self._refused = ""
        """A project folder of the scene that could not be opened; it is tried once."""
        self._isBeforeSegment = False
        """Whether the panel points to Segment."""
        self.ui.phantomButton.connect("clicked()", self._tryPhantom)
        for button in (self.ui.openButton, self.ui.openOtherButton):
            button.connect("clicked()", self._open)
        for button in (self.ui.newButton, self.ui.newOtherButton):
            button.connect("clicked()", self._new)
        self.ui.reopenButton.connect("clicked()", self._reopen)
        self.ui.importButton.connect("clicked()", self._import)
        self.ui.closeButton.connect("clicked()", self._close)
        workspace.projectChanged.connect(self._onProjectChanged)
        workspace.poolChanged.connect(self._showCounts)
        workspace.trainingChanged.connect(self._onTrainingChanged)
        self._waiting = False
        """Whether it says that a training is in the way."""
        self._show()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Opens the project of the scene; a scene without one gets the project that is open."""
        super().setParameterNode(parameterNode)
        self._refused = ""

    def parametersChanged(self) -> None:
        """Follows a scene or a script that names another project folder."""
        if self.parameterNode is None:
            return
        if self._isBeforeSegment and self.parameterNode.outputSegmentation is not None:
            self._show()  # that step is done
        wanted, opened = self.parameterNode.projectFolder, self._openFolder()
        if not wanted:
            self.parameterNode.projectFolder = opened
        elif wanted not in (opened, self._refused):
            self._refused = wanted
            self._tryToOpen(wanted)

    def enter(self) -> None:
        """Looks once, a moment later, whether everything is there that a computation needs."""
        self.setUp.enter()

    def exit(self) -> None:
        """Windows go with the module; an import that runs goes on."""
        if self.newProjectDialog is not None:
            self.newProjectDialog.close()

    def sceneClosing(self) -> None:
        """Segmentations that were about to be imported are gone."""
        if self.importDialog is not None:
            self.importDialog.sceneClosing()

    def cleanup(self) -> None:
        """Lets go of the workspace and closes all windows."""
        self.workspace.projectChanged.disconnect(self._onProjectChanged)
        self.workspace.poolChanged.disconnect(self._showCounts)
        self.workspace.trainingChanged.disconnect(self._onTrainingChanged)
        self.setUp.cleanup()
        for window in (self.newProjectDialog, self.importDialog):
            if window is not None:
                window.cleanup()
        self.newProjectDialog = self.importDialog = None

    def _openFolder(self) -> str:
        project = self.workspace.project
        return "" if project is None else str(project.root)

    def _onProjectChanged(self) -> None:
        folder = self._openFolder()
        if folder:
            qt.QSettings().setValue(LAST_PROJECT, folder)
        if self.parameterNode is not None and self.parameterNode.projectFolder != folder:
            self.parameterNode.projectFolder = folder
        self._show()

    def _show(self, message: str = "") -> None:
        project = self.workspace.project
        self.ui.emptyBox.visible = project is None
        for widget in (self.ui.openBox, self.ui.folderBox, self.ui.countsLabel):
            widget.visible = project is not None
        if project is None:
            self.ui.projectLabel.text = _(
                "No project folder is open. It keeps your cases, models and trainings in one place."
            )
            last = str(qt.QSettings().value(LAST_PROJECT) or "")
            self.ui.reopenButton.visible = bool(last)
            self.ui.reopenButton.text = _("Open {name} again").format(name=Path(last).name)
            self.ui.reopenButton.toolTip = _("Open the project that was open last: {folder}").format(
                folder=last
            )
        else:
            self.ui.projectLabel.text = projectTitle(project)
            self.ui.folderEdit.text = str(project.root)
            self._showCounts()
        self._tell(message or ("" if project is None else projectWarning(project)))

    def _showCounts(self) -> None:
        project = self.workspace.project
        self.ui.countsLabel.text = "" if project is None else projectCounts(project)

    def _onTrainingChanged(self) -> None:
        if self._waiting and not self.workspace.teaching.running:
            self._show()

    def _tell(self, text: str) -> None:
        self._isBeforeSegment = False
        self._waiting = False
        showLine(self.ui.warningLabel, text)

    def _mayChange(self) -> bool:
        """Whether another project may take the place of this one; says so where not."""
        if not self.workspace.teaching.running:
            return True
        self._tell(_("A training is running in this project. Wait for its end, or stop it under Teach."))
        self._waiting = True
        return False

    def _tryToOpen(self, folder: str) -> None:
        if not self._mayChange():
            return
        try:
            self.workspace.openProject(folder)
            self._refused = ""
        except SkcdfError as error:
            self._show(f"{error.message} {error.hint}")

    def _open(self) -> None:
        if self._mayChange():
            project = self.workspace.project
            start = "" if project is None else project.root.parent
            folder = self.dialogs.chooseFolder(_("Open a project folder"), start)
            if folder:
                self._tryToOpen(folder)

    def _reopen(self) -> None:
        self._tryToOpen(str(qt.QSettings().value(LAST_PROJECT) or ""))

    def _new(self) -> None:
        if not self._mayChange():
            return
        if self.newProjectDialog is None:
            self.newProjectDialog = NewProjectDialog(self._uiFolder, self.dialogs, self._create)
        self.newProjectDialog.open()

    def _create(self, plan: NewProject) -> None:
        if self._mayChange():
            self.workspace.createProject(plan.folder, plan.labelSet, plan.modality, plan.name)

    def _close(self) -> None:
        if self._mayChange():
            self.workspace.closeProject()

    def _import(self) -> None:
        if self.importDialog is None:
            self.importDialog = ImportDialog(self._uiFolder, self.workspace, self.dialogs)
        self.importDialog.open()

    def _tryPhantom(self) -> None:
        if self.parameterNode is None or not self._mayChange():
            return
        # The application goes on while the phantom is made, and so do the other sections; here no second phantom is
        # begun meanwhile, and no other project opened.
        self.ui.projectSection.enabled = False
        try:
            with self.errorsShown():
                if self._phantom.start(self.parameterNode):
                    self._tell(_("The phantom is loaded. The next step is Segment, below."))
                    self._isBeforeSegment = True
        finally:
            self.ui.projectSection.enabled = True
