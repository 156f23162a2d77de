"""Records as runs of the accuracy benchmark leave them, with figures that a test chooses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from study import rates
from study.matrix import Matrix, Run
from study.records import METRICS, Records

ORGANS = ("esophagus", "larynx", "right_parotid_gland", "mandible")
MATRIX = Matrix.load()


def record(run: Run, validation: float, test: float | None = None, seconds: float = 100.0) -> dict[str, Any]:
    """What a finished run leaves; Dice of the test cases lies round ``test``, by as much in every run."""
    found: dict[str, Any] = {
        **dataclasses.asdict(run),
        "iterations": 500,
        "training": {
            "loop_cpu_seconds": seconds,
            "loop_seconds": seconds,
            "gpu_gib": None,
            "resident_gib": 1.2,
        },
        "validation": {"best": {"iteration": 500, "dice": validation, "organs": {}}},
    }
    if test is not None:
        spread = np.linspace(-0.05, 0.05, 6)
        figures = {name: [round(test + each, 4) for each in spread] for name in METRICS}
        organs = {organ: {**figures, "missed": 0, "spurious": 0} for organ in ORGANS}
        found["test"] = {"cases": [f"case_{index}" for index in range(6)], "organs": organs}
    return found


def finish_tries(records: Records, row: str, best: float, scale: str = "cpu", **more: Any) -> None:
    """Tries of a row on OpenKBP, of which the one with the rate ``best`` wins."""
    for run in MATRIX.tries(scale, "openkbp", row):
        records.write(run.name, record(run, 0.6 if run.rate == best else 0.5, **more))


def finish_tests(records: Records, row: str, dice: float) -> None:
    for run in rates.chosen_runs(MATRIX, records, "cpu", "openkbp", row, "iterations"):
        validation = records.of(run)["validation"]["best"]["dice"] if records.of(run) else 0.6
        records.write(run.name, record(run, validation + dice / 100, dice + 0.01 * run.seed))
