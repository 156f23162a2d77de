"""The buttons *Import model* and *Export model*."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..CommandRun import CommandOutcome, CommandRun
from ..ModelCatalogue import findChoice
from ..ModelFiles import ENDING, exportArguments, importArguments, modelInFile, proposedName
from ..ProjectWords import sizeInWords
from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .Lines import showLine


class ModelExchange:
    """Works in a child process; the panel says in a line how it goes.

    Args:
        ui: the section's widgets.
        workspace: its models and its project.
        dialogs: chooses files.
        guarded: runs an action and shows its error.

    Attributes:
        parameterNode: says which model is chosen; ``None`` while the module is closed.
    """

    def __init__(
        self, ui: Any, workspace: Workspace, dialogs: Dialogs, guarded: Callable[[Callable[[], None]], None]
    ) -> None:
        self._ui, self._workspace, self._dialogs, self._guarded = ui, workspace, dialogs, guarded
        self.parameterNode: Any = None
        self._run = CommandRun(workspace.command, workspace.makeChild)
        ui.importModelButton.connect("clicked()", self._import)
        ui.exportModelButton.connect("clicked()", self._export)
        workspace.projectChanged.connect(self._show)
        self._tell("")

    def cleanup(self) -> None:
        """Ends what runs, and lets go of the workspace."""
        self._workspace.projectChanged.disconnect(self._show)
        self._run.shutdown()

    def _show(self) -> None:
        busy = self._run.running
        self._ui.importModelButton.enabled = not busy and self._workspace.project is not None
        self._ui.exportModelButton.enabled = not busy

    def _tell(self, text: str) -> None:
        showLine(self._ui.modelLabel, text)
        self._show()

    def _import(self) -> None:
        self._guarded(self._startImport)

    def _startImport(self) -> None:
        project = self._workspace.pool.requireProject()
        files = self._dialogs.chooseFiles(_("Model to import"), _("Models (*.zip)"))
        if not files:
            return
        bundle = modelInFile(files[0])
        note = "" if bundle.label_set.names == project.pool().label_set.names else _otherOrgans()

        def end(outcome: CommandOutcome) -> None:
            if outcome.error is not None:
                self._tell(f"{outcome.error.message} {outcome.error.hint}")
                return
            text = _("{name} is a candidate now: choose it under Segment to try it.")
            self._tell(" ".join(filter(None, (text.format(name=bundle.name), note))))
            self._workspace.modelsChanged.emit()

        self._run.start(importArguments(project, files[0], bundle.name), end)
        self._tell(_("Checking and importing {name} …").format(name=bundle.name))

    def _export(self) -> None:
        self._guarded(self._startExport)

    def _startExport(self) -> None:
        reference = "" if self.parameterNode is None else self.parameterNode.modelReference
        choice = findChoice(self._workspace.models(), reference)
        if choice is None:
            self._tell(_("There is no model to export."))
            return
        title = _("Export {model}").format(model=choice.title)
        chosen = self._dialogs.chooseSaveFile(title, proposedName(choice), _("Models (*.zip)"))
        if not chosen:
            return
        file = Path(chosen if chosen.endswith(ENDING) else chosen + ENDING)

        def end(outcome: CommandOutcome) -> None:
            if outcome.error is not None:
                self._tell(f"{outcome.error.message} {outcome.error.hint}")
                return
            size = sizeInWords(file.stat().st_size)
            self._tell(_("{file} is written, {size}.").format(file=file, size=size))

        self._run.start(exportArguments(choice, file), end)
        self._tell(_("Exporting {model} …").format(model=choice.title))


def _otherOrgans() -> str:
    return _("It knows other organs than this project, so it cannot be the start of its trainings.")
