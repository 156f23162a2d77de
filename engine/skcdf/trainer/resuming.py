"""Whether a run may go on from its checkpoint: a training cannot change over to other settings or data on its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import SkcdfError
from .checkpoint import TrainingState, plain, read_state
from .config import TrainingConfig

_WORDS = {"start": "start weights", "labels": "label set"}


def require_same_run(path: Path, now: TrainingState, processes: int) -> dict[str, Any]:
    """The settings of the run that left a checkpoint, as this version writes them.

    Args:
        path: the checkpoint.
        now: the state of the run that is to go on from it, before its first step.
        processes: how many train now.

    Raises:
        SkcdfError: the checkpoint cannot be read, or is of another run: as many processes, settings and data must be
            the same.
    """
    found = read_state(path)
    before = found.data.get("processes", 1)
    if before != processes:
        raise SkcdfError(
            f"{path}: this run was trained by {before} processes, now there are {processes}.",
            f"Start it by torchrun --nproc-per-node {before}, or give another folder to start anew."
            if before > 1
            else "Start it without torchrun, or give another folder to start anew.",
        )
    settings: dict[str, Any] = plain(TrainingConfig.from_json(found.config, str(path)).to_json())
    if settings != now.config:
        raise SkcdfError(
            f"{path}: this folder holds a run with other settings.",
            "Give the same settings to go on with it, or another folder to start anew.",
        )
    if changed := _changed(found.data, now.data):
        raise SkcdfError(
            f"{path}: what this run learns from has changed since it began: {', '.join(changed)}.",
            "Train anew: a training cannot change over to other data on its way.",
        )
    return settings


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two `TrainingState.data`, sorted: names of cases, and what else it is."""
    changed: set[str] = set()
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        lists = [each for each in (old, new) if isinstance(each, list)]
        fingerprints = [case for each in lists for case in each if isinstance(case, list)]
        names = {case[0] for case in fingerprints if not all(case in each for each in lists)}
        changed |= names or {_WORDS.get(key, key)}
    return sorted(changed)
