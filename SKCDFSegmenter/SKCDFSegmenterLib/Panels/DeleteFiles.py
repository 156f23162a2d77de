"""Shows what a project's files are and how large, and deletes those that the user ticks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from skcdf.project import PARTS, Project

from ..ProjectWords import sizeInWords
from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .Lines import showLine

WHOLE = "project"


class DeleteFiles:
    """The box that opens below *Delete…*.

    Args:
        ui: the section's widgets.
        workspace: its project.
        dialogs: asks once more.
        guarded: runs an action and shows its error.
    """

    def __init__(
        self, ui: Any, workspace: Workspace, dialogs: Dialogs, guarded: Callable[[Callable[[], None]], None]
    ) -> None:
        self._ui, self._workspace, self._dialogs, self._guarded = ui, workspace, dialogs, guarded
        self._sizes: dict[str, int] = {}
        ui.sizesButton.connect("clicked()", self._open)
        ui.keepButton.connect("clicked()", self.close)
        ui.deleteButton.connect("clicked()", self._delete)
        ui.partsList.connect("itemChanged(QListWidgetItem*)", self._onTicked)
        self.close()

    def close(self) -> None:
        """Closes the box."""
        self._ui.deleteBox.visible = False

    def _project(self) -> Project:
        return self._workspace.pool.requireProject()

    def _open(self) -> None:
        self._guarded(self._list)

    def _list(self) -> None:
        self._sizes = self._project().size()
        titles = partTitles()
        # Qt tells of every tick, also of those that are made here.
        self._ui.partsList.blockSignals(True)
        self._ui.partsList.clear()
        for part in (*PARTS, WHOLE):
            self._ui.partsList.addItem(f"{titles[part]}: {sizeInWords(self._sizes[part])}")
            item = self._ui.partsList.item(self._ui.partsList.count - 1)
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setCheckState(qt.Qt.Unchecked)
        self._ui.partsList.blockSignals(False)
        showLine(self._ui.filesLabel, "")
        self._ui.deleteBox.visible = True
        self._onTicked()

    def _ticked(self) -> list[str]:
        parts = (*PARTS, WHOLE)
        return [
            part
            for row, part in enumerate(parts)
            if self._ui.partsList.item(row).checkState() == qt.Qt.Checked
        ]

    def _onTicked(self, _item: Any = None) -> None:
        parts = self._ticked()
        self._ui.deleteButton.enabled = bool(parts)
        size = self._sizes[WHOLE] if WHOLE in parts else sum(self._sizes[part] for part in parts)
        text = _("Delete {size}…").format(size=sizeInWords(size)) if parts else _("Delete ticked…")
        self._ui.deleteButton.text = text

    def _delete(self) -> None:
        self._guarded(self._askAndDelete)

    def _askAndDelete(self) -> None:
        project, parts, titles = self._project(), self._ticked(), partTitles()
        names = "\n".join(f"• {titles[part]}: {sizeInWords(self._sizes[part])}" for part in parts)
        text = _("Delete for good from {folder}?\n\n{names}\n\nThis cannot be undone. Other files stay.")
        delete, keep = _("Delete"), _("Keep")
        answer = self._dialogs.ask(
            _("Delete files"), text.format(folder=project.root, names=names), (delete, keep)
        )
        if answer != delete:
            return
        left = project.delete(*parts)
        freed = self._freed(project, parts)
        self._tellOthers(parts)
        self.close()
        text = (
            _("Deleted: {size}.").format(size=sizeInWords(freed))
            if freed
            else _("There was nothing to delete.")
        )
        if left:
            text += " " + _("These are not the project's and stay: {files}").format(
                files=", ".join(map(str, left))
            )
        showLine(self._ui.filesLabel, text)

    def _freed(self, project: Project, parts: list[str]) -> int:
        """Bytes that were there and are not any more."""
        size = project.size()
        return sum(self._sizes[part] - size[part] for part in ([WHOLE] if WHOLE in parts else parts))

    def _tellOthers(self, parts: list[str]) -> None:
        if WHOLE in parts:
            self._workspace.closeProject()
            return
        if "pool" in parts:
            self._workspace.poolChanged.emit()
        if "models" in parts:
            self._workspace.modelsChanged.emit()


def partTitles() -> dict[str, str]:
    """What the parts of a project are, for a user."""
    return {
        "runs": _("Trainings (records, and what Resume needs)"),
        "cache": _("Intermediate results (computed again when needed)"),
        "logs": _("Logs"),
        "models": _("Models, all versions"),
        "pool": _("Cases (scans and organs)"),
        WHOLE: _("The whole project"),
    }
