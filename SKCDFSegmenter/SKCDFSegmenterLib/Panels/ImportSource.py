"""Where the cases of an import come from: a folder, single files, or segmentations of the scene."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import qt

from ..ImportDecisions import ImportDecisions
from ..ImportStaging import LoadedCase, loadedCases, stageFiles, stageLoaded
from ..TemporaryFolder import TemporaryFolder
from ..Texts import _


class ImportSource:
    """One source at a time.

    Args:
        table: lists the segmentations of the scene, to be ticked.
        temporaryFolder: where files and segmentations lie on their way into the pool.
        onTicked: called after the user has ticked another choice.
    """

    def __init__(self, table: Any, temporaryFolder: Path | str, onTicked: Callable[[], None]) -> None:
        self._table, self._temporaryFolder, self._onTicked = table, temporaryFolder, onTicked
        self._folder: Path | None = None
        self._staging: TemporaryFolder | None = None
        self._cases: tuple[LoadedCase, ...] = ()
        self.isLoaded = False
        """Whether segmentations of the scene are meant."""
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        table.verticalHeader().visible = False
        table.connect("itemChanged(QTableWidgetItem*)", self._onItem)

    @property
    def isEmpty(self) -> bool:
        """Whether there is nothing to import."""
        return not self._ticked() if self.isLoaded else self._folder is None

    def clear(self) -> None:
        """Lets go of everything."""
        self.isLoaded, self._cases, self._folder = False, (), None
        self._table.setRowCount(0)
        self._unstage()

    def takeFolder(self, folder: Path | str) -> None:
        """Takes all cases of a folder."""
        self.clear()
        self._folder = Path(folder)

    def takeFiles(self, files: Iterable[Path | str]) -> None:
        """Takes single files.

        Raises:
            SkcdfError: a file cannot be taken; there is no source then.
        """
        self.clear()
        folder = self._stage()
        stageFiles(files, folder)
        self._folder = folder

    def takeLoaded(self) -> int:
        """Lists the segmentations of the scene, all ticked; returns how many there are."""
        self.clear()
        self.isLoaded, self._cases = True, loadedCases()
        self._table.blockSignals(True)
        self._table.setRowCount(len(self._cases))
        for row, case in enumerate(self._cases):
            item = qt.QTableWidgetItem(case.segmentationNode.GetName())
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setCheckState(qt.Qt.Checked)
            item.setToolTip(_("Ticked: it is imported."))
            self._table.setItem(row, 0, item)
            self._table.setItem(row, 1, qt.QTableWidgetItem(case.volumeNode.GetName()))
        self._table.blockSignals(False)
        return len(self._cases)

    def folder(self, decisions: ImportDecisions, *, isNew: bool) -> Path:
        """The folder to import from.

        Args:
            isNew: segmentations of the scene are written as they are now; else they are as they were checked.
            decisions: gets whose scans they are, where the scene knows it and the user has not said otherwise.

        Raises:
            SkcdfError: nothing is chosen, or a segmentation cannot be written.
        """
        if self.isLoaded and isNew:
            self._unstage()
            self._folder = self._stage()
            subjects = stageLoaded(self._ticked(), self._folder)
            decisions.subjects = {**subjects, **decisions.subjects}
        assert self._folder is not None, "the panel offers a check only where there is a source"
        return self._folder

    def _ticked(self) -> list[LoadedCase]:
        return [
            case
            for row, case in enumerate(self._cases)
            if self._table.item(row, 0).checkState() == qt.Qt.Checked
        ]

    def _onItem(self, _item: Any) -> None:
        self._onTicked()

    def _stage(self) -> Path:
        self._staging = TemporaryFolder(self._temporaryFolder)
        folder = self._staging.path / "cases"
        folder.mkdir()
        return folder

    def _unstage(self) -> None:
        if self._staging is not None:
            self._staging.remove()
        self._staging = None
