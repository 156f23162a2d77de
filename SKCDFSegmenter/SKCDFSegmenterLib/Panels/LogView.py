"""*Show log*: what the children have said, to be read or sent to somebody who can help."""

from __future__ import annotations

from typing import Any

import qt

from ..ProjectWords import breakable
from ..Texts import _
from ..Workspace import Workspace


class LogView:
    """A button, and the log below it while that is pressed.

    Args:
        ui: the section's widgets.
        workspace: has the log.
    """

    def __init__(self, ui: Any, workspace: Workspace) -> None:
        self._ui, self._log = ui, workspace.log
        ui.logButton.connect("toggled(bool)", self._onShown)
        ui.copyLogButton.connect("clicked()", self._copy)
        self._log.changed.connect(self._show)
        workspace.projectChanged.connect(self._show)
        self._workspace = workspace
        self._show()

    def cleanup(self) -> None:
        """Lets go of the workspace."""
        self._log.changed.disconnect(self._show)
        self._workspace.projectChanged.disconnect(self._show)

    def _onShown(self, shown: bool) -> None:
        self._show()

    def _show(self) -> None:
        shown = bool(self._ui.logButton.checked)
        self._ui.logText.setVisible(shown)
        self._ui.copyLogButton.setVisible(shown)
        self._ui.logLabel.setVisible(shown)
        if not shown:
            return
        self._ui.logText.setPlainText(self._log.text)
        bar = self._ui.logText.verticalScrollBar()
        bar.setValue(bar.maximum)
        file = self._log.file
        text = (
            _("No project is open, so this is kept until Slicer is closed only.")
            if file is None
            else _("Also in the file {file}. It names files, but holds no scan.").format(file=file)
        )
        self._ui.logLabel.text = breakable(text)

    def _copy(self) -> None:
        qt.QApplication.clipboard().setText(self._log.text)
