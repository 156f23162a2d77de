"""How time and memory of a step grow with its size, measured round one case."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from growth_curves import Point, line

from .case import Case
from .runs import interleaved

PATCHES = ((32, 32, 32), (32, 32, 64), (32, 64, 64), (64, 64, 64), (64, 64, 128))
CLASSES = (2, 14, 32, 118)
FILTERS = (4, 8, 16, 32)
BATCHES = (1, 2, 4, 8)


def sweeps(base: Case) -> Iterator[tuple[str, list[tuple[float, Case]]]]:
    """Name of each axis, and its values with their cases."""
    yield "patch, thousand voxels", [(math.prod(p) // 1000, replace(base, patch=p)) for p in PATCHES]
    yield "classes", [(value, replace(base, classes=value)) for value in CLASSES]
    yield "filters", [(value, replace(base, filters=value)) for value in FILTERS]
    yield "batch, labelled patches", [(value, replace(base, batch=value)) for value in BATCHES]


def measured(base: Case, repeats: int) -> dict[str, list[Point]]:
    """The curves; a case that lies on several is measured once. One thread: other programs change its seconds less."""
    base = replace(base, threads=1)
    cases = list(dict.fromkeys(case for _, points in sweeps(base) for _, case in points))
    figures = dict(zip(cases, interleaved(cases, repeats), strict=True))
    curves = {
        name: [Point(value, figures[case].cpu_seconds, figures[case].step_gib) for value, case in points]
        for name, points in sweeps(base)
    }
    print("\n".join(line(name, point) for name, points in curves.items() for point in points))
    return curves


def title(base: Case) -> str:
    """What stays as it is while one thing is varied."""
    z, y, x = base.patch
    return (
        f"A step of {base.row} round {base.filters} filters, {base.classes} classes, "
        f"{base.batch} + {base.batch} patches of {z}x{y}x{x} voxels, one thread, {base.precision}"
    )
