"""A worker (`docs/worker.md`) as scripts and tests use it: it is started, asked, cancelled and replaced.

    with WorkerClient() as worker:
        request = worker.request("segment", image="ct.nii.gz", output="organs.nii.gz")
        for event in worker.events(request):
            print(event)

Needs neither torch nor Qt.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from .errors import Cancelled, SkcdfError
from .event_child import Event, EventChild, message_line

CANCEL_PATIENCE_S = 2.0
START_PATIENCE_S = 120.0
LAST_EVENTS = ("result", "error", "cancelled")
"""One of these ends every request."""


class WorkerClient:
    """A worker process, and another one when that must be killed or has died.

    Its methods may be called from any thread.

    Args:
        command: program and arguments of the worker; by default this Python's ``-m skcdf worker``.
        patience_s: seconds that a cancelled request has before the worker is killed.
        environment: of the worker; ``None``: this process's own.

    Raises:
        SkcdfError: there is no such program.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        patience_s: float = CANCEL_PATIENCE_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command or [sys.executable, "-m", "skcdf", "worker"]
        self._patience_s, self._environment = patience_s, environment
        self._changed = threading.Condition()
        self._requests: dict[int, _Asked] = {}
        self._count = 0
        self._hello: Event | None = None
        self._dead = self._leaving = False
        self._general: deque[Event] = deque(maxlen=100)
        self._start()

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def hello(self) -> Event:
        """What the running worker said first; waits for it.

        Raises:
            SkcdfError: it ended before, or said nothing in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._hello is not None or self._dead, START_PATIENCE_S)
            if self._hello is not None:
                return self._hello
            if self._dead:
                raise self._death()
            raise SkcdfError(f"The worker said nothing for {START_PATIENCE_S:g} s.", "Start it again.")

    @property
    def general_events(self) -> tuple[Event, ...]:
        """The last events that belong to no request: ``log``, ``released``, errors of messages that were none."""
        with self._changed:
            return tuple(self._general)

    def request(self, request: str, **fields: Any) -> int:
        """Sends a request and returns its id at once; a worker that has died is replaced first.

        Args:
            request: ``segment``, ``evaluate``, …
            fields: of the request.

        Raises:
            TypeError, ValueError: JSON cannot say a field; nothing was asked.
        """
        with self._changed:
            identity = self._count + 1
            line = message_line(
                {"request": request, **fields, "id": identity}
            )  # may fail, and nothing is noted yet
            self._count = identity
            if self._leaving:  # it was told to shut down, and what it no longer reads would be lost
                self._changed.wait_for(lambda: self._dead, START_PATIENCE_S)
            if self._dead:
                self._replace()
            self._leaving = request == "shutdown"
            self._requests[identity] = _Asked(line)
            with contextlib.suppress(SkcdfError):  # it has just died, which will be the request's last event
                self._child.send_line(line)
            return identity

    def send_line(self, line: bytes) -> None:
        """Sends any line to the worker, for its tests; what comes back belongs to `general_events`.

        Raises:
            SkcdfError: the worker has ended.
        """
        self._child.send_line(line)

    def events(self, request: int, timeout_s: float | None = None) -> Iterator[Event]:
        """Yields the events of a request as they come, the last one included.

        Args:
            request: what `request` returned; its events can be had once.
            timeout_s: seconds to wait for the next one.

        Raises:
            SkcdfError: none came in time.
        """
        asked, last = self._requests[request], False
        while not last:
            with self._changed:
                if not self._changed.wait_for(lambda: asked.events, timeout_s):
                    raise SkcdfError(f"The worker said nothing for {timeout_s:g} s.", "Cancel the request.")
                event = asked.events.popleft()
                last = event["event"] in LAST_EVENTS
                if last:
                    del self._requests[request]
            yield event

    def result(
        self, request: int, on_event: Callable[[Event], None] | None = None, timeout_s: float | None = None
    ) -> Event:
        """Waits for a request's end and returns its ``result``.

        Args:
            request: what `request` returned.
            on_event: gets every event.
            timeout_s: seconds to wait for each.

        Raises:
            SkcdfError: the request failed.
            Cancelled: it was cancelled.
        """
        for event in self.events(request, timeout_s):
            if on_event is not None:
                on_event(event)
        if event["event"] == "error":
            raise SkcdfError(event["message"], event["hint"])
        if event["event"] == "cancelled":
            raise Cancelled
        return event

    def cancel(self, request: int) -> bool:
        """Cancels a request, and waits until it has ended; a worker that does not obey in time is replaced.

        Its last event, usually ``cancelled``, is there to be had from `events`. A worker that has not said ``hello``
        yet will obey once it has; that is not waited for.

        Returns:
            Whether the worker obeyed; ``False`` when it was killed and replaced.
        """
        with self._changed:
            asked, child = self._requests.get(request), self._child
            if asked is None or asked.ended:
                return True
            with contextlib.suppress(SkcdfError):  # it has just died, and will be replaced
                child.send(request="cancel", id=request)
            if self._hello is None and not self._dead:
                return True
            if self._changed.wait_for(lambda: asked.ended, self._patience_s):
                return True
            asked.add({"event": "cancelled", "id": request})
            self._changed.notify_all()
            if child is self._child:
                child.kill()
                self._replace()
            return False

    def close(self) -> None:
        """Ends the worker, whatever it is doing."""
        self._child.close()
        self._reader.join()

    def _start(self) -> None:
        self._hello, self._dead, self._leaving = None, False, False
        self._child = EventChild(self._command, self._environment)
        self._reader = threading.Thread(target=self._read, args=(self._child,), name="events", daemon=True)
        self._reader.start()

    def _replace(self) -> None:
        """Starts another worker and asks it for all that the last one still owed."""
        self._child.close()
        self._start()
        for asked in self._requests.values():
            if not asked.ended:
                with contextlib.suppress(SkcdfError):  # as in `request`
                    self._child.send_line(asked.line)

    def _read(self, child: EventChild) -> None:
        """Hands out the events of one child until its end."""
        for event in child.events():
            with self._changed:
                if child is self._child:
                    self._deliver(event)
        child.wait()
        with self._changed:
            if child is self._child:
                self._dead, death = True, self._death()
                last = {"event": "error", "message": death.message, "hint": death.hint}
                for identity, asked in self._requests.items():
                    asked.add({**last, "id": identity})
            self._changed.notify_all()

    def _deliver(self, event: Event) -> None:
        asked = self._requests.get(event.get("id") or 0)
        if event["event"] == "hello":
            self._hello = event
        elif asked is not None:
            asked.add(event)
        else:
            self._general.append(event)
        self._changed.notify_all()

    def _death(self) -> SkcdfError:
        """Why the worker is no more, as far as it is known."""
        said = [event for event in self._general if event["event"] == "error"]
        if said and self._hello is not None and self._hello["torch"] is None:
            return SkcdfError(said[-1]["message"], said[-1]["hint"])
        return SkcdfError(
            f"The worker has ended without a word{self._child.ending}",
            "The computer may have run out of memory: close other programs and try again.",
        )


@dataclass
class _Asked:
    """A request, and what of its events was not had yet."""

    line: bytes
    events: deque[Event] = field(default_factory=deque)
    ended: bool = False

    def add(self, event: Event) -> None:
        """Takes one event; after the last one nothing counts any more."""
        if not self.ended:
            self.events.append(event)
            self.ended = event["event"] in LAST_EVENTS
