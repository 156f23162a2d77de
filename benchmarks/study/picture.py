"""The picture: mean Dice of every row with its interval, one panel for each scale and data set."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from skcdf.files import atomic_write
from skcdf.line_chart import LIGHT

from .evidence import Evidence, evidence
from .intervals import Estimate, estimate
from .matrix import NNUNET, Budget, Matrix
from .records import Records

SCALE = 2
"""Pixels of a unit, so that lines and letters are smooth."""
WIDTH, NAMES, RIGHT, LINE, HEAD, FOOT = 860, 280, 66, 40, 64, 52
PAPER, INK, QUIET, RULE = "#ffffff", "#1c2430", "#667080", "#e2e6ec"
COLORS = {"iterations": LIGHT[0], "time": LIGHT[1]}
OFFSETS = {"iterations": -7, "time": 9}
KEY = {"iterations": "equal iterations", "time": "equal time"}


@dataclass(frozen=True)
class Panel:
    """A panel's content.

    Attributes:
        title: above it.
        rows: title of each row and its estimates by budget.
    """

    title: str
    rows: list[tuple[str, dict[Budget, Estimate]]]

    @property
    def height(self) -> int:
        """In units."""
        return HEAD + LINE * len(self.rows) + FOOT

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis: whole tenths round everything that is drawn."""
        values = [v for _, row in self.rows for e in row.values() for v in (e.low, e.high, *e.seeds)]
        low, high = np.floor(10 * min(values)) / 10, np.ceil(10 * max(values)) / 10
        return float(low), float(max(high, low + 0.1))


def panels(matrix: Matrix, records: Records) -> list[Panel]:
    """All panels that have something to show."""
    found = []
    for scale, content in matrix.scales.items():
        for dataset in matrix.datasets_at(scale):
            rows = []
            for name in (*matrix.rows, NNUNET):
                row = _estimates(matrix, records, scale, dataset, name)
                if row:
                    rows.append((_title(matrix, records, scale, dataset, name), row))
            if rows:
                found.append(Panel(f"{dataset}: {content['title']}", rows))
    return found


def _estimates(
    matrix: Matrix, records: Records, scale: str, dataset: str, name: str
) -> dict[Budget, Estimate]:
    budgets: tuple[Budget, ...] = (
        ("iterations",) if name in (matrix.clock, NNUNET) else ("iterations", "time")
    )
    each: dict[Budget, Evidence | None] = {
        budget: evidence(matrix, records, scale, dataset, name, budget) for budget in budgets
    }
    return {budget: estimate(found.values()) for budget, found in each.items() if found}


def _title(matrix: Matrix, records: Records, scale: str, dataset: str, name: str) -> str:
    found = evidence(matrix, records, scale, dataset, name, "iterations") or evidence(
        matrix, records, scale, dataset, name, "time"
    )
    assert found is not None
    if name == NNUNET:
        return f"nnU-Net, {found.records[0]['status']}"
    count = len(found.records)
    return f"{matrix.rows[name].title} ({count} seed{'' if count == 1 else 's'})"


def write_picture(path: Path, matrix: Matrix, records: Records) -> None:
    """Draws all panels, one under the other; ``ValueError`` where no run has figures on test cases."""
    found = panels(matrix, records)
    if not found:
        raise ValueError("no run has figures on test cases yet")
    height = sum(panel.height for panel in found)
    canvas = Image.new("RGB", (WIDTH * SCALE, height * SCALE), PAPER)
    y = 0
    for panel in found:
        _Drawing(canvas, panel, y).draw()
        y += panel.height
    content = io.BytesIO()
    canvas.save(content, "PNG", optimize=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getvalue())


class _Drawing:
    """One panel on the canvas, in units from its upper left corner."""

    def __init__(self, canvas: Image.Image, panel: Panel, top: int) -> None:
        self.pen, self.panel, self.top = ImageDraw.Draw(canvas), panel, top
        self.low, self.high = panel.limits
        self.bottom = HEAD + LINE * len(panel.rows)

    def draw(self) -> None:
        """Everything."""
        self._text(20, 12, self.panel.title, INK, 16)
        self._text(
            20,
            36,
            "mean Dice over organs of the test cases; bar: 95 % interval over cases; ring: a seed",
            QUIET,
        )
        for value in np.arange(round(10 * self.low), round(10 * self.high) + 1) / 10:
            x = self._x(value)
            self._line((x, HEAD), (x, self.bottom), RULE, 1)
            self._text(x, self.bottom + 4, f"{value:.1f}", QUIET, anchor="ma")
        for index, (title, row) in enumerate(self.panel.rows):
            y = HEAD + LINE * index + LINE // 2
            self._text(NAMES - 14, y, title, INK, anchor="rm")
            for budget, found in row.items():
                self._mark(y + (OFFSETS[budget] if len(row) > 1 else 0), budget, found)
        x = float(NAMES)
        shown = {budget for _, row in self.panel.rows for budget in row}
        for budget in (each for each in COLORS if each in shown):
            self._dot(x, self.bottom + 34, budget)
            self._text(x + 12, self.bottom + 34, KEY[budget], INK, anchor="lm")
            x += 150

    def _mark(self, y: float, budget: Budget, found: Estimate) -> None:
        color = COLORS[budget]
        self._line((self._x(found.low), y), (self._x(found.high), y), color, 2)
        for value in found.seeds if len(found.seeds) > 1 else ():
            self._circle(self._x(value), y, 3.2, PAPER, color)
        self._dot(self._x(found.mean), y, budget)
        self._text(self._x(max((found.high, *found.seeds))) + 8, y, f"{found.mean:.3f}", color, 12, "lm")

    def _dot(self, x: float, y: float, budget: Budget) -> None:
        """A disc or, so that colour is not the only key, a square."""
        if budget == "iterations":
            self._circle(x, y, 5, COLORS[budget], PAPER)
        else:
            box = [self._at(x - 5, y - 5), self._at(x + 5, y + 5)]
            self.pen.rectangle(box, fill=COLORS[budget], outline=PAPER, width=SCALE)

    def _circle(self, x: float, y: float, radius: float, fill: str, outline: str) -> None:
        box = [self._at(x - radius, y - radius), self._at(x + radius, y + radius)]
        self.pen.ellipse(box, fill=fill, outline=outline, width=SCALE)

    def _line(self, start: tuple[float, float], end: tuple[float, float], color: str, width: float) -> None:
        self.pen.line([self._at(*start), self._at(*end)], fill=color, width=round(width * SCALE))

    def _text(self, x: float, y: float, text: str, color: str, size: int = 13, anchor: str = "la") -> None:
        font: Any = ImageFont.load_default(size * SCALE)
        self.pen.text(self._at(x, y), text, color, font, anchor)

    def _x(self, value: float) -> float:
        return NAMES + (WIDTH - RIGHT - NAMES) * (value - self.low) / (self.high - self.low)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x * SCALE, (y + self.top) * SCALE
