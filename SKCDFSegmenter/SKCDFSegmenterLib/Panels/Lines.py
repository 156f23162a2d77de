"""A line of the panel that comes and goes with what there is to say."""

from __future__ import annotations

from typing import Any

from ..ProjectWords import breakable


def showLine(label: Any, text: str) -> None:
    """Shows a text in its label; an empty one takes no room, and a long path does not widen the panel."""
    label.text = breakable(text)
    label.setVisible(bool(text))
