"""The warm child process: JSON lines in, JSON lines out (`docs/worker.md`).

One thread reads requests from the first moment on, while torch is still being imported; the main thread works through
them, one at a time. The end of the standard input ends the process at once, whatever it is doing: a parent that
crashes leaves no orphan.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import textwrap
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from . import __version__
from .errors import Cancelled, SkcdfError
from .events import EventStream, ProgressEvents, real_standard_output
from .progress import CancelToken
from .worker_input import LONGEST_LINE, lines, take_standard_input
from .worker_requests import Cancel, Message, Ping, Request, RequestError, Shutdown, parse_message

if TYPE_CHECKING:
    from .worker_jobs import Jobs

PROTOCOL = 1
MOST_WAITING = 32
IDLE_MINUTES = 10.0
_MOST_HELD = 1000
_LONGEST_MESSAGE = 300

_logger = logging.getLogger(__name__)


class GreetingFirst(EventStream):
    """Events of which ``hello`` is the first: what is said before it waits.

    Args:
        stream: see `EventStream`.
        on_deaf: called when nobody reads the events any more.
    """

    def __init__(self, stream: BinaryIO, on_deaf: Callable[[], NoReturn]) -> None:
        super().__init__(stream)
        self._on_deaf = on_deaf
        self._order = threading.Condition()
        self._held: list[tuple[str, dict[str, Any]]] | None = []

    def greet(self, **content: Any) -> None:
        """Sends ``hello`` and all that has waited for it."""
        with self._order:
            held, self._held = self._held or [], None
            self._send("hello", content)
            for event, each in held:
                self._send(event, each)
            self._order.notify_all()

    def send(self, event: str, **content: Any) -> None:
        """Sends one event, or keeps it for later; see `EventStream.send`."""
        with self._order:
            self._order.wait_for(lambda: self._held is None or len(self._held) < _MOST_HELD)
            if self._held is not None:
                self._held.append((event, content))
                return
        self._send(event, content)

    def _send(self, event: str, content: dict[str, Any]) -> None:
        try:
            super().send(event, **content)
        except OSError:
            self._on_deaf()


class Worker:
    """Takes messages from one thread and works in another.

    Args:
        events: where answers go.
        idle_s: seconds without work after which model and GPU memory are let go.
    """

    def __init__(self, events: EventStream, idle_s: float) -> None:
        self._events = events
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._running: Request | None = None
        self._token = CancelToken()
        self._ending: list[int] = []  # ids of the requests to shut down
        self._warm: str | None = None

    def listen(self, messages: Iterable[bytes | None]) -> None:
        """Takes lines until they end; whatever they hold, it goes on.

        Args:
            messages: lines as `worker_input.lines` yields them.
        """
        for line in messages:
            try:
                if line is None:
                    raise RequestError(f"A line is longer than {LONGEST_LINE} bytes.", "Send files by name.")
                if line.strip():
                    self._take(parse_message(line))
            except RequestError as error:
                self._refuse(error.id, error)
            except Exception as error:  # nothing that is sent may end the worker
                self._log(None, error)
                self._events.send("error", id=None, **_unforeseen(error))

    def _take(self, message: Message) -> None:
        with self._changed:
            if isinstance(message, Cancel):
                self._cancel(message.id)
                return
            if message.id in self._active():
                raise RequestError(f"The id {message.id} is in use.", "Count ids up.")
            if isinstance(message, Ping):
                self._events.send("result", id=message.id, request=message.kind, **self._state())
            elif isinstance(message, Shutdown):
                self._ending.append(message.id)
                self._token.cancel()
                while self._waiting:
                    self._events.send("cancelled", id=self._waiting.popleft().id)
            elif self._ending:
                raise RequestError("The worker is shutting down.", "Start another one.", message.id)
            elif len(self._waiting) >= MOST_WAITING:
                hint = "Wait for results before asking for more."
                raise RequestError(f"{MOST_WAITING} requests are waiting already.", hint, message.id)
            else:
                ahead = len(self._active())
                self._events.send("accepted", id=message.id, request=message.kind, ahead=ahead)
                self._waiting.append(message)
            self._changed.notify_all()

    def _cancel(self, identity: int | None) -> None:
        running = self._running
        if running is not None and identity in (None, running.id):
            self._token.cancel()
            return
        for request in self._waiting:
            if request.id == identity:
                self._waiting.remove(request)
                self._events.send("cancelled", id=identity)
                return
        what = "running" if identity is None else f"called {identity}"
        raise RequestError(f"There is no request {what} to cancel.", "It may have ended by itself.")

    def _refuse(self, identity: int | None, error: SkcdfError) -> None:
        """An error with an id ends that request, so an id that belongs to another one stays out."""
        with self._changed:
            identity = None if identity in self._active() else identity
        self._events.send("error", id=identity, message=error.message, hint=error.hint)

    def _active(self) -> list[int]:
        running = [] if self._running is None else [self._running.id]
        return running + [request.id for request in self._waiting]

    def _state(self) -> dict[str, Any]:
        running = None if self._running is None else self._running.id
        return {"running": running, "waiting": [each.id for each in self._waiting], "model": self._warm}

    def work(self, jobs: Jobs) -> None:
        """Does one request after another, until it is told to shut down."""
        while not self._ending:
            self._warm = jobs.warm
            request = self._next(self._idle_s if jobs.warm else None)
            if request is not None:
                self._do(request, jobs)
            elif not self._ending and jobs.release():
                self._events.send("released", reason="idle")
        for identity in self._ending:
            self._events.send("result", id=identity, request=Shutdown.kind)

    def _next(self, patience_s: float | None) -> Request | None:
        """The next request, ``None`` when none comes in time or the end has come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending, patience_s)
            if self._waiting:
                self._running, self._token = self._waiting.popleft(), CancelToken()
            return self._running

    def _do(self, request: Request, jobs: Jobs) -> None:
        """Does one request; exactly one event says how it ended."""
        event, content = self._outcome(request, jobs)
        with self._changed:  # first: who reads the last event may use the id again
            self._running = None
        self._events.send(event, id=request.id, **content)

    def _outcome(self, request: Request, jobs: Jobs) -> tuple[str, dict[str, Any]]:
        from .worker_job import Job

        job = Job(request, ProgressEvents(self._events, id=request.id), self._events, self._token)
        try:
            return "result", {"request": request.kind, **jobs.run(job)}
        except Cancelled:
            return "cancelled", {}
        except SkcdfError as error:
            return "error", {"message": error.message, "hint": error.hint}
        except MemoryError:
            jobs.release()
            hint = "Close other programs, or crop the scan to the region of interest."
            return "error", {"message": "There is too little memory.", "hint": hint}
        except Exception as error:  # the next request deserves its try
            self._log(request.id, error)
            jobs.start_afresh()
            return "error", _unforeseen(error)

    def _log(self, identity: int | None, error: Exception) -> None:
        _logger.error("unforeseen", exc_info=error, extra={"request": identity})


