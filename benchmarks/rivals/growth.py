"""How time and memory of our sliding window grow with what it is given: measured round one case, and drawn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from skcdf.inference.sliding_window import SlidingWindow
from skcdf.phantom import make_phantom

from .task import SPACING_MM, WINDOW, Task

DEPTHS = (64, 128, 256, 512)
SIDES = (128, 192, 256, 384)
CLASSES = (2, 8, 32, 118)
OVERLAPS = (0.0, 0.25, 0.5, 0.75)
BATCHES = (1, 2, 4, 8)
FILTERS = 8
Measure = Callable[[str, Path], dict[str, float]]
Line = list[tuple[float, float, float]]
"""Value, processor seconds, GiB."""


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
    yield "rows along z", [(z, replace(BASE, shape=(z, 192, 192))) for z in DEPTHS]
    yield "voxels of a row", [(n * n, replace(BASE, shape=(64, n, n))) for n in SIDES]
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


def measured(measure: Measure) -> dict[str, Line]:
    """Prints a line for every case as it comes; one thread, whose seconds other programs hardly change."""
    patient = make_phantom(1, shape=WINDOW, spacing=(4.0, 3.0, 3.0))[0].array.astype(np.float32)
    lines: dict[str, Line] = {}
    for name, cases in sweeps():
        lines[name] = []
        for value, case in cases:
            known = {"channels": 1, "classes": case.classes, "filters": FILTERS, "dropout": 0.0}
            task = Task(name, known, case.overlap, "cpu", threads=1)
            copies = [-(-n // side) for n, side in zip(case.shape, WINDOW, strict=True)]
            raw = np.tile(patient, copies)[tuple(slice(n) for n in case.shape)]
            with tempfile.TemporaryDirectory() as folder:
                task.save(Path(folder), np.ascontiguousarray(raw))
                found = measure(f"ours, {case.batch} at a time", Path(folder))
            lines[name].append((value, found["cpu_seconds"], found["bytes"] / 2**30))
            print("{:20} {:>8g} {:8.1f} cpu s {:6.2f} GiB".format(name, *lines[name][-1]), flush=True)
    return lines


def draw(lines: dict[str, Line], path: Path) -> None:
    """Seconds and memory over each axis, with what linear growth from the largest value would be."""
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(2, len(lines), figsize=(15, 6), layout="constrained")
    for row, title in enumerate(("processor seconds", "GiB above the loaded program")):
        for axis, (name, line) in zip(rows[row], lines.items(), strict=True):
            places, values = [point[0] for point in line], [point[1 + row] for point in line]
            axis.plot(places, values, "o-", color="#1f6fb4", label="measured")
            linear = [values[-1] * place / places[-1] for place in places]
            axis.plot(places, linear, ":", color="#667080", label="proportional")
            axis.set_ylim(bottom=0)
            axis.set_xticks(places, [f"{place:g}" for place in places], rotation=30, fontsize=8)
            axis.set_xlabel(name)
            axis.grid(alpha=0.3)
        rows[row][0].set_ylabel(title)
    rows[0][0].legend()
    z, y, x = BASE.shape
    figure.suptitle(
        f"Segmenting {z}x{y}x{x} voxels at {SPACING_MM:g} mm, {BASE.classes} classes, overlap {BASE.overlap:g}, "
        f"{FILTERS} filters, window {'x'.join(map(str, WINDOW))}, one thread, fp32"
    )
    figure.savefig(path, dpi=110)
