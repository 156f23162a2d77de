"""Whether a file is a record: everything that tables and choices read is there, and of the run that its name says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from skcdf.errors import SkcdfError

from .matrix import NNUNET, Budget, Run

HINT = "Restore it, or delete it and carry its run out again."
MOST = 1e12
"""Nothing that is measured here is larger; nan and infinity, which JSON does not know, are not below it."""


def require_record(file: Path, record: Any, metrics: tuple[str, ...]) -> None:
    """Raises `SkcdfError` where ``record``, which ``file`` holds, cannot be one; ``metrics``: of every organ."""
    if why := _why_none(file.stem, record, metrics):
        raise SkcdfError(f"{file}: is no record of a run ({why}).", HINT)


def _why_none(name: str, record: Any, metrics: tuple[str, ...]) -> str:
    if not isinstance(record, dict):
        return "there is no object in it"
    if missing := _missing(record, _OPPONENT if record.get("row") == NNUNET else _OURS):
        return f"{missing} is missing or wrong"
    run = Run(**{field.name: record[field.name] for field in fields(Run)})
    if run.name != name:
        return f"it says that it is {run.name}"
    load = record["training"].get("load")
    if load is not None and not (isinstance(load, list) and all(map(_is_number, load))):
        return "training.load is wrong"
    return _why_no_figures(record["test"], metrics) if record.get("test") else ""


def _why_no_figures(test: Any, metrics: tuple[str, ...]) -> str:
    """The figures must be those of the cases, one each, for every organ."""
    if missing := _missing(test, {"cases": _is_names, "organs": _is_object}):
        return f"test.{missing} is missing or wrong"
    shape = {
        **dict.fromkeys(metrics, _figures_of(len(test["cases"]))),
        "missed": _is_count,
        "spurious": _is_count,
    }
    for organ, each in test["organs"].items():
        if missing := _missing(each, shape):
            return f"test.organs.{organ}.{missing} is missing or wrong"
    return ""


def _missing(content: Any, shape: dict[str, Callable[[Any], bool]]) -> str:
    """The first key, with dots between its levels, whose value is not as it must be; empty where all are."""
    for key, is_right in shape.items():
        value = content
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                return key
            value = value[part]
        if not is_right(value):
            return key
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MOST


def _is_time(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_number_or_none(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_curves(value: Any) -> bool:
    return _is_object(value) and all(
        key.isdecimal() and int(key) > 0 and isinstance(curve, list) and all(map(_is_number, curve))
        for key, curve in value.items()
    )


def _figures_of(cases: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list) and len(value) == cases and all(map(_is_number_or_none, value))
    )


_RUN: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("scale", "dataset", "row"), _is_text),
    "budget": lambda value: value in get_args(Budget),
    "rate": _is_number,
    "seed": _is_count,
}
_OURS: dict[str, Callable[[Any], bool]] = {
    **_RUN,
    "iterations": _is_count,
    "training.loop_seconds": _is_time,
    "training.loop_cpu_seconds": _is_time,
    "training.resident_gib": _is_number,
    "training.gpu_gib": _is_number_or_none,
    "validation.best.iteration": _is_count,
    "validation.best.dice": _is_number,
}
_OPPONENT: dict[str, Callable[[Any], bool]] = {
    **_RUN,
    "status": _is_text,
    "rule": _is_text,
    "epochs.run": _is_count,
    "epochs.scheduled": _is_count,
    "curves": _is_curves,
    "training.seconds": _is_number,
}
