"""*Versions*: every model of the project, which one is in use, and the way back."""

from __future__ import annotations

from pathlib import Path

from skcdf.errors import SkcdfError

from ..RunOutcomes import runOfVersion
from ..Texts import _
from ..VersionRows import VersionRow, versionHead, versionRows
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .Lines import showLine
from .ReportLink import openReport
from .TeachBox import TeachBox, failureWords
from .TextTable import fillTable


class VersionsBox(TeachBox):
    """A list, and what can be done with the chosen line."""

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, "VersionsBox", workspace, dialogs)
        self._rows: tuple[VersionRow, ...] = ()
        self.ui.table.connect("itemSelectionChanged()", self._onSelected)
        self.ui.useButton.connect("clicked()", self.onUse)
        self.ui.rollBackButton.connect("clicked()", self.onRollBack)
        self.ui.reportButton.connect("clicked()", self.onReport)
        self.ui.group.collapsed = True
        self.hear(workspace.modelsChanged, self._onStateChanged)
        self.hear(workspace.projectChanged, self._onStateChanged)
        self.update()

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self.update()

    def onUse(self) -> None:
        """Puts the chosen version into use."""
        with self.errorsSaid():
            row = self._requireRow()
            self.workspace.teaching.promote(row.version.reference)
            self.takeModelInUse()
            self.say(_("{version} is in use now.").format(version=row.version.reference))

    def onRollBack(self) -> None:
        """Puts the version into use that was in use before."""
        with self.errorsSaid():
            self.workspace.teaching.rollBack()
            self.takeModelInUse()
            used = next((row.version for row in self._rows if row.version.state == "promoted"), None)
            self.say(_("{version} is in use again.").format(version=used.reference if used else ""))

    def onReport(self) -> None:
        """Opens the report of the training that made the chosen version."""
        with self.errorsSaid():
            version, project = self._requireRow().version, self.workspace.project
            run = runOfVersion(project, version.name, version.version) if project is not None else None
            openReport(run.report if run is not None else None)

    def update(self) -> None:
        """Shows the versions as they are now; the chosen line stays chosen."""
        chosen = self._chosen()
        reference = chosen.version.reference if chosen is not None else ""
        self._rows = ()
        project = self.workspace.project
        if project is not None:
            try:
                self._rows = versionRows(project)
            except SkcdfError as error:
                self.say(failureWords(error))
        blocked = self.ui.table.blockSignals(True)
        head = versionHead()
        fillTable(self.ui.table, head, [row.cells for row in self._rows], stretched=len(head) - 1)
        for number, row in enumerate(self._rows):
            if row.version.reference == reference:
                self.ui.table.selectRow(number)
        self.ui.table.blockSignals(blocked)
        self.ui.table.setVisible(bool(self._rows))
        self._onSelected()

    def _onSelected(self) -> None:
        ui, row = self.ui, self._chosen()
        if not self._rows:
            text = _("There is no version yet: a training makes the first one.")
        elif row is None:
            text = _("Choose a version to use it or to open its report.")
        else:
            text = f"{row.version.reference}: {row.details or row.cells[1]}"
        showLine(ui.detailsLabel, text)
        for name in ("useButton", "rollBackButton", "reportButton"):
            getattr(ui, name).setVisible(bool(self._rows))
        ui.useButton.enabled = row is not None and row.version.state != "promoted"
        # A version is retired when another one takes its place: without one there is nothing to go back to.
        ui.rollBackButton.enabled = any(each.version.state == "retired" for each in self._rows)
        ui.reportButton.enabled = row is not None

    def _chosen(self) -> VersionRow | None:
        rows = {index.row() for index in self.ui.table.selectedIndexes()}
        number = min(rows, default=-1)
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def _requireRow(self) -> VersionRow:
        row = self._chosen()
        if row is None:
            raise SkcdfError(_("No version is chosen."), _("Click one in the list."))
        return row

    def _onStateChanged(self) -> None:
        """Another model may be in use: what was said of the one before holds no more."""
        self.say("")
        self.update()
