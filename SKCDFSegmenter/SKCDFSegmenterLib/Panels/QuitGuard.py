"""Quitting Slicer during a training: it asks, and a checkpoint is written as the window goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs


class QuitGuard:
    """Watches the main window for its end.

    Args:
        workspace: whose training is at stake.
        dialogs: asks.
    """

    def __init__(self, workspace: Workspace, dialogs: Dialogs) -> None:
        self._workspace, self._dialogs = workspace, dialogs
        self._window = slicer.util.mainWindow()
        self._agreed = False
        self._filter = _WindowFilter(self.mayClose, self.closed)
        if self._window is not None:
            self._window.installEventFilter(self._filter)
        # Other ways out, such as slicer.util.exit, do not close the window.
        slicer.app.connect("aboutToQuit()", self._workspace.shutdown)

    def mayClose(self) -> bool:
        """Whether the window may close; asks while a training runs."""
        if not self._workspace.teaching.running:
            return True
        quitNow, stay = _("Stop training and quit"), _("Stay")
        text = _(
            "A training is running. It can be stopped now: what it has learnt is kept, and Resume goes on with it "
            "next time."
        )
        self._agreed = self._dialogs.ask(_("Quit Slicer"), text, (quitNow, stay)) == quitNow
        return self._agreed

    def closed(self) -> None:
        """The window has gone: nothing may be trained any more, even if another window keeps the application."""
        if self._agreed:
            self._workspace.training.shutdown()

    def cleanup(self) -> None:
        """Lets go of window and application."""
        if self._window is not None:
            self._window.removeEventFilter(self._filter)
        slicer.app.disconnect("aboutToQuit()", self._workspace.shutdown)


class _WindowFilter(qt.QObject):
    """Asks before a window closes, and tells when it has gone.

    Between the two lies Slicer's own question about unsaved data, which can be cancelled. On macOS a window that has
    gone is closed once more.
    """

    def __init__(self, mayClose: Callable[[], bool], closed: Callable[[], None]) -> None:
        super().__init__()
        self._mayClose, self._closed = mayClose, closed

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Called by Qt for every event of the window; true swallows it."""
        if event.type() == qt.QEvent.Close and not self._mayClose():
            event.ignore()
            return True
        if event.type() == qt.QEvent.Hide and not event.spontaneous():  # else it was made an icon
            self._closed()
        return False
