"""Tables of the first runs: one seed, one learning rate, 16 filters, two threads in bfloat16; before the matrix.

Their records lie in ``benchmarks/runs`` and hold means over cases, not the cases. They are not made any more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skcdf.errors import SkcdfError
from skcdf.files import read_json

from .records import FOLDER

NAMES = {
    "openkbp": ("skcdf", "skcdf-gamma", "supervised-same-iterations", "supervised-same-time"),
    "hippocampus": ("skcdf", "supervised-same-iterations", "supervised-same-time"),
}


def first_tables() -> str:
    """One table for each data set: a row for each organ, a column for each run."""
    parts = []
    for dataset, names in NAMES.items():
        files = [FOLDER.parent / f"{dataset}-{name}.json" for name in names]
        records = [read_json(file, "record of a run") for file in files]
        for file, record in zip(files, records, strict=True):
            _require_organs(file, records[0], record)
        parts.append(_table(records))
    return "\n\n".join(parts)


def _require_organs(file: Path, first: Any, record: Any) -> None:
    """Raises `SkcdfError` where a record cannot stand in a table beside the first one."""
    try:
        _table([first, record])
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise SkcdfError(f"{file}: is no record of the first runs ({error!r}).", "Restore it.") from error


def _table(records: list[dict[str, Any]]) -> str:
    """Markdown: Dice over the test cases by organ and run, and what each run took."""
    rows = [
        ["", *(record["title"] for record in records)],
        ["---", *("---:" for _ in records)],
        ["iterations", *(str(record["iterations"]) for record in records)],
        ["minutes", *(f"{record['seconds'] / 60:.1f}" for record in records)],
        ["best on validation", *(_best(record) for record in records)],
    ]
    for index, organ in enumerate(records[0]["organs"]):
        rows.append([organ["organ"], *(_dice(record["organs"][index]) for record in records)])
    means = [[organ["dice_mean"] for organ in record["organs"]] for record in records]
    rows.append(["**mean**", *(f"**{sum(each) / len(each):.3f}**" for each in means)])
    cases = records[0]["cases"]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    heading = f"{records[0]['dataset']}: {cases['test']} test cases, {cases['validation']} validation cases"
    return "\n".join([heading, "", *lines])


def _best(record: dict[str, Any]) -> str:
    """Dice and iteration of the validation that chose the weights."""
    found = record["validation"]
    return f"{found['dice']:.3f} at {found['iteration']}" if found else "last weights"


def _dice(organ: dict[str, Any]) -> str:
    """Mean ± standard deviation, and in how many cases the organ was missed."""
    missed = f", {organ['missed']} missed" if organ["missed"] else ""
    return f"{organ['dice_mean']:.3f} ± {organ['dice_sd']:.3f}{missed}"
