"""What the children have said, with its time: kept for *Show log*, and appended to a file of the open project.

Lines are the engine's own words, in English whatever the user's language is, so that they can be sent to somebody.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skcdf.run_log import RunLog

from .Readiness import Readiness
from .Signal import Signal
from .TrainingProcess import TrainingOutcome

LINES_KEPT = 500
_TOLD_OF_RESULTS = ("model", "device", "seconds", "case", "action")


class EngineLog:
    """One log for all children; a file a day.

    Args:
        folder: gives the folder of the files, ``None`` where there is none: then the log is in memory only.

    Attributes:
        changed: emits nothing, after something was added.
    """

    def __init__(self, folder: Callable[[], Path | None]) -> None:
        self._folder = folder
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.changed = Signal()

    @property
    def text(self) -> str:
        """The last lines."""
        return "\n".join(self._lines)

    @property
    def file(self) -> Path | None:
        """Today's file, whether or not it is there yet."""
        folder = self._folder()
        return None if folder is None else folder / f"{time.strftime('%Y-%m-%d')}.log"

    def write(self, words: str) -> None:
        """Adds words; a disk that refuses them stops nobody's work."""
        self._lines.extend(f"{time.strftime('%H:%M:%S')}  {words}".splitlines())
        file = self.file
        # Nothing is made anew where a project was moved away, and one that may only be read is not complained of.
        if file is not None and os.access(
            file.parent, os.W_OK
        ):  # opened anew each time: Windows does not delete a file that is open
            log = RunLog(file, lazily=True)
            log.write(words)
            log.close()
        self.changed.emit()

    def hear(self, event: dict[str, Any]) -> None:
        """Adds an event of a child."""
        self.write(_words(event))

    def hearTraining(self, outcome: TrainingOutcome) -> None:
        """Adds how a training has ended."""
        if outcome.error is not None:
            self.write(f"training: error: {outcome.error.message} {outcome.error.hint}".rstrip())
        elif outcome.stopped is not None:
            self.write(f"training: stopped: {outcome.stopped.get('message') or ''}")
        else:
            result = outcome.result or {}
            self.write(f"training: {result.get('name')} {result.get('version')} is done")

    def hearReadiness(self, readiness: Readiness) -> None:
        """Adds what is installed."""
        packages = [f"{name} {each.version} {each.state}" for name, each in readiness.packages.items()]
        problems = [f"problem: {each.message}" for each in readiness.problems]
        failure = [f"error: {readiness.error.message}"] if readiness.error is not None else []
        parts = [readiness.python, *packages, readiness.device, *problems, *failure]
        self.write("doctor: " + "; ".join(filter(None, parts)))


def _words(event: dict[str, Any]) -> str:
    """An event in a line; what a result holds of scans and organs is left out."""
    name, number = event["event"], event.get("id")
    if name == "log":
        return f"{event.get('level') or 'note'}: {event.get('message') or ''}"
    if name == "hello":
        said = [
            f"{key} {event[key]}" for key in ("skcdf", "pid", "torch", "device", "missing") if event.get(key)
        ]
    elif name == "result":
        said = [str(event.get("request") or "")]
        said += [f"{key} {event[key]}" for key in _TOLD_OF_RESULTS if event.get(key)]
        said += list(event.get("notes") or ())
    else:
        said = [str(event[key]) for key in ("code", "reason", "message", "hint") if event.get(key)]
    head = name if number is None else f"{name} {number}"
    return f"{head}: " + ", ".join(said) if said else head
