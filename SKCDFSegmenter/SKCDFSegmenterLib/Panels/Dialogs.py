"""The only place that opens dialogs. Panels get one object of this class; tests give a recorder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import qt
import slicer

from skcdf.errors import SkcdfError


class Dialogs:
    """Questions and messages to the user, modal to the main window."""

    def ask(self, title: str, text: str, buttons: Sequence[str]) -> str:
        """Asks, and returns the text of the button that was pressed; the last one is also Escape.

        Args:
            title: of the window.
            text: the question.
            buttons: texts, the one that Enter presses first.
        """
        box = qt.QMessageBox(slicer.util.mainWindow())
        box.icon = qt.QMessageBox.Question
        box.windowTitle = title
        box.text = text
        added = [box.addButton(each, qt.QMessageBox.AcceptRole) for each in buttons[:-1]]
        last = box.addButton(buttons[-1], qt.QMessageBox.RejectRole)
        box.setDefaultButton(added[0] if added else last)
        box.setEscapeButton(last)
        (getattr(box, "exec_", None) or box.exec)()
        pressed = box.clickedButton()
        # By place, not by text: some desktops put an "&" into what is written on a button.
        return next(
            (text for text, each in zip(buttons, added, strict=False) if each == pressed), buttons[-1]
        )

    def error(self, error: SkcdfError) -> None:
        """Tells what went wrong and what to do."""
        slicer.util.errorDisplay(f"{error.message}\n\n{error.hint}" if error.hint else error.message)

    def chooseFolder(self, title: str, start: Path | str = "") -> str:
        """A folder, which may be a new one; empty when the user cancels."""
        return qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, str(start))

    def chooseFiles(self, title: str, pattern: str = "") -> list[str]:
        """Files; none when the user cancels. ``pattern`` is Qt's: ``Models (*.zip)``."""
        return _names(qt.QFileDialog.getOpenFileNames(slicer.util.mainWindow(), title, "", pattern))

    def chooseSaveFile(self, title: str, start: Path | str = "", pattern: str = "") -> str:
        """A file to write; empty when the user cancels."""
        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, str(start), pattern)
        return chosen[0] if isinstance(chosen, (tuple, list)) else chosen


def _names(chosen: object) -> list[str]:
    """File names, whether Qt's binding gives them alone or with the filter that was chosen."""
    if isinstance(chosen, (tuple, list)) and chosen and isinstance(chosen[0], (tuple, list)):
        chosen = chosen[0]
    return [str(name) for name in chosen or ()] if isinstance(chosen, (tuple, list)) else []
