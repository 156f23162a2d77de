"""The tables of the import: labels with what they become, and cases with what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt

from skcdf.label_mapping import UNDECIDED
from skcdf.labels import LabelSet

from ..ImportDecisions import ImportDecisions
from ..ImportWords import actionWords, becauseWords, organsWords, remarksWords, volumesWords
from ..Texts import _

LABEL, TARGET, BECAUSE = range(3)
CASE, ACTION, SUBJECT, ORGANS, REMARKS = range(5)


class LabelsTable:
    """A row for each label of the source, with a list of organs to choose from.

    Args:
        table: the widget.
        onChange: called after the user has chosen.
    """

    def __init__(self, table: Any, onChange: Callable[[], None]) -> None:
        self._table, self._onChange = table, onChange
        self._rows: Sequence[Mapping[str, Any]] = ()
        self._decisions = ImportDecisions()
        self._targets: list[str | None] = []
        header = table.horizontalHeader()
        for column in (LABEL, TARGET, BECAUSE):
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch)
        table.verticalHeader().visible = False

    def show(self, rows: Sequence[Mapping[str, Any]], labelSet: LabelSet, decisions: ImportDecisions) -> None:
        """Shows what a check has said; what the user has decided stays chosen."""
        self._rows, self._decisions = rows, decisions
        self._targets = [UNDECIDED, None, *labelSet.names]
        titles = [_("Choose…"), _("Leave out"), *(label.title for label in labelSet.labels)]
        self._table.setRowCount(0)
        self._table.setRowCount(len(rows))
        for index, row in enumerate(rows):
            self._table.setItem(index, LABEL, _item(str(row["label"])))
            self._table.setItem(index, BECAUSE, _item(becauseWords(row)))
            self._table.setCellWidget(index, TARGET, self._chooser(row, titles))

    def _chooser(self, row: Mapping[str, Any], titles: Sequence[str]) -> Any:
        combo = qt.QComboBox()
        for title in titles:
            combo.addItem(title)
        target = self._decisions.target(row)
        combo.setCurrentIndex(self._targets.index(target) if target in self._targets else 0)
        combo.accessibleName = _("What {label} becomes").format(label=row["label"])
        combo.toolTip = _("The organ that this label becomes; Leave out: it is not imported.")
        combo.connect("currentIndexChanged(int)", self._onChosen)
        return combo

    def _onChosen(self, _index: int) -> None:
        for number, row in enumerate(self._rows):
            target = self._targets[self._table.cellWidget(number, TARGET).currentIndex]
            if target != self._decisions.target(row):
                self._decisions.labels[str(row["label"])] = target
                self._table.item(number, BECAUSE).setText(_("you said so"))
        self._onChange()


class CasesTable:
    """A row for each case; whose scan it is can be typed.

    Args:
        table: the widget.
        onChange: called after the user has typed.
    """

    def __init__(self, table: Any, onChange: Callable[[], None]) -> None:
        self._table, self._onChange = table, onChange
        self._names: list[str] = []
        self._decisions = ImportDecisions()
        header = table.horizontalHeader()
        for column in (CASE, ACTION, SUBJECT, ORGANS):
            header.setSectionResizeMode(column, qt.QHeaderView.Interactive)
        header.setSectionResizeMode(REMARKS, qt.QHeaderView.Stretch)
        table.verticalHeader().visible = False
        table.connect("cellChanged(int,int)", self._onTyped)

    def show(self, entries: Sequence[Mapping[str, Any]], decisions: ImportDecisions, *, isDone: bool) -> None:
        """Shows what would happen, or what has happened."""
        self._decisions = decisions
        self._names = [str(entry["source"]) for entry in entries]
        self._table.blockSignals(True)
        self._table.setRowCount(len(entries))
        for row, (name, entry) in enumerate(zip(self._names, entries, strict=True)):
            self._table.setItem(row, CASE, _item(str(entry["name"])))
            self._table.setItem(row, ACTION, _item(actionWords(entry, isDone=isDone)))
            self._table.setItem(row, SUBJECT, _item(decisions.subjects.get(name, name), editable=not isDone))
            self._table.setItem(row, ORGANS, _item(organsWords(entry), toolTip=volumesWords(entry)))
            self._table.setItem(row, REMARKS, _item(remarksWords(entry)))
        self._table.blockSignals(False)
        for column in (CASE, ACTION, SUBJECT, ORGANS):
            self._table.resizeColumnToContents(column)
        self._table.resizeRowsToContents()

    def _onTyped(self, row: int, column: int) -> None:
        if column != SUBJECT:
            return
        typed, name = self._table.item(row, column).text().strip(), self._names[row]
        if typed and typed != name:
            self._decisions.subjects[name] = typed
        else:
            self._decisions.subjects.pop(name, None)
        self._onChange()


def _item(text: str, *, editable: bool = False, toolTip: str = "") -> Any:
    item = qt.QTableWidgetItem(text)
    flags = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
    item.setFlags(flags | qt.Qt.ItemIsEditable if editable else flags)
    item.setToolTip(toolTip or text)
    return item
