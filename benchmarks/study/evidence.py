"""What the records hold of one row: the runs of its chosen learning rate, stacked for means and differences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from .agenda import nnunet_run
from .matrix import BEST, NNUNET, Budget, Matrix
from .rates import chosen_runs, validation_dice
from .records import Record, Records, processor_of, validation_only, values


@dataclass(frozen=True)
class Evidence:
    """The finished runs of one row with figures on the test cases.

    Attributes:
        row: its name.
        budget: of which column.
        records: one a seed.
        wanted: how many seeds there should be.
    """

    row: str
    budget: Budget
    records: tuple[Record, ...]
    wanted: int

    def values(self, metric: str = "dice", organs: tuple[str, ...] = ()) -> np.ndarray:
        """A metric ``(seed, case, organ)``; of all organs where none are named."""
        columns = [index for index, name in enumerate(self.organs) if not organs or name in organs]
        return np.stack([values(record, metric) for record in self.records])[..., columns]

    @cached_property
    def organs(self) -> tuple[str, ...]:
        """Names, in the label set's order."""
        return tuple(self.records[0]["test"]["organs"])

    @property
    def cases(self) -> list[str]:
        """Names of the test cases."""
        return list(self.records[0]["test"]["cases"])

    def missed(self, organ: str = "") -> int:
        """In how many cases of all seeds an organ, or any, was not found at all."""
        found = [record["test"]["organs"] for record in self.records]
        return sum(each["missed"] for organs in found for name, each in organs.items() if organ in ("", name))

    def seconds(self, time: str) -> float:
        """What a training took, mean over seeds; ``time`` is the scale's measure."""
        return fmean(record["training"][time] for record in self.records)

    @property
    def processors(self) -> set[str]:
        """What the trainings ran on."""
        return {processor_of(record) for record in self.records}

    @property
    def is_complete(self) -> bool:
        """Whether every seed is there."""
        return len(self.records) == self.wanted


def evidence(
    matrix: Matrix, records: Records, scale: str, dataset: str, row: str, budget: Budget
) -> Evidence | None:
    """What there is of a row; ``None`` where no test case was segmented yet.

    The clock's runs stand in both columns: its time is the budget. So does nnU-Net's, which has a plan of its own.
    """
    if row == NNUNET:
        record = records.tested(nnunet_run(scale, dataset))
        return Evidence(row, budget, (record,), 1) if record else None
    runs = chosen_runs(matrix, records, scale, dataset, row, "iterations" if row == matrix.clock else budget)
    found = tuple(record for run in runs if (record := records.tested(run)))
    return Evidence(row, budget, found, len(matrix.seeds)) if found else None


def best_row(matrix: Matrix, records: Records, scale: str, dataset: str, budget: Budget) -> str | None:
    """Ours with the best mean validation Dice over seeds, among rows with all seeds; test cases are not looked at."""
    found = complete_rows(matrix, records, scale, dataset, budget)
    return max(found, key=found.__getitem__, default=None)


def complete_rows(
    matrix: Matrix, records: Records, scale: str, dataset: str, budget: Budget
) -> dict[str, float]:
    """Mean validation Dice over seeds of ours that have all seeds, among which the best is chosen."""
    found: dict[str, float] = {}
    for row in matrix.rows:
        taken = "iterations" if row == matrix.clock else budget
        runs = chosen_runs(matrix, records, scale, dataset, row, taken)
        finished = [validation_only(record) for run in runs if (record := records.of(run))]
        if runs and len(finished) == len(runs):
            found[row] = fmean(map(validation_dice, finished))
    return found


def row_named(
    matrix: Matrix, records: Records, scale: str, dataset: str, name: str, budget: Budget
) -> str | None:
    """``name``, or the row that `BEST` stands for."""
    return best_row(matrix, records, scale, dataset, budget) if name == BEST else name
