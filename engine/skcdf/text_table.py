"""Text for people: aligned columns, and numbers with their noun."""

from __future__ import annotations


def table(rows: list[list[str]]) -> str:
    """Rows as aligned columns; the first column left, the others right; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def cases(number: int) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} case{'' if number == 1 else 's'}"
