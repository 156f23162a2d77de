"""What a long run tells: everything to its log, and the same to people in a terminal or to a parent program."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..events import EventStream, ProgressEvents, without_nan
from ..launch import launched
from ..progress import Progress
from ..run_log import RunLog
from ..training_figures import CurvePoint, TrainingFigures
from .console import ConsoleProgress

LOGGED_PROGRESS_S = 60.0
OUTPUT, ERRORS = 1, 2


class Announcer:
    """Tells people: stdout has what is said, stderr progress and errors.

    Of the processes that ``torchrun`` started only the first speaks, of its errors every one. When nobody reads what
    it writes any more, the run goes on and the log is complete.

    Attributes:
        log: the run's, once it is open.
        on_lost: called when nobody reads any more.
    """

    def __init__(self) -> None:
        self.log: RunLog | None = None
        self.on_lost: Callable[[], None] = lambda: None
        self._first = launched().rank == 0
        self._progress = ConsoleProgress()
        self._phase, self._logged = "", 0.0
        self._lost: set[int] = set()

    def say(self, text: str) -> None:
        """One or more lines."""
        if self._first:
            self._write(text)
            self._attempt(OUTPUT, lambda: self._show(text))

    def progress(self, report: Progress) -> None:
        """Shows how far the work is; the log gets begin and end of each phase, and a line a minute."""
        if not self._first:
            return
        now, over = time.monotonic(), report.done >= report.total
        if report.phase != self._phase or over or now - self._logged > LOGGED_PROGRESS_S:
            note = f", {report.note}" if report.note else ""
            self._write(f"{report.phase} {report.done}/{report.total}{note}")
            self._phase, self._logged = report.phase, now
        self._attempt(ERRORS, lambda: self._show_progress(report))

    def figures(self, figures: TrainingFigures) -> None:
        """Curves and class balance; for programs alone, since people have the report."""

    def error(self, message: str, hint: str) -> None:
        """What went wrong and what to do."""
        self._write(f"error: {message}" + (f"\nhint: {hint}" if hint else ""))
        self._attempt(ERRORS, lambda: self._show_error(message, hint))

    def stopping(self, text: str) -> None:
        """A stop was asked for; may come from any thread."""
        if self._first:
            self._write(text)
            self._attempt(ERRORS, lambda: self._show_note(text))

    def stopped(self, text: str, iteration: int | None) -> None:
        """The run was stopped; of its training ``iteration`` steps are kept."""
        if self._first:
            self._write(text)
            self._attempt(OUTPUT, lambda: self._show_stopped(text, iteration))

    def result(self, text: str, **content: Any) -> None:
        """The run is done: in words and as the content of an event."""
        if self._first:
            self._write(text)
            self._attempt(OUTPUT, lambda: self._show_result(text, content))

    def close(self) -> None:
        """Ends a progress bar that stands."""
        self._attempt(ERRORS, self._progress.close)

    def _write(self, text: str) -> None:
        if self.log is not None:
            self.log.write(text)

    def _attempt(self, number: int, show: Callable[[], None]) -> None:
        if number in self._lost:
            return
        try:
            show()
        except (OSError, ValueError) as error:
            self._write(f"nobody reads the output any more ({error}); the log goes on")
            self._lose(number)

    def _lose(self, number: int) -> None:
        """Sends to nowhere what a library prints or Python flushes at its end, which would fail as well."""
        self._lost.add(number)
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
        self.on_lost()

    def _show(self, text: str) -> None:
        self._progress.close()
        print(text, flush=True)

    def _show_progress(self, report: Progress) -> None:
        self._progress(report)

    def _show_error(self, message: str, hint: str) -> None:
        self._progress.close()
        print(f"error: {message}" + (f"\nhint: {hint}" if hint else ""), file=sys.stderr, flush=True)

    def _show_note(self, text: str) -> None:
        print(f"\n{text}", file=sys.stderr, flush=True)

    def _show_stopped(self, text: str, iteration: int | None) -> None:
        self._show(text)

    def _show_result(self, text: str, content: dict[str, Any]) -> None:
        self._show(text)


class EventAnnouncer(Announcer):
    """Tells a parent program, by events.

    Args:
        events: where to.
    """

    def __init__(self, events: EventStream) -> None:
        super().__init__()
        self._events = events
        self._sent_progress = ProgressEvents(events)

    def hello(self, **content: Any) -> None:
        """The first event."""
        if self._first:
            self._attempt(OUTPUT, lambda: self._events.send("hello", **content))

    def figures(self, figures: TrainingFigures) -> None:
        """A ``curve`` or a ``balance`` event."""
        kind = "curve" if isinstance(figures, CurvePoint) else "balance"
        if self._first:
            self._attempt(OUTPUT, lambda: self._events.send(kind, **without_nan(asdict(figures))))

    def _lose(self, number: int) -> None:
        for each in (OUTPUT, ERRORS):
            super()._lose(each)

    def _show(self, text: str) -> None:
        self._events.send("log", message=text)

    def _show_progress(self, report: Progress) -> None:
        self._sent_progress(report)

    def _show_error(self, message: str, hint: str) -> None:
        if self._first:
            self._events.send("error", message=message, hint=hint)
        else:
            super()._show_error(message, hint)

    def _show_note(self, text: str) -> None:
        self._show(text)

    def _show_stopped(self, text: str, iteration: int | None) -> None:
        self._events.send("stopped", message=text, iteration=iteration)

    def _show_result(self, text: str, content: dict[str, Any]) -> None:
        self._events.send("result", **content)
