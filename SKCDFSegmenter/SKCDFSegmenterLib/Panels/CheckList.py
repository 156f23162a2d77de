"""A list of names that can be checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

MOST_ROWS = 16
"""Of a list that scrolls."""


class CheckList:
    """Fills a ``QListWidget`` and reads what is checked.

    Args:
        widget: the list.
    """

    def __init__(self, widget: Any) -> None:
        self.widget = widget
        # A bar would hide the last row of a short list; a long text is in the tool tip, too.
        widget.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self._keys: list[str] = []

    def fill(self, entries: Sequence[tuple[str, str, bool]]) -> None:
        """Shows other entries, each key, text and whether it is checked; the list says nothing of it.

        Entries with the same keys stay in place: the list may be telling of a change of one of them just now.
        """
        blocked = self.widget.blockSignals(True)
        keys = [key for key, _text, _checked in entries]
        if keys != self._keys:
            self.widget.clear()
            for _key, text, _checked in entries:
                self.widget.addItem(text)
            self._keys = keys
        for row, (_key, text, checked) in enumerate(entries):
            item = self.widget.item(row)
            item.setText(text)
            item.setToolTip(text)
            item.setCheckState(qt.Qt.Checked if checked else qt.Qt.Unchecked)
        self.widget.blockSignals(blocked)
        self._fitHeight()

    def states(self) -> dict[str, bool]:
        """Whether each key is checked."""
        return {
            key: self.widget.item(row).checkState() == qt.Qt.Checked for row, key in enumerate(self._keys)
        }

    def checked(self) -> list[str]:
        """The keys that are checked."""
        return [key for key, checked in self.states().items() if checked]

    def _fitHeight(self) -> None:
        """As high as its entries, so that a short list leaves no hole in the panel."""
        rows = min(max(len(self._keys), 1), MOST_ROWS)
        height = rows * max(self.widget.sizeHintForRow(0), self.widget.fontMetrics().height())
        self.widget.setFixedHeight(height + 2 * self.widget.frameWidth + 4)
