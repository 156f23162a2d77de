"""The trainings of a project: a folder for each, named by the day, and which of them was stopped and can go on.

Needs no torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import SkcdfError
from .files import read_json
from .lock import lock_owner
from .models import MODEL_FILE
from .run_folder import CHECKPOINT_FILE, LOCK_FILE, LOG_FILE, RUN_FILE
from .weights import read_metadata

RUN_NAME = re.compile(r"(\d{4}-\d\d-\d\d)_([1-9]\d*)")
_TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class RunState:
    """A training that was stopped, and can go on.

    Attributes:
        folder: the run's.
        iteration: steps that its checkpoint has behind it.
        total: steps in all.
        started: when it began, UTC, ISO 8601.
        running: whether a program works in it at this moment.
        method: of the training.
        plugin: that goes with the method; empty: none.
        preset: as the run was asked for it; empty: not known.
        start: the model that it started from; empty: none, or not known.
        time_budget_s: for everything, as the run was asked for it; ``None``: no limit.
        seconds: spent training so far.
        stop_after_s: seconds of training after which it ends whatever happens; ``None``: never.
    """

    folder: Path
    iteration: int
    total: int
    started: str
    running: bool = False
    method: str = ""
    plugin: str = ""
    preset: str = ""
    start: str = ""
    time_budget_s: float | None = None
    seconds: float = 0.0
    stop_after_s: float | None = None

    @property
    def steps_to_come(self) -> int:
        """Steps that it would still do: those that are left, as far as its time allows at the pace so far."""
        left = self.total - self.iteration
        if self.stop_after_s is None or left <= 0:
            return max(left, 0)
        time_left = max(self.stop_after_s - self.seconds, 0.0)
        if not self.iteration or not self.seconds:  # no pace yet
            return left if time_left else 0
        return min(left, int(time_left * self.iteration / self.seconds))


def new_run_folder(runs: Path) -> Path:
    """A name below ``runs`` that nothing has: ``2026-11-26_1``, by the day. The folder is not made."""
    day = time.strftime("%Y-%m-%d")
    number = 1
    while os.path.lexists(runs / f"{day}_{number}"):
        number += 1
    return runs / f"{day}_{number}"


def unfinished_run(runs: Path) -> RunState | None:
    """The newest training below ``runs`` that has a checkpoint and is not done.

    ``None``: there is none, or a later one is done. A run whose checkpoint cannot be read is passed over.
    """
    for run in reversed(_runs(runs)):
        if _is_done(run):
            return None
        with contextlib.suppress(SkcdfError, OSError, ValueError, KeyError, TypeError):
            state = json.loads(read_metadata(run / CHECKPOINT_FILE)["skcdf"])
            return RunState(
                run,
                int(state["iteration"]),
                int(state["config"]["iterations"]),
                _beginning(run),
                _is_running(run),
                str(state["config"].get("method", "")),
                _plugin_of(state["config"]),
                seconds=float(state["seconds"]),
                **_wishes(run),
            )
    return None


def _plugin_of(config: dict[str, Any]) -> str:
    plugin = config.get("plugin")
    return plugin if isinstance(plugin, str) and plugin != "none" else ""


def _wishes(run: Path) -> dict[str, Any]:
    """What a fine-tuning was asked for; nothing where its record is missing or damaged."""
    with contextlib.suppress(SkcdfError, AttributeError):
        record = read_json(run / RUN_FILE, "fine-tuning run")
        wishes = {"preset": record.get("preset"), "start": record.get("parent") or record.get("start")}
        times = {name: record.get(name) for name in ("time_budget_s", "stop_after_s")}
        found = {name: value for name, value in wishes.items() if isinstance(value, str)}
        return found | {name: value for name, value in times.items() if isinstance(value, int | float)}
    return {}


def _runs(folder: Path) -> list[Path]:
    """Folders of trainings, the oldest first."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if (match := RUN_NAME.fullmatch(path.name)) and path.is_dir():
                found.append((match[1], int(match[2]), path))
    return [path for _, _, path in sorted(found)]


def _is_done(run: Path) -> bool:
    """Whether a training's outcome is where it should be.

    A model alone is none: its validation, or its way into the store, may have been interrupted.
    """
    if not (run / RUN_FILE).is_file():  # no fine-tuning
        return (run / "model" / MODEL_FILE).is_file()
    with contextlib.suppress(SkcdfError, AttributeError):
        record = read_json(run / RUN_FILE, "fine-tuning run")
        lacks_version = record.get("store") and not record.get("version") and record.get("kept") != "start"
        return bool(record.get("finished")) and not lacks_version
    return False


def _is_running(run: Path) -> bool:
    owner = lock_owner(run / LOCK_FILE)
    return owner is not None and not owner.is_dead


def _beginning(run: Path) -> str:
    """When a training began: its log's first line says it in the computer's own time."""
    with contextlib.suppress(OSError, ValueError):
        with open(run / LOG_FILE, encoding="utf-8", errors="replace") as log:
            first = log.readline()[: len("2026-11-26 12:00:00")]
        return datetime.strptime(first, _TIME).astimezone(UTC).isoformat()
    return datetime.fromtimestamp((run / CHECKPOINT_FILE).stat().st_mtime, UTC).isoformat(timespec="seconds")
