"""CTK's message box, its combo box with check marks, and its text that fits."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property, QModelIndex, Qt, Signal
from PySide6.QtGui import QStandardItem
from PySide6.QtWidgets import QComboBox, QLabel, QMessageBox, QWidget


class ctkCheckableComboBox(QComboBox):
    """A combo box whose entries have check marks."""

    CPP = True
    checkedIndexesChanged = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._marks: dict[int, int] = {}

    def addItem(self, *arguments: Any) -> None:
        """Adds an entry, without a mark."""
        QComboBox.addItem(self, *arguments)
        self._mark(self.count - 1, 0)

    def addItems(self, texts: list[str]) -> None:
        """Adds entries."""
        for text in texts:
            self.addItem(text)

    def _mark(self, row: int, state: int) -> None:
        item: QStandardItem = self.model().item(row)
        item.setCheckState(Qt.CheckState(state))
        self._marks[row] = state

    def checkableModel(self) -> Any:
        """The entries."""
        return self.model()

    def checkedIndexes(self) -> tuple[QModelIndex, ...]:
        """The entries with a mark."""
        return tuple(self.model().index(row, 0) for row in range(self.count) if self._marks.get(row))

    def allChecked(self) -> bool:
        """Whether all have one."""
        return all(self._marks.get(row) for row in range(self.count))

    def noneChecked(self) -> bool:
        """Whether none has one."""
        return not self.checkedIndexes()

    def checkState(self, index: QModelIndex) -> int:
        """An entry's mark."""
        return self._marks.get(index.row(), 0)

    def setCheckState(self, index: QModelIndex, state: Any) -> None:
        """Sets an entry's mark."""
        state = int(getattr(state, "value", state))
        if state != self.checkState(index):
            self._mark(index.row(), state)
            self.checkedIndexesChanged.emit()


class ctkMessageBox(QMessageBox):
    """A message box that can be asked not to come again."""

    CPP = True

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._key, self._dontShow = "", False

    def _setKey(self, key: str) -> None:
        self._key = key

    def _setDontShow(self, dontShow: bool) -> None:
        self._dontShow = dontShow

    dontShowAgainSettingsKey = Property(str, lambda self: self._key, _setKey)
    dontShowAgain = Property(bool, lambda self: self._dontShow, _setDontShow)
    dontShowAgainVisible = Property(bool, lambda self: bool(self._key), lambda self, shown: None)


class ctkFittedTextBrowser(QLabel):
    """A text as high as it needs."""

    CPP = True

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
