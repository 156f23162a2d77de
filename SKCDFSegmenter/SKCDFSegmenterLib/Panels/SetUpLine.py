"""The lines of the head that say what is missing on this computer."""

from __future__ import annotations

from typing import Any

import qt

from ..Installation import InstallPlan
from ..ProjectWords import breakable
from ..Readiness import Readiness
from ..SetUpWords import findings, installText, isHopeless, missingInWords
from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .Installer import Installer
from .Lines import showLine

_LOOK_AFTER_MS = 50
"""After the module was opened: the panel is there first."""


class SetUpLine:
    """Hidden while all is there.

    Args:
        ui: the widgets of the head.
        workspace: looks.
        dialogs: questions to the user.
        installer: the panel's one installer.
    """

    def __init__(self, ui: Any, workspace: Workspace, dialogs: Dialogs, installer: Installer) -> None:
        self.ui, self._workspace, self._dialogs, self._installer = ui, workspace, dialogs, installer
        self._looked = False
        self._timer = qt.QTimer(ui.setUpBox)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LOOK_AFTER_MS)
        self._timer.connect("timeout()", workspace.checkReadiness)
        ui.setUpButton.connect("clicked()", self._install)
        ui.repairButton.connect("clicked()", self._install)
        ui.wheelsButton.connect("clicked()", self._installFromFolder)
        ui.checkAgainButton.connect("clicked()", self._checkAgain)
        ui.saveButton.connect("clicked()", self._installer.save)
        ui.restartButton.connect("clicked()", self._installer.restart)
        self._installer.changed.connect(self._show)
        workspace.readinessChanged.connect(self._show)
        self._show()

    def enter(self) -> None:
        """Looks when the module is opened for the first time, without holding it up."""
        if not self._looked:
            self._looked = True
            self._timer.start()

    def cleanup(self) -> None:
        """Lets go of workspace and installer."""
        self._timer.stop()
        self._installer.changed.disconnect(self._show)
        self._workspace.readinessChanged.disconnect(self._show)

    def _plan(self, readiness: Readiness) -> InstallPlan:
        return self._workspace.installation.installPlan(readiness)

    def _install(self) -> None:
        if self._workspace.readiness is not None:
            self._installer.start(self._plan(self._workspace.readiness))

    def _installFromFolder(self) -> None:
        folder = self._dialogs.chooseFolder(_("Folder with the Python packages (.whl files)"))
        if folder:
            self._installer.startFromFolder(folder)

    def _checkAgain(self) -> None:
        self._installer.failure = ""  # what was wrong then may have been mended by hand
        self._workspace.checkReadiness()

    def _show(self) -> None:
        readiness, installer = self._workspace.readiness, self._installer
        plan = None if readiness is None else self._plan(readiness)
        missing = "" if readiness is None or plan is None else missingInWords(readiness, plan)
        words = installer.step or (installer.failure if missing else "") or missing
        self.ui.setUpBox.visible = bool(words)
        self.ui.setUpLabel.text = breakable(words)
        self.ui.restartBox.visible = installer.restartNeeded
        busy = installer.running or self._workspace.checkingReadiness
        if readiness is not None and plan is not None:
            self._showPlan(readiness, plan, busy)
        self.ui.setUpProgress.visible = busy
        self.ui.checkAgainButton.enabled = not busy

    def _showPlan(self, readiness: Readiness, plan: InstallPlan, busy: bool) -> None:
        lines = [] if self._installer.running else findings(readiness, plan)
        showLine(self.ui.findingsLabel, "\n".join(f"• {line}" for line in lines))
        isPossible = not busy and not isHopeless(readiness, plan)
        canInstall = readiness.error is None and not plan.nothing and not plan.byHand
        for button, isMeant in ((self.ui.setUpButton, not plan.repair), (self.ui.repairButton, plan.repair)):
            button.visible = canInstall and isMeant and not self._installer.restartNeeded
            button.text = installText(plan)
            button.enabled = isPossible
        self.ui.wheelsButton.visible = canInstall
        self.ui.wheelsButton.enabled = isPossible
        self.ui.handBox.visible = bool(plan.byHand)
        self.ui.handEdit.text = plan.byHand
