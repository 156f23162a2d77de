"""The choice of each row's learning rate, by the validation cases alone and with as many tries for every row."""

from __future__ import annotations

from dataclasses import dataclass

from .matrix import Budget, Matrix, Run
from .records import Record, Records, processor_of, validation_only


@dataclass(frozen=True)
class Choice:
    """How a row's learning rate was chosen.

    Attributes:
        dice: mean validation Dice of the best weights of every try, by learning rate; ``None``: not tried yet.
        rate: the chosen one; ``None`` while a try is open.
    """

    dice: dict[float, float | None]
    rate: float | None

    @property
    def at_edge(self) -> bool:
        """Whether the chosen rate is the smallest or largest try, so that a better one may lie beyond."""
        return self.rate in (min(self.dice), max(self.dice))


def choose_rate(matrix: Matrix, records: Records, scale: str, dataset: str, row: str) -> Choice:
    """Takes the rate whose best validation is best; of equal ones the smaller. All tries must be finished."""
    dice: dict[float, float | None] = {}
    for run in matrix.tries(scale, dataset, row):
        record = records.of(run)
        dice[run.rate] = validation_dice(validation_only(record)) if record else None
    known = {rate: value for rate, value in dice.items() if value is not None}
    complete = len(known) == len(dice)
    return Choice(dice, max(sorted(known), key=known.__getitem__) if complete else None)


def validation_dice(record: Record) -> float:
    """Mean Dice of the validation that chose a run's weights."""
    return float(record["validation"]["best"]["dice"])


def chosen_runs(
    matrix: Matrix, records: Records, scale: str, dataset: str, row: str, budget: Budget
) -> list[Run]:
    """The runs of a row at its chosen learning rate, one a seed; none while the rate is open.

    The budget ``time`` takes the rate that was chosen at equal iterations. An ablation takes that of the row that it
    changes: the clock's.
    """
    chooser = row if row in matrix.rows else matrix.clock
    rate = choose_rate(matrix, records, scale, dataset, chooser).rate
    if rate is None:
        return []
    return [Run(scale, dataset, row, budget, rate, seed) for seed in matrix.seeds]


def iterations_of(matrix: Matrix, records: Records, run: Run) -> int | None:
    """Optimiser steps of a run; ``None`` while its budget is time and that of a step is not measured.

    Equal time is equal by what was measured in the tries of both rows: CPU seconds where one thread computes, else the
    clock's. Other work on a machine makes a step take longer, also in CPU time, so each row's quickest try counts. A
    scale that takes another's rates has no tries: there the first seed's runs count. Times of different processors are
    not compared: where both rows were not tried on one, there is no plan.
    """
    steps = matrix.iterations(run.scale, run.dataset)
    if run.budget == "iterations" or run.row == matrix.clock:
        return steps
    clock, own = (least_seconds(matrix, records, run, row) for row in (matrix.clock, run.row))
    common = sorted(clock.keys() & own.keys(), key=clock.__getitem__)
    return max(1, round(steps * clock[common[0]] / own[common[0]])) if common else None


def least_seconds(matrix: Matrix, records: Records, run: Run, row: str) -> dict[str, float]:
    """Time of the quickest of the runs that tell what a row takes, by processor; nothing while one is open."""
    timed = matrix.tries(run.scale, run.dataset, row)
    if matrix.chooser(run.scale) != run.scale:
        timed = chosen_runs(matrix, records, run.scale, run.dataset, row, "iterations")[:1]
    found = [record for each in timed if (record := records.of(each))]
    time = matrix.scales[run.scale]["time"]
    least: dict[str, float] = {}
    for record in found if len(found) == len(timed) else ():
        seconds, processor = record["training"][time], processor_of(record)
        least[processor] = min(seconds, least.get(processor, seconds))
    return least
