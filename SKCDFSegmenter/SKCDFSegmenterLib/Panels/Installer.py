"""Installs what is missing, after one question, step by step, so that the user sees which step it is."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

import qt
import slicer

from skcdf.errors import SkcdfError
from skcdf.resources import resource

from ..Installation import InstallPlan
from ..SetUpWords import confirmation, installText
from ..Signal import Signal
from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs

EXTENSION = "PyTorch"
EXTENSION_MODULE = "PyTorchUtils"
_PAINT_MS = 100
"""Before each step, so that the panel shows its name: the step itself holds up the application."""

Step = tuple[str, Callable[[], None]]


class Installer:
    """One installation at a time: the panel has one installer, since Slicer answers clicks while pip works.

    Args:
        workspace: knows what is missing.
        dialogs: asks.

    Attributes:
        changed: emits nothing, when one of the following has changed.
        step: what is being done; empty: nothing.
        failure: why the last installation failed; empty: it did not.
        restartNeeded: whether Slicer must be restarted before it can go on.
    """

    def __init__(self, workspace: Workspace, dialogs: Dialogs) -> None:
        self._workspace, self._dialogs = workspace, dialogs
        self.changed = Signal()
        self.step = self.failure = ""
        self.restartNeeded = False
        self._steps: list[Step] = []
        self._isOver = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAINT_MS)
        self._timer.connect("timeout()", self._carryOut)

    @property
    def running(self) -> bool:
        """Whether something is being installed."""
        return bool(self.step)

    def start(self, plan: InstallPlan) -> None:
        """Asks once, then installs what is missing, from the network."""
        getsExtension = plan.torch and importlib.util.find_spec(EXTENSION_MODULE) is None
        install, cancel = _("Install"), _("Cancel")
        text = confirmation(plan, getsExtension=getsExtension)
        if self.running or self._dialogs.ask(installText(plan), text, (install, cancel)) != install:
            return
        steps: list[Step] = []
        if plan.packages:
            names = ", ".join(plan.packages)
            steps.append((_("Installing {names} …").format(names=names), self._installRequirements))
        if getsExtension:
            steps.append((_("Getting the extension PyTorch …"), self._installExtension))
        elif plan.torch:
            steps.append(
                (
                    _("Installing PyTorch: this takes some minutes …"),
                    self._workspace.installation.installTorch,
                )
            )
        self._begin(steps)

    def startFromFolder(self, folder: Path | str) -> None:
        """Installs what is missing from a folder of wheels; who has chosen the folder has agreed."""
        installation = self._workspace.installation
        if not self.running:
            self._begin(
                [
                    (
                        _("Installing from {folder} …").format(folder=Path(folder).name),
                        lambda: installation.installFromFolder(folder),
                    )
                ]
            )

    def restart(self) -> None:
        """Restarts the application; where something is not saved, it offers to save that first."""
        if slicer.mrmlScene.GetStorableNodesModifiedSinceRead():
            save, restart, cancel = _("Save…"), _("Restart without saving"), _("Cancel")
            text = _("The scene has changes that are not saved. They are lost when Slicer is restarted.")
            answer = self._dialogs.ask(_("Restart Slicer"), text, (save, restart, cancel))
            if answer == save:
                self.save()
            if answer != restart:
                return
        slicer.util.restart()

    def save(self) -> None:
        """Opens Slicer's window that saves the scene."""
        slicer.util.openSaveDataDialog()

    def cleanup(self) -> None:
        """Begins nothing any more, also where a step is under way: Slicer may be quit while pip works."""
        self._timer.stop()
        self._isOver = True

    def _begin(self, steps: list[Step]) -> None:
        self._steps, self.failure = steps, ""
        self._next()

    def _next(self) -> None:
        if self._isOver:
            return
        self.step = self._steps[0][0] if self._steps else ""
        self.changed.emit()
        if self._steps:
            self._timer.start()
        else:
            self._workspace.worker.restartWhenIdle()
            self._workspace.checkReadiness()

    def _carryOut(self) -> None:
        if not self._steps:
            return
        _text, work = self._steps.pop(0)
        try:
            work()
        except SkcdfError as error:
            self._fail(" ".join(filter(None, (error.message, error.hint))))
        except Exception as error:  # whatever Slicer's parts raise: the panel must not stay busy for ever
            logging.exception("installation failed")
            self._fail(_("It failed: {reason}. The application's log has the details.").format(reason=error))
        self._next()

    def _fail(self, reason: str) -> None:
        self._steps.clear()
        self.failure = reason

    def _installRequirements(self) -> None:
        self._workspace.installation.installRequirements(resource("requirements.txt"))

    def _installExtension(self) -> None:
        manager = slicer.app.extensionsManagerModel()
        interactive = manager.interactive
        manager.interactive = False  # the user has agreed already
        try:
            isInstalled = manager.installExtensionFromServer(EXTENSION, False)
        finally:
            manager.interactive = interactive
        if not isInstalled:
            raise SkcdfError(
                _("The extension PyTorch could not be installed."),
                _("Install it in the Extensions Manager, restart Slicer, and press Set up PyTorch again."),
            )
        self.restartNeeded = True
