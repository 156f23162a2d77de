"""Which Python computes: Slicer's own, or one that the user has chosen on this computer and that was checked.

A scene names a Python, too, and may come from somebody else: what it names is only run after the user has said so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import qt

from skcdf.errors import SkcdfError

from ..Readiness import NEEDED, Readiness
from ..ResultWords import deviceName
from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .Lines import showLine

TRUSTED_PYTHON = "SKCDFSegmenter/Python"
"""The application's own setting, which no scene changes."""


class PythonChoice:
    """The rows *Python that computes*.

    Args:
        ui: the section's widgets.
        workspace: checks.
        dialogs: chooses the program.
        onChosen: called after another Python was chosen.
    """

    def __init__(self, ui: Any, workspace: Workspace, dialogs: Dialogs, onChosen: Callable[[], None]) -> None:
        self._ui, self._workspace, self._dialogs, self._onChosen = ui, workspace, dialogs, onChosen
        self._parameterNode: Any = None
        self._checking = ""
        self._finding = ""
        ui.pythonButton.connect("clicked()", self._choose)
        ui.scenePythonButton.connect("clicked()", self._checkScenes)
        ui.slicerPythonButton.connect("clicked()", self._useSlicers)
        self._show()

    @property
    def path(self) -> str:
        """The Python to run; empty: Slicer's, also where the chosen one is gone."""
        chosen = self._chosen()
        return chosen if os.path.isfile(chosen) else ""

    def setParameterNode(self, parameterNode: Any) -> None:
        """Takes the parameters of a scene, or none."""
        self._parameterNode = parameterNode
        if parameterNode is not None and not parameterNode.pythonPath:
            parameterNode.pythonPath = self._chosen()
        self._show()

    def parametersChanged(self) -> None:
        """A script or a scene may name another Python."""
        self._show()

    def _chosen(self) -> str:
        return str(qt.QSettings().value(TRUSTED_PYTHON) or "")

    def _scenes(self) -> str:
        """The Python that the scene names and nobody on this computer has chosen."""
        named = "" if self._parameterNode is None else self._parameterNode.pythonPath
        return named if named != self._chosen() else ""

    def _show(self) -> None:
        self._ui.pythonEdit.text = self.path
        chosen, scenes = self._chosen(), self._scenes()
        self._ui.slicerPythonButton.enabled = bool(chosen or scenes)
        self._ui.scenePythonButton.visible = bool(scenes)
        if self._checking:
            text = _("Looking what {python} has …").format(python=self._checking)
        elif scenes:
            text = _(
                "The scene asks for {python}. It is not used unless you trust it and press Check and use."
            )
            text = text.format(python=scenes)
        elif chosen and not self.path:
            text = _("{python} is no longer there: Slicer's own is used.").format(python=chosen)
        else:
            text = self._finding
        showLine(self._ui.pythonLabel, text)

    def _choose(self) -> None:
        chosen = self._dialogs.chooseFiles(_("Python program that has PyTorch"))
        if chosen:
            self._check(chosen[0])

    def _checkScenes(self) -> None:
        self._check(self._scenes())

    def _check(self, python: str) -> None:
        self._checking, self._finding = python, ""
        try:
            self._workspace.checkPython(python, lambda readiness: self._onChecked(python, readiness))
        except SkcdfError as error:
            self._checking, self._finding = "", f"{error.message} {error.hint}"
        self._show()

    def _onChecked(self, python: str, readiness: Readiness) -> None:
        self._checking = ""
        lacking = [name for name in NEEDED if readiness.stateOf(name) != "ready"]
        if readiness.error is not None:
            reason = " ".join(filter(None, (readiness.error.message, readiness.error.hint)))
            self._finding = _("{python} is not used: {reason}").format(python=python, reason=reason)
        elif lacking:
            self._finding = _("{python} is not used: it lacks {names}.").format(
                python=python, names=", ".join(lacking)
            )
        else:
            device = deviceName(readiness.device) or _("unknown processor")
            self._finding = _("It has all that is needed, and computes on: {device}").format(device=device)
            self._use(python)
        self._show()

    def _useSlicers(self) -> None:
        self._finding = ""
        self._use("")
        self._show()

    def _use(self, python: str) -> None:
        qt.QSettings().setValue(TRUSTED_PYTHON, python)
        if self._parameterNode is not None:
            self._parameterNode.pythonPath = python
        self._onChosen()
