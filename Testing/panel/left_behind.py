"""What a panel that was left has not taken away: Slicer's users complain of just these."""

from __future__ import annotations

from typing import Any


def byEditor(editor: Any) -> list[str]:
    """What a segment editor still holds: a tool in hand, the views, keys of the main window."""
    return list(editor._leftBehind)
