"""*New model: better or not?*: before and after organ by organ, what is recommended, and the user's decision."""

from __future__ import annotations

from pathlib import Path

from skcdf.errors import SkcdfError

from ..ComparisonTable import comparisonTable
from ..RunOutcomes import RunOutcome
from ..Texts import _
from ..TrainingWords import nothingGainedAdvice, nothingGainedWords
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .Lines import showLine
from .ReportLink import openReport
from .TeachBox import TeachBox
from .TextTable import fillTable


class OutcomeBox(TeachBox):
    """Is there while a new model waits for a decision, and tells afterwards what was decided."""

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, "OutcomeBox", workspace, dialogs)
        self._shown: RunOutcome | None = None
        self.ui.useButton.connect("clicked()", self.onUse)
        self.ui.keepButton.connect("clicked()", self.onKeep)
        self.ui.reportButton.connect("clicked()", self.onReport)
        self.hear(workspace.modelsChanged, self._onStateChanged)
        self.hear(workspace.trainingChanged, self._onTrainingChanged)
        self.hear(workspace.projectChanged, self._onStateChanged)
        self.update()

    def onUse(self) -> None:
        """The new model becomes the one in use."""
        with self.errorsSaid():
            version = self._version()
            replaces = any(choice.state == "promoted" for choice in self.workspace.models())
            self.workspace.teaching.useCandidate()
            self.takeModelInUse()
            self.say(_usedWords(version, replaces))
        self.update()

    def onKeep(self) -> None:
        """The model in use stays."""
        with self.errorsSaid():
            candidate, version = self.workspace.teaching.candidate, self._version()
            self.workspace.teaching.keepOld()
            if candidate is not None and candidate.version:
                self.say(
                    _("The old model stays in use; {version} is a candidate under Versions.").format(
                        version=version
                    )
                )
        self.update()

    def onReport(self) -> None:
        """Opens the training's report."""
        candidate = self.workspace.teaching.candidate
        with self.errorsSaid():
            openReport(candidate.report if candidate is not None else None)

    def update(self) -> None:
        """Shows what the last training has brought, or nothing."""
        candidate = self.workspace.teaching.candidate
        ui, isThere = self.ui, candidate is not None
        for name in ("recommendationLabel", "keepButton", "reportButton"):
            getattr(ui, name).setVisible(isThere)
        for name in ("modelsLabel", "useButton"):
            getattr(ui, name).setVisible(candidate is not None and candidate.gained)
        if candidate is None:
            ui.table.setRowCount(0)
            showLine(ui.notesLabel, "")
        elif candidate is not self._shown:
            self._show(candidate)
        ui.table.setVisible(ui.table.rowCount > 0)
        self._shown = candidate
        self.widget.setVisible(isThere or bool(ui.statusLabel.text))

    def _show(self, candidate: RunOutcome) -> None:
        ui, comparison = self.ui, candidate.comparison
        self.say("")
        ui.table.setRowCount(0)
        showLine(ui.notesLabel, "")
        ui.reportButton.enabled = candidate.report is not None
        ui.keepButton.toolTip = (
            _("The model in use stays; the new one remains a candidate in the list of versions.")
            if candidate.version
            else _("The model in use stays.")
        )
        if not candidate.gained:
            showLine(ui.recommendationLabel, f"{nothingGainedWords(candidate)} {nothingGainedAdvice()}")
            return
        if comparison is None:
            showLine(
                ui.modelsLabel,
                _("{line} {version} is new.").format(line=candidate.line, version=candidate.version),
            )
            showLine(ui.recommendationLabel, _("Nothing was compared: the decision is yours alone."))
            return
        try:
            project = self.workspace.project
            labelSet = project.pool().label_set if project is not None else None
        except SkcdfError:
            labelSet = None
        table = comparisonTable(comparison, labelSet, f"{candidate.line} {candidate.version}")
        showLine(ui.modelsLabel, table.models)
        showLine(ui.recommendationLabel, table.recommendation)
        fillTable(ui.table, table.head, [row.cells for row in table.rows], table.tips)
        showLine(ui.notesLabel, "\n".join(f"• {note}" for note in table.notes))

    def _version(self) -> str:
        candidate = self.workspace.teaching.candidate
        return f"{candidate.line} {candidate.version}" if candidate is not None else ""

    def _onStateChanged(self) -> None:
        """Another model may be in use: what was said of the one before holds no more."""
        self.say("")
        self.update()

    def _onTrainingChanged(self) -> None:
        if self.workspace.teaching.running:
            self.say("")
        self.update()


def _usedWords(version: str, replaces: bool) -> str:
    """What is in use now, and the way back: a project's first model has replaced none that could be rolled back to."""
    used = _("{version} is in use now, and Segment takes it.").format(version=version)
    if replaces:
        return f"{used} " + _("Roll back, under Versions, brings the old one back.")
    return f"{used} " + _("Other models can be chosen in step 1.")
