"""What a command shows while it works, and how Ctrl-C reaches the work.

Of the processes that ``torchrun`` started only the first shows anything but its results and errors.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from ..files import TERMINATION
from ..launch import launched
from ..progress import CancelToken, Progress, duration
from ..stop_sources import StopSources

LINE_SECONDS = 5.0


class ConsoleProgress:
    """Shows progress on stderr: a bar in a terminal that has tqdm, else a line now and then."""

    def __init__(self) -> None:
        self._phase = ""
        self._begin = self._last = 0.0
        self._bar: Any = None

    def __call__(self, report: Progress) -> None:
        """Takes one report."""
        if launched().rank > 0:
            return
        if report.phase != self._phase:
            self.close()
            self._phase, self._begin, self._first = report.phase, time.monotonic(), report.done
            self._last = self._begin - LINE_SECONDS if report.done == report.total else self._begin
            self._bar = _bar(report)
        if self._bar is not None:
            self._bar.total = report.total
            self._bar.set_postfix_str(report.note, refresh=False)
            self._bar.update(report.done - self._bar.n)
        else:
            self._print_line(report)
        if report.done >= report.total:
            self.close()

    def close(self) -> None:
        """Ends the bar of the running phase."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._phase = None, ""

    def _print_line(self, report: Progress) -> None:
        now = time.monotonic()
        if now - self._last < LINE_SECONDS and report.done < report.total:
            return
        self._last = now
        done = report.done - self._first
        left = (now - self._begin) / done * (report.total - report.done) if done else 0.0
        parts = [f"{report.phase} {report.done}/{report.total}", report.note]
        parts.append(f"{duration(left)} left" if left >= 1 else "")
        print(", ".join(part for part in parts if part), file=sys.stderr, flush=True)


def _bar(report: Progress) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=report.total, initial=report.done, desc=report.phase, unit="", dynamic_ncols=True)


@contextlib.contextmanager
def spoken_by_first() -> Iterator[None]:
    """Inside it, what other processes than the first print to stdout is lost."""
    with contextlib.ExitStack() as stack:
        if launched().rank > 0:
            silence = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(silence))
        yield


@contextlib.contextmanager
def cancel_on_interrupt() -> Iterator[CancelToken]:
    """Turns the first Ctrl-C into a raised token, so that work stops at a safe point; the second one is hard.

    Under ``torchrun``, which also asks by SIGTERM when another process ended or the computer is needed, and kills
    after 30 s, every signal means a safe point.
    """
    together = launched().processes > 1

    def tell(reason: str) -> None:
        if launched().rank == 0:
            again = "" if together else "; press Ctrl-C again to stop at once"
            print(f"\nstopping at the next safe point{again}", file=sys.stderr)

    with StopSources(tell, signals=(signal.SIGINT, TERMINATION) if together else (signal.SIGINT,)) as stop:
        yield stop.token
