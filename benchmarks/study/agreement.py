"""Whether the records are of today's matrix: what was trained and tested otherwise must not stand in one table."""

from __future__ import annotations

from collections import Counter

from skcdf.errors import SkcdfError

from .matrix import NNUNET, Matrix, Run
from .records import Record, Records
from .runs import command_of

HINT = "Delete it and carry its run out again, or restore the matrix that it is of."


def require_agreement(matrix: Matrix, records: Records) -> None:
    """Raises `SkcdfError` where a record is of another matrix, or tested on other cases than those beside it."""
    for name, record in records.all().items():
        if why := _why_of_another(matrix, record):
            raise SkcdfError(f"{records.folder / name}.json: is of another matrix ({why}).", HINT)
    _require_same_cases(records)


def _why_of_another(matrix: Matrix, record: Record) -> str:
    """The budget ``time`` is planned from what was measured then, so its iterations are the record's own."""
    scale, dataset, row = record["scale"], record["dataset"], record["row"]
    if scale not in matrix.scales or dataset not in matrix.datasets_at(scale):
        return f"it has no scale {scale} for {dataset}"
    if row == NNUNET:
        return ""
    if row not in matrix.rows and row not in matrix.ablations:
        return f"it has no row {row}"
    wanted, iterations = matrix.iterations(scale, dataset), record["iterations"]
    if record["budget"] == "iterations" and iterations != wanted:
        return f"{iterations} iterations, which are {wanted}"
    run = Run(scale, dataset, row, record["budget"], record["rate"], record["seed"])
    command = command_of(matrix.arguments(run, iterations))
    return "" if record.get("command") == command else f"its command is not {command}"


def _require_same_cases(records: Records) -> None:
    """Figures are paired by case: all of a data set and scale must be of the same cases and organs, in one order."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name, record in records.all().items():
        if test := record.get("test"):
            tested = repr((test["cases"], list(test["organs"])))
            found.setdefault((record["scale"], record["dataset"]), {})[name] = tested
    for (scale, dataset), each in found.items():
        usual = Counter(each.values()).most_common(1)[0][0]
        for name, tested in each.items():
            if tested != usual:
                raise SkcdfError(
                    f"{records.folder / name}.json: was tested on other cases or organs than the others of "
                    f"{dataset} at scale {scale}.",
                    HINT,
                )
