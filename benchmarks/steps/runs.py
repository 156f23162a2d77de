"""Runs cases, each in processes of its own, taking turns, and what came of it."""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .case import Case, Outcome

MEASURE = Path(__file__).with_name("measure.py")


@dataclass(frozen=True)
class Figures:
    """Medians over all repeats of a case.

    Attributes:
        seconds, cpu_seconds: of a step.
        spread: from the fastest to the slowest step, in seconds.
        draw_seconds: of its patches.
        peak_gib: of the whole process; on a GPU, there.
        step_gib: of it above the loaded program.
    """

    seconds: float
    cpu_seconds: float
    spread: tuple[float, float]
    draw_seconds: float
    peak_gib: float
    step_gib: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Figures:
        """The figures of some processes."""
        seconds = [each for outcome in outcomes for each in outcome.seconds]
        return cls(
            statistics.median(seconds),
            statistics.median(each for outcome in outcomes for each in outcome.cpu_seconds),
            (min(seconds), max(seconds)),
            statistics.median(outcome.draw_seconds for outcome in outcomes),
            max(outcome.peak_bytes for outcome in outcomes) / 2**30,
            max(outcome.peak_bytes - outcome.start_bytes for outcome in outcomes) / 2**30,
        )


def in_own_process(case: Case) -> Outcome:
    """Measures one case; ends the program with the child's error where it fails."""
    command = [sys.executable, str(MEASURE), json.dumps(dataclasses.asdict(case))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{case.row} failed:\n{done.stderr}")
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def interleaved(cases: Sequence[Case], repeats: int) -> list[Figures]:
    """Every case ``repeats`` times, in turns: what else the machine does hits all alike."""
    outcomes: list[list[Outcome]] = [[] for _ in cases]
    for _ in range(repeats):
        for case, found in zip(cases, outcomes, strict=True):
            found.append(in_own_process(case))
    return [Figures.of(found) for found in outcomes]
