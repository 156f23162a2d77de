"""How time and memory of a step grow with its size: measured round one case, and drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .case import Case
from .runs import Figures, interleaved

PATCHES = ((32, 32, 32), (32, 32, 64), (32, 64, 64), (64, 64, 64), (64, 64, 128))
CLASSES = (2, 8, 32, 118)
FILTERS = (4, 8, 16, 32)
BATCHES = (1, 2, 4, 8)
Line = list[tuple[float, Figures]]


def sweeps(base: Case) -> Iterator[tuple[str, list[tuple[float, Case]]]]:
    """Name of each axis, and its values with their cases."""
    yield "patch, voxels", [(math.prod(patch), replace(base, patch=patch)) for patch in PATCHES]
    yield "classes", [(value, replace(base, classes=value)) for value in CLASSES]
    yield "filters", [(value, replace(base, filters=value)) for value in FILTERS]
    yield "batch, labelled patches", [(value, replace(base, batch=value)) for value in BATCHES]


def measured(base: Case, repeats: int) -> dict[str, Line]:
    """Prints a line for every case as it comes."""
    lines: dict[str, Line] = {}
    for name, cases in sweeps(base):
        figures = interleaved([case for _, case in cases], repeats)
        lines[name] = [(value, found) for (value, _), found in zip(cases, figures, strict=True)]
        for value, found in lines[name]:
            print(
                f"{name:24} {value:>8g} {found.cpu_seconds:9.2f} cpu s {found.step_gib:7.2f} GiB", flush=True
            )
    return lines


def draw(lines: dict[str, Line], base: Case, path: Path) -> None:
    """Seconds and memory over each axis, with what linear growth from the largest value would be."""
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(2, len(lines), figsize=(13, 6), layout="constrained")
    quantities = (
        ("processor seconds a step", [[f.cpu_seconds for _, f in line] for line in lines.values()]),
        ("GiB above the loaded program", [[f.step_gib for _, f in line] for line in lines.values()]),
    )
    for axes, (title, curves) in zip(rows, quantities, strict=True):
        for axis, (name, line), values in zip(axes, lines.items(), curves, strict=True):
            places = [value for value, _ in line]
            axis.loglog(places, values, "o-", color="#1f6fb4", label="measured")
            linear = [values[-1] * place / places[-1] for place in places]
            axis.loglog(places, linear, ":", color="#667080", label="linear")
            axis.set_xticks(places, [f"{place:g}" for place in places], rotation=30, fontsize=8)
            axis.minorticks_off()
            axis.set_xlabel(name)
            axis.grid(alpha=0.3)
        axes[0].set_ylabel(title)
    rows[0][0].legend()
    z, y, x = base.patch
    figure.suptitle(
        f"A step of {base.row} round {base.filters} filters, {base.classes} classes, "
        f"{base.batch} + {base.batch} patches of {z}x{y}x{x} voxels, {base.precision}"
    )
    figure.savefig(path, dpi=110)
