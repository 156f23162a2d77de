"""Texts in a table that fits a narrow panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt


def fillTable(
    table: Any,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    tips: Sequence[str] = (),
    stretched: int = 0,
) -> None:
    """Replaces what a table shows.

    Args:
        table: a ``QTableWidget``.
        head: names of the columns.
        rows: texts, as many in each as there are columns; a line break makes two lines.
        tips: what the columns mean.
        stretched: the column that takes the room that the others leave.
    """
    table.setRowCount(0)
    table.setColumnCount(len(head))
    table.setHorizontalHeaderLabels(list(head))
    table.setRowCount(len(rows))
    for column, tip in enumerate(tips):
        table.horizontalHeaderItem(column).setToolTip(tip)
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            table.setItem(row, column, item)
    header = table.horizontalHeader()
    for column in range(len(head)):
        mode = qt.QHeaderView.Stretch if column == stretched else qt.QHeaderView.ResizeToContents
        header.setSectionResizeMode(column, mode)
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
