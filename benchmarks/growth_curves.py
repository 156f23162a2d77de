"""How a cost grows, drawn: processor seconds and memory over each thing that was varied."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Point(NamedTuple):
    """What was measured at one value of what was varied."""

    value: float
    cpu_seconds: float
    gib: float


def draw(curves: dict[str, list[Point]], title: str, path: Path) -> None:
    """Draws a column a curve, with what proportional growth up to its largest value would be.

    Args:
        curves: by what was varied; values rise.
        title: what stayed as it was.
        path: of the PNG.
    """
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(2, len(curves), figsize=(3 * len(curves), 6), layout="constrained")
    for row, quantity in enumerate(("processor seconds", "GiB above the loaded program")):
        for axis, (name, points) in zip(rows[row], curves.items(), strict=True):
            places, costs = [point.value for point in points], [point[1 + row] for point in points]
            axis.plot(places, costs, "o-", color="#1f6fb4", label="measured")
            proportional = [costs[-1] * place / places[-1] for place in places]
            axis.plot(places, proportional, ":", color="#667080", label="proportional")
            axis.set_ylim(bottom=0)
            axis.set_xticks(places, [f"{place:g}" for place in places], rotation=40, fontsize=8)
            axis.set_xlabel(name)
            axis.grid(alpha=0.3)
        rows[row][0].set_ylabel(quantity)
    rows[0][0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def line(name: str, point: Point) -> str:
    """The same as a line of text."""
    return f"{name:24} {point.value:>8g} {point.cpu_seconds:9.2f} cpu s {point.gib:7.2f} GiB"
