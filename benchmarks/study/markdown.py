"""Small pieces of the tables' text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .intervals import Estimate


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; the first row is its head, and the first ``left`` columns are aligned to the left."""
    rule = ["---" if column < left else "---:" for column in range(len(rows[0]))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def with_interval(found: Estimate, digits: int = 3) -> str:
    """``0.651 [0.612, 0.690]``."""
    if not math.isfinite(found.mean):
        return "-"
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def span(values: Sequence[float], digits: int = 0) -> str:
    """``4`` or ``4 to 6``."""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"
