"""The window in which a project is made: its name, its organs, its scans and its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt

from skcdf.cases import MODALITIES
from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet

from ..NewProject import NewProject, newProject, organLines, ownLabelSet, shippedLabelSets
from ..ProjectWords import breakable
from ..Texts import _
from .Dialogs import Dialogs
from .Window import Window


class NewProjectDialog(Window):
    """Says at every keystroke what would be made, or what is missing.

    Args:
        uiFolder: the folder of the ``.ui`` files.
        dialogs: chooses the folder.
        create: makes the project; what it raises is shown, and the window stays.
    """

    def __init__(self, uiFolder: Path | str, dialogs: Dialogs, create: Callable[[NewProject], None]) -> None:
        super().__init__(uiFolder, "NewProjectDialog", _("New project"), (480, 480))
        self._dialogs, self._create = dialogs, create
        self._labelSets = shippedLabelSets()
        for labelSet in self._labelSets:
            self.ui.labelSetCombo.addItem(labelSet.title)
        modalities = {"CT": _("CT"), "MR": _("MR (magnetic resonance)")}
        for modality in MODALITIES:
            self.ui.modalityCombo.addItem(modalities[modality])
        self.ui.placeEdit.text = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
        self.ui.nameEdit.connect("textChanged(QString)", self._update)
        self.ui.modalityCombo.connect("currentIndexChanged(int)", self._update)
        self.ui.labelSetCombo.connect("currentIndexChanged(int)", self._update)
        self.ui.ownButton.connect("toggled(bool)", self._onKindOfList)
        self.ui.organsEdit.connect("textChanged()", self._update)
        self.ui.placeButton.connect("clicked()", self._choosePlace)
        self.ui.createButton.connect("clicked()", self._onCreate)
        self.ui.cancelButton.connect("clicked()", self.close)
        self._onKindOfList()

    def open(self) -> None:
        """Shows the window, without the name of the last project."""
        self.ui.nameEdit.text = ""
        self.ui.nameEdit.setFocus()
        super().open()

    def _labelSet(self) -> LabelSet:
        if self.ui.ownButton.checked:
            return ownLabelSet(self.ui.organsEdit.plainText)
        return self._labelSets[self.ui.labelSetCombo.currentIndex]

    def _plan(self) -> NewProject:
        modality = MODALITIES[self.ui.modalityCombo.currentIndex]
        return newProject(self.ui.nameEdit.text, self.ui.placeEdit.text, self._labelSet(), modality)

    def _onKindOfList(self, _checked: bool = False) -> None:
        own = self.ui.ownButton.checked
        self.ui.labelSetCombo.enabled = not own
        self.ui.organsEdit.enabled = own
        self._update()

    def _update(self, _value: object = None) -> None:
        try:
            self.ui.organsLabel.text = organLines(self._labelSet())
        except SkcdfError:
            self.ui.organsLabel.text = ""
        try:
            plan = self._plan()
        except SkcdfError as error:
            self._tell(f"{error.message} {error.hint}", possible=False)
            return
        will = _("Will be made: {folder}").format(folder=plan.folder)
        self._tell("\n".join(filter(None, (will, plan.warning))), possible=True)

    def _tell(self, text: str, *, possible: bool) -> None:
        self.ui.stateLabel.text = breakable(text)
        self.ui.createButton.enabled = possible

    def _choosePlace(self) -> None:
        title = _("Folder in which the project folder is made")
        chosen = self._dialogs.chooseFolder(title, self.ui.placeEdit.text)
        if chosen:
            self.ui.placeEdit.text = chosen
            self._update()

    def _onCreate(self) -> None:
        try:
            self._create(self._plan())
        except SkcdfError as error:
            self._tell(f"{error.message} {error.hint}", possible=True)
            return
        self.close()
