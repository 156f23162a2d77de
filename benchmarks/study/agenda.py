"""What is to be done next: the open runs in the order of the matrix's stages, most valuable first."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from skcdf.commands.train_arguments import add_arguments, chosen_settings
from skcdf.errors import SkcdfError
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import TrainingConfig

from .matrix import NNUNET, Budget, Matrix, Row, Run
from .rates import chosen_runs, iterations_of
from .records import Records


@dataclass(frozen=True)
class Task:
    """A run and how far it is wanted.

    Attributes:
        run: the run; its row is `NNUNET` for the opponent.
        iterations: optimiser steps.
        test: whether its test cases are wanted, too.
        purpose: the stage's kind.
    """

    run: Run
    iterations: int
    test: bool
    purpose: str


def open_tasks(matrix: Matrix, records: Records, scale: str) -> list[Task]:
    """Everything that can be begun now and has no record yet, in order, each once.

    Runs at a chosen learning rate appear when all tries of their row are finished, and those of equal time when the
    tries of the clock are; at a scale that takes another's rates, when the first seed of both was trained.
    """
    found: dict[tuple[str, bool], Task] = {}
    for stage in matrix.stages:
        for dataset in matrix.datasets_at(scale):
            if dataset not in stage["datasets"]:
                continue
            for task in _of_stage(matrix, records, scale, dataset, stage):
                found.setdefault((task.run.name, task.test), task)
    return list(found.values())


def _of_stage(
    matrix: Matrix, records: Records, scale: str, dataset: str, stage: dict[str, Any]
) -> Iterator[Task]:
    kind = stage["kind"]
    if kind == "nnunet":
        run = nnunet_run(scale, dataset)
        record = records.of(run)
        if record is None or record["status"] != "converged":
            yield Task(run, 0, True, kind)
        return
    rows = matrix.ablations if kind == "ablations" else stage.get("rows", matrix.rows)
    for run in _runs(matrix, records, scale, dataset, kind, list(rows), stage.get("budgets", ["iterations"])):
        test = kind == "tests"
        finished = records.tested(run) if test else records.of(run)
        iterations = iterations_of(matrix, records, run)
        if not finished and iterations is not None:
            yield Task(run, iterations, test, kind)


def _runs(
    matrix: Matrix,
    records: Records,
    scale: str,
    dataset: str,
    kind: str,
    rows: list[str],
    budgets: list[Budget],
) -> Iterator[Run]:
    if kind == "tries":
        for row in rows if matrix.chooser(scale) == scale else ():
            yield from matrix.tries(scale, dataset, row)
        return
    # the first seed of every row, then the second, so that a call that ends early leaves rows to compare
    columns = [
        chosen_runs(matrix, records, scale, dataset, row, budget)
        for budget in budgets
        for row in rows
        if budget == "iterations" or row != matrix.clock
    ]
    for seed in range(len(matrix.seeds)):
        yield from (runs[seed] for runs in columns if runs)


def nnunet_run(scale: str, dataset: str) -> Run:
    """The opponent's run."""
    return Run(scale, dataset, NNUNET, "iterations", 0.01, 0)


@cache
def unknown_to_engine(row: Row) -> str:
    """Why ``skcdf train`` of this version cannot carry out the row; empty when it can."""
    parser = _Parser()
    add_arguments(parser)
    try:
        settings: dict[str, Any] = chosen_settings(
            parser.parse_args(["POOL", "RUN", *shlex.split(row.arguments)])
        )
        TrainingConfig(PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1)), **settings)
    except SkcdfError as error:
        return error.message
    return ""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SkcdfError(message, "")
