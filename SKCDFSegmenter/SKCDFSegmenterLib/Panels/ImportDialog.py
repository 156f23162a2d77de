"""The window in which annotated cases are imported: choose, look at what would happen, decide, import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skcdf.errors import SkcdfError

from ..EngineWorker import Answer
from ..ImportDecisions import ImportDecisions
from ..ImportStaging import FILE_PATTERN
from ..ImportWords import blockerWords, progressWords, shortened, summaryWords
from ..Texts import _, plural
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .ImportSource import ImportSource
from .ImportTables import CasesTable, LabelsTable
from .Lines import showLine
from .Window import Window


class ImportDialog(Window):
    """Imports into the project that is open; the application goes on meanwhile.

    Args:
        uiFolder: the folder of the ``.ui`` files.
        workspace: does the work.
        dialogs: chooses files.
    """

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, "ImportDialog", _("Import annotated cases"), (780, 700))
        self._workspace, self._dialogs = workspace, dialogs
        self._source = ImportSource(self.ui.loadedTable, workspace.temporaryFolder, self._onTicked)
        self._labelsTable = LabelsTable(self.ui.labelsTable, self._onDecided)
        self._casesTable = CasesTable(self.ui.casesTable, self._onDecided)
        self._decisions = ImportDecisions()
        self._result: dict[str, Any] | None = None
        """Of the last check."""
        self._isCurrent = False
        """Whether nothing was decided since the last check."""
        self._request = 0
        """The check or import that runs; 0: none."""
        self._turn = 0
        """Counts what was asked, so that an answer to what nobody waits for any more is left alone."""
        self.ui.folderButton.connect("clicked()", self._chooseFolder)
        self.ui.filesButton.connect("clicked()", self._chooseFiles)
        self.ui.loadedButton.connect("clicked()", self._chooseLoaded)
        for checkBox in (self.ui.mergeCheckBox, self.ui.reviseCheckBox, self.ui.sidesCheckBox):
            checkBox.connect("toggled(bool)", self._onOption)
        self.ui.checkButton.connect("clicked()", self._check)
        self.ui.importButton.connect("clicked()", self._import)
        self.ui.cancelButton.connect("clicked()", self._cancel)
        self.ui.closeButton.connect("clicked()", self.close)
        workspace.projectChanged.connect(self.close)
        self._reset("")

    def closed(self) -> None:
        """Stops what runs; what is imported stays imported."""
        self._cancel()
        self._request, self._turn = 0, self._turn + 1
        self._source.clear()
        self._reset("")

    def sceneClosing(self) -> None:
        """Lets go of segmentations that are about to go."""
        if self._source.isLoaded and not self._request:
            self._source.clear()
            self._reset("")

    def cleanup(self) -> None:
        """Lets go of the workspace."""
        self._workspace.projectChanged.disconnect(self.close)
        super().cleanup()

    def _chooseFolder(self) -> None:
        folder = self._dialogs.chooseFolder(_("Folder with annotated cases"))
        if folder:
            self._source.takeFolder(folder)
            self._reset(str(folder))
            self._check()

    def _chooseFiles(self) -> None:
        pattern = _("Scans and their segmentations ({pattern})").format(pattern=FILE_PATTERN)
        files = self._dialogs.chooseFiles(_("Scans and their segmentations"), pattern)
        if not files:
            return
        try:
            self._source.takeFiles(files)
        except SkcdfError as error:
            self._reset("", f"{error.message} {error.hint}")
            return
        n = len(files)
        text = plural(_("{n} file from {folder}"), _("{n} files from {folder}"), n)
        self._reset(text.format(n=n, folder=Path(files[0]).parent))
        self._check()

    def _chooseLoaded(self) -> None:
        n = self._source.takeLoaded()
        text = _("Tick the segmentations to import, then press Check.")
        if not n:
            text = _("No segmentation is loaded that has voxels and belongs to a loaded scan.")
        self._reset(_("the segmentations that are loaded"), text)

    def _reset(self, source: str, text: str = "") -> None:
        self._decisions, self._result, self._isCurrent = ImportDecisions(), None, False
        self.ui.sourceEdit.text = source
        for checkBox in (self.ui.mergeCheckBox, self.ui.reviseCheckBox, self.ui.sidesCheckBox):
            checkBox.blockSignals(True)
            checkBox.checked = False
            checkBox.blockSignals(False)
        self._tell(text)
        self._show()

    def _tell(self, text: str, toolTip: str = "") -> None:
        showLine(self.ui.stateLabel, text)
        self.ui.stateLabel.toolTip = toolTip

    def _show(self) -> None:
        running, result = bool(self._request), self._result
        self.ui.chosenBox.visible = bool(self.ui.sourceEdit.text)
        self.ui.loadedTable.visible = self._source.isLoaded
        self.ui.resultBox.visible = result is not None
        self.ui.progressBar.visible = self.ui.cancelButton.visible = running
        self.ui.closeButton.visible = not running
        for widget in (self.ui.sourceBox, self.ui.resultBox, self.ui.loadedTable):
            widget.enabled = not running
        self.ui.checkButton.enabled = not running and not self._source.isEmpty and not self._isCurrent
        self.ui.checkButton.text = _("Check") if result is None else _("Check again")
        n = 0 if result is None else self._planned(result)
        self.ui.importButton.enabled = not running and self._isCurrent and n > 0
        text = plural(_("Import {n} case"), _("Import {n} cases"), n) if n else _("Import")
        self.ui.importButton.text = text.format(n=n)
        rows = [] if result is None else result["labels"]
        self.ui.mergeCheckBox.visible = bool(self._decisions.shared(rows))

    def _planned(self, result: dict[str, Any]) -> int:
        if result["blockers"]:
            return 0
        return sum(entry["action"] in ("add", "revise") for entry in result["entries"])

    def _onTicked(self) -> None:
        self._isCurrent = False
        self._show()

    def _onOption(self, _checked: bool) -> None:
        self._decisions.join = self.ui.mergeCheckBox.checked
        self._onDecided()

    def _onDecided(self) -> None:
        self._isCurrent = False
        self._tell(_("Something was changed: press Check again to see what would happen now."))
        self._show()

    def _check(self) -> None:
        self._ask(dryRun=True)

    def _import(self) -> None:
        self._ask(dryRun=False)

    def _ask(self, *, dryRun: bool) -> None:
        rows = [] if self._result is None else self._result["labels"]
        self._turn += 1
        turn, end = self._turn, self._onChecked if dryRun else self._onImported
        try:
            source = self._source.folder(self._decisions, isNew=dryRun)
            self._request = self._workspace.pool.importAnnotated(
                source,
                lambda answer: end(answer) if turn == self._turn else None,
                dryRun=dryRun,
                mapping=self._decisions.mapping(rows),
                revise=self.ui.reviseCheckBox.checked,
                acceptSides=self.ui.sidesCheckBox.checked,
                onEvent=lambda event: self._onEvent(event) if turn == self._turn else None,
            )
        except SkcdfError as error:
            self._tell(f"{error.message} {error.hint}")
            return
        self.ui.progressBar.setRange(0, 0)
        self._tell(_("Looking at every case …") if dryRun else _("Importing …"))
        self._show()

    def _cancel(self) -> None:
        if self._request:
            self._tell(_("Stopping …"))
            self._workspace.pool.cancel(self._request)

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            self.ui.progressBar.setRange(0, 100)
            self.ui.progressBar.value = round(100 * (event.get("fraction") or 0.0))
            self._tell(progressWords(event))

    def _onChecked(self, answer: Answer) -> None:
        self._request = 0
        result = answer.result
        if result is None:
            self._tellFailure(answer, _("The check was stopped. Nothing was written."))
        else:
            self._result, self._isCurrent = result, True
            labelSet = self._workspace.pool.requireProject().pool().label_set
            self._labelsTable.show(result["labels"], labelSet, self._decisions)
            self._casesTable.show(result["entries"], self._decisions, isDone=False)
            self._tellCheck(result)
        self._show()

    def _tellCheck(self, result: dict[str, Any]) -> None:
        labelSet = self._workspace.pool.requireProject().pool().label_set
        shared = [] if self._decisions.join else self._decisions.shared(result["labels"])
        lines = [summaryWords(result["entries"], isDone=False)]
        if result["blockers"]:
            titles = {label.name: label.title for label in labelSet.labels}
            lines = [_("Nothing can be imported yet."), *blockerWords(result, shared, titles)]
        lines += [_("Warning: {text}").format(text=text) for text in result["warnings"]]
        self._tell(shortened(lines), "\n".join(lines))

    def _onImported(self, answer: Answer) -> None:
        self._request, self._isCurrent = 0, False
        result = answer.result
        if result is None:
            self._tellFailure(
                answer, _("The import was stopped. Cases that are in stay; press Check again to go on.")
            )
        else:
            self._casesTable.show(result["entries"], self._decisions, isDone=True)
            self._tell(summaryWords(result["entries"], isDone=True))
            self._isCurrent, self._result = True, {**result, "entries": []}
        self._show()

    def _tellFailure(self, answer: Answer, stopped: str) -> None:
        error = answer.error
        self._tell(stopped if error is None else f"{error.message} {error.hint}")
