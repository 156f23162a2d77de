"""How long work tells where it is, and how it is asked to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """One report of a running job.

    Attributes:
        phase: what is being done: ``train``, ``segment``.
        done, total: steps finished and steps in all.
        note: what a person wants to see beside the bar: the loss, the time left of a slow phase.
    """

    phase: str
    done: int
    total: int
    note: str = ""


ProgressCallback = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """Takes a report and does nothing with it."""


class CancelToken:
    """A flag that one thread raises and another, at its next safe point, obeys."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Asks the job to stop at its next safe point."""
        self._event.set()

    def raise_if_cancelled(self) -> None:
        """Raises:
        Cancelled: `cancel` was called.
        """
        if self._event.is_set():
            raise Cancelled


def duration(seconds: float) -> str:
    """Seconds in words: ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
