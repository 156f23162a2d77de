"""*Try the phantom*: a synthetic scan and a project for it, so that the next click is Segment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

from skcdf.labels import LabelSet
from skcdf.progress import Progress
from skcdf.project import PROJECT_FILE

from ..NewProject import PHANTOM_LABELS, phantomFolder
from ..SampleScans import addPhantomVolume
from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs

PHANTOM_MODEL = "phantom13"


class PhantomStart:
    """Asks one question at most: where the project's folder shall be.

    Args:
        workspace: opens the project.
        dialogs: asks.
        tell: shows how far it is.
    """

    def __init__(self, workspace: Workspace, dialogs: Dialogs, tell: Callable[[str], None]) -> None:
        self._workspace, self._dialogs, self._tell = workspace, dialogs, tell

    def start(self, parameterNode: Any) -> bool:
        """Loads the phantom and opens its project; whether the user wanted it.

        Args:
            parameterNode: gets scan and model.

        Raises:
            SkcdfError: the project cannot be made or opened, or the phantom cannot be made.
        """
        folder = self._folder()
        if folder is None:
            return False
        if (folder / PROJECT_FILE).is_file():
            self._workspace.openProject(folder)
        else:
            labelSet = LabelSet.load(PHANTOM_LABELS)
            self._workspace.createProject(folder, labelSet, "CT", _("Phantom"), synthetic=True)
        volumeNode = addPhantomVolume(onProgress=self._onProgress)
        slicer.util.resetSliceViews()
        parameterNode.inputVolume = volumeNode
        parameterNode.modelReference = PHANTOM_MODEL
        return True

    def _onProgress(self, progress: Progress) -> None:
        percent = round(100 * progress.done / max(progress.total, 1))
        self._tell(_("Making the phantom: {percent} %").format(percent=percent))
        slicer.app.processEvents()

    def _folder(self) -> Path | None:
        """Where the project lies or is to be made; ``None``: the user does not want it."""
        documents = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
        proposed = phantomFolder(documents, Path.home())
        if (proposed / PROJECT_FILE).is_file():  # the user has tried it before
            return proposed
        here, elsewhere, cancel = _("Make it here"), _("Choose another folder…"), _("Cancel")
        text = _("A project folder for the phantom will be made:\n{folder}").format(folder=proposed)
        answer = self._dialogs.ask(_("Try the phantom"), text, (here, elsewhere, cancel))
        if answer == here:
            return proposed
        if answer != elsewhere:
            return None
        chosen = self._dialogs.chooseFolder(_("Folder in which the phantom's project is made"), documents)
        return Path(chosen) / proposed.name if chosen else None
