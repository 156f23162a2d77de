"""A combo box whose entries have a value for the parameter node and a text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

from ..TrainingChoices import Choice


class ChoiceBox:
    """Fills a ``QComboBox`` and reads the value that is chosen.

    Args:
        widget: the combo box.
    """

    def __init__(self, widget: Any) -> None:
        self.widget = widget
        self._choices: tuple[Choice, ...] = ()

    def fill(self, choices: Sequence[Choice], value: str) -> None:
        """Shows other entries, that of ``value`` chosen; the box says nothing of it."""
        blocked = self.widget.blockSignals(True)
        self._choices = tuple(choices)
        self.widget.clear()
        for row, choice in enumerate(self._choices):
            self.widget.addItem(choice.text)
            self.widget.setItemData(row, choice.tip or choice.text, qt.Qt.ToolTipRole)
        self.widget.blockSignals(blocked)
        self.choose(value)

    def choose(self, value: str) -> None:
        """Chooses the entry of a value; the first one where there is none of that value."""
        rows = [row for row, choice in enumerate(self._choices) if choice.value == value]
        blocked = self.widget.blockSignals(True)
        self.widget.setCurrentIndex(rows[0] if rows else 0)
        self.widget.blockSignals(blocked)
        self._showTip()

    @property
    def value(self) -> str:
        """Of the chosen entry; empty where there is none."""
        row = self.widget.currentIndex
        return self._choices[row].value if 0 <= row < len(self._choices) else ""

    def _showTip(self) -> None:
        """The box's tool tip is what is chosen, which can be longer than the box is wide, and what it means."""
        row = self.widget.currentIndex
        if 0 <= row < len(self._choices):
            choice = self._choices[row]
            self.widget.toolTip = f"{choice.text}. {choice.tip}".strip()
