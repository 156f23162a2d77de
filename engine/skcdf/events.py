"""What a child process tells its parent: events as JSON lines on the real standard output (`docs/worker.md`).

Needs no torch. One event is one line of UTF-8 JSON with the key ``event``.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from typing import Any, BinaryIO

from .progress import Progress

PROGRESS_INTERVAL_S = 0.1


class EventStream:
    """Writes events, from any thread, each as one whole line.

    Args:
        stream: where to; `take_standard_output` makes the one that a child uses.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: str, **content: Any) -> None:
        """Sends one event. NaN is refused: it is not JSON.

        Raises:
            BrokenPipeError: nobody listens any more.
        """
        line = json.dumps({"event": event, **content}, ensure_ascii=False, allow_nan=False) + "\n"
        with self._lock:
            # Half a surrogate pair, as in a file name that is no UTF-8, becomes the JSON escape that it is.
            self._stream.write(line.encode("utf-8", "backslashreplace"))
            self._stream.flush()


def take_standard_output() -> EventStream:
    """Keeps the real standard output for events alone: from now on, what any library prints goes to stderr."""
    return EventStream(real_standard_output())


def real_standard_output() -> BinaryIO:
    """The standard output as this process got it; what is printed from now on goes to stderr.

    It works on the descriptor, so that C++ libraries cannot break a line, either.
    """
    sys.stdout.flush()
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


class ProgressEvents:
    """A `ProgressCallback` that sends ``progress`` events: phase, fraction, seconds left, note.

    Args:
        events: where to.
        content: what else goes with every event: the request's id.
    """

    def __init__(self, events: EventStream, **content: Any) -> None:
        self._events, self._content = events, content
        self._phase: str | None = None
        self._begin = self._last = 0.0
        self._first = 0

    def __call__(self, report: Progress) -> None:
        """Takes one report; of those in quick succession only some are sent, the last of a phase always."""
        now = time.monotonic()
        if report.phase != self._phase:
            self._phase, self._begin, self._first = report.phase, now, report.done
        elif now - self._last < PROGRESS_INTERVAL_S and report.done < report.total:
            return
        self._last = now
        done, left = report.done - self._first, report.total - report.done
        self._events.send(
            "progress",
            **self._content,
            phase=report.phase,
            fraction=round(report.done / report.total, 4) if report.total else 1.0,
            eta_s=round((now - self._begin) / done * left, 1) if done else None,
            note=report.note,
        )


def without_nan(content: Any) -> Any:
    """``content`` with null for numbers that JSON lacks."""
    return json.loads(
        json.dumps(content), parse_constant=lambda _: None, parse_float=lambda text: _finite(float(text))
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