class EventLog(logging.Handler):
    """Sends what is logged, tracebacks included, as ``log`` events."""

    def __init__(self, events: EventStream) -> None:
        super().__init__(logging.WARNING)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record."""
        identity = getattr(record, "request", None)
        level = record.levelname.lower()
        self._events.send("log", id=identity, level=level, message=self.format(record))


def run_worker(device: str = "auto", precision: str = "auto", idle_minutes: float = IDLE_MINUTES) -> int:
    """Makes this process a worker; returns its exit code after a request to shut down.

    Args:
        device, precision: see `choose_device`.
        idle_minutes: without work, after which model and GPU memory are let go.
    """
    faulthandler.enable()
    if not os.isatty(0):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, and its end is ours
    read = take_standard_input()
    events = GreetingFirst(real_standard_output(), on_deaf=lambda: os._exit(1))
    logging.getLogger().addHandler(EventLog(events))
    worker = Worker(events, 60 * idle_minutes)

    def listen() -> None:
        try:
            worker.listen(lines(read))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    threading.Thread(target=listen, name="requests", daemon=True).start()
    hello: dict[str, Any] = {"pid": os.getpid(), "protocol": PROTOCOL, "skcdf": __version__}
    try:
        from .worker_jobs import Jobs
    except ImportError as error:  # without NumPy and its like there is nothing that it could do
        events.greet(**hello, torch=None, device=None, threads=None, missing=str(error))
        hint = "Install what is missing, or install the program again."
        events.send("error", id=None, message=f"The worker cannot start: {error}.", hint=hint)
        return 1
    jobs = Jobs(device, precision)
    events.greet(**hello, **jobs.prepare())
    worker.work(jobs)
    return 0


def _unforeseen(error: Exception) -> dict[str, str]:
    what = textwrap.shorten(f"{type(error).__name__}: {error}", _LONGEST_MESSAGE)
    return {"message": f"Unexpected {what}", "hint": "The log has the details; please report them."}
