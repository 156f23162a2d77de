"""How time and memory of our sliding window grow with what it is given, measured round one case."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from growth_curves import Point, line
from skcdf.inference.sliding_window import SlidingWindow
from skcdf.phantom import make_phantom

from .task import SPACING_MM, WINDOW, Task

DEPTHS = (64, 128, 256, 512)
SIDES = (128, 192, 256, 384)
CLASSES = (2, 8, 32, 118)
OVERLAPS = (0.0, 0.5, 0.6, 0.75)
BATCHES = (1, 2, 4)
FILTERS = 8
Measure = Callable[[str, Path], dict[str, float]]


@dataclass(frozen=True)
class Case:
    """One point of a curve.

    Attributes:
        shape: ``(z, y, x)`` of the scan on the model's grid.
        classes, overlap: of the model.
        batch: windows in one call of the network.
    """

    shape: tuple[int, int, int] = (128, 192, 192)
    classes: int = 14
    overlap: float = 0.5
    batch: int = 1


BASE = Case()


def sweeps() -> Iterator[tuple[str, list[tuple[float, Case]]]]:
    """Name of each axis, and its values with their cases."""
    yield "slices", [(z, replace(BASE, shape=(z, 192, 192))) for z in DEPTHS]
    yield "voxels of a slice", [(n * n, replace(BASE, shape=(64, n, n))) for n in SIDES]
    yield "classes", [(value, replace(BASE, classes=value)) for value in CLASSES]
    yield (
        "windows, by overlap",
        [(windows(replace(BASE, overlap=value)), replace(BASE, overlap=value)) for value in OVERLAPS],
    )
    yield "windows at a time", [(value, replace(BASE, batch=value)) for value in BATCHES]


def windows(case: Case) -> int:
    """How many the network computes."""
    sliding = SlidingWindow(WINDOW, case.classes, case.overlap)
    return len(sliding.windows(case.shape, (0, case.shape[1])))


def measured(measure: Measure) -> dict[str, list[Point]]:
    """The curves; prints every point as it comes. One thread, whose seconds other programs hardly change."""
    patient = make_phantom(1, shape=WINDOW, spacing=(4.0, 3.0, 3.0))[0].array.astype(np.float32)
    curves: dict[str, list[Point]] = {}
    for name, cases in sweeps():
        curves[name] = []
        for value, case in cases:
            known = {"channels": 1, "classes": case.classes, "filters": FILTERS, "dropout": 0.0}
            task = Task(name, known, case.overlap, "cpu", threads=1)
            copies = [-(-n // side) for n, side in zip(case.shape, WINDOW, strict=True)]
            raw = np.tile(patient, copies)[tuple(slice(n) for n in case.shape)]
            with tempfile.TemporaryDirectory() as folder:
                task.save(Path(folder), np.ascontiguousarray(raw))
                found = measure(f"ours, {case.batch} at a time", Path(folder))
            curves[name].append(Point(value, found["cpu_seconds"], found["bytes"] / 2**30))
            print(line(name, curves[name][-1]), flush=True)
    return curves


def title() -> str:
    """What stays as it is while one thing is varied."""
    z, y, x = BASE.shape
    return (
        f"Segmenting {z}x{y}x{x} voxels at {SPACING_MM:g} mm, {BASE.classes} classes, overlap {BASE.overlap:g}, "
        f"{FILTERS} filters, window {'x'.join(map(str, WINDOW))}, one thread, fp32"
    )
