"""The warm child process behind the panel: asked, cancelled, replaced; nothing here ever waits but `wait`.

`docs/worker.md` is what it speaks. The panel calls `EngineWorker.tick` five times a second.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skcdf.errors import SkcdfError
from skcdf.event_child import message_line

from . import ChildErrors
from .ChildProcess import ChildProcess
from .EventProcess import EventProcess
from .Signal import Signal, callSafely
from .Texts import _

CANCEL_PATIENCE_S = 2.0
HELLO_PATIENCE_S = 120.0
ACCEPT_PATIENCE_S = 20.0
IDLE_MINUTES = 10.0
"""Of a command that does not say otherwise."""
_END_PATIENCE_S = 2.0
_WAIT_S = 0.1
_ANSWERS_KEPT = 100


@dataclass(frozen=True)
class Answer:
    """How a request ended; one of the three.

    Attributes:
        result: the worker's ``result`` event.
        error: why it failed.
        cancelled: whether it was cancelled.
    """

    result: dict[str, Any] | None = None
    error: SkcdfError | None = None
    cancelled: bool = False

    @property
    def required(self) -> dict[str, Any]:
        """The result, where nothing else will do.

        Raises:
            SkcdfError: there is none.
        """
        if self.result is None:
            raise self.error or SkcdfError(_("It was cancelled."), _("Start it again."))
        return self.result


class EngineWorker:
    """A worker, started at the first request, and another one when that has died or must be killed.

    Args:
        command: gives program and arguments of a worker: ``[*engineCommand(python), "worker", "--idle-minutes", …]``.
            After so many minutes without a request it is ended.
        makeChild: makes the means to start one process.
        clock: seconds, growing.

    Attributes:
        deviceChanged: emits nothing, after a worker has said which device it has, and after it has ended.
        logged: emits every event but ``accepted`` and ``progress``, for a log.
    """

    def __init__(
        self,
        command: Callable[[], list[str]],
        makeChild: Callable[[], ChildProcess],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._makeChild, self._clock = command, makeChild, clock
        self._process: EventProcess | None = None
        self._failure: SkcdfError | None = None  # why there is none, to be told at the next tick
        self._retired: list[tuple[EventProcess, float]] = []
        self._asked: dict[int, _Asked] = {}  # in the order in which they were sent
        self._answers: OrderedDict[int, Answer] = OrderedDict()
        self._count = 0
        self._startedAt = self._usedAt = self._helloAt = clock()
        self._inputArrives = self._stale = False
        self._lastError: SkcdfError | None = None
        self._idleMinutes = IDLE_MINUTES
        self.deviceChanged, self.logged = Signal(), Signal()

    @property
    def hello(self) -> dict[str, Any] | None:
        """What the running worker said first; ``None`` before, and when there is none."""
        return None if self._process is None else self._process.hello

    @property
    def busy(self) -> bool:
        """Whether a request has not ended."""
        return bool(self._asked)

    @property
    def running(self) -> bool:
        """Whether there is a worker."""
        return self._process is not None

    def request(
        self,
        name: str,
        fields: dict[str, Any],
        onEvent: Callable[[dict[str, Any]], None] | None = None,
        onEnd: Callable[[Answer], None] | None = None,
    ) -> int:
        """Sends a request and returns its number at once.

        Args:
            name: ``segment``, ``check``, …
            fields: of the request.
            onEvent: gets its events but the last: ``accepted``, ``progress``, ``warning``, ``log``.
            onEnd: gets the answer, exactly once, on this thread, and not before this method has returned.

        Raises:
            TypeError, ValueError: JSON cannot say a field; nothing was asked.
        """
        line = message_line({"request": name, **fields, "id": self._count + 1})
        if self._stale and not self._asked and self._process is not None:
            self._dismiss(self._process)
        self._count += 1
        self._asked[self._count] = asked = _Asked(self._count, line, onEvent, onEnd)
        if self._process is None:
            self._start()
        else:
            self._send(asked, self._process)
        return self._count

    def warm(self) -> None:
        """Starts the worker where there is none, so that PyTorch is imported when it is needed."""
        self._usedAt = self._clock()
        if self._process is None:
            self._start()

    def restartWhenIdle(self) -> None:
        """Another worker answers from the next request on: what its command says, or can do, has changed."""
        self._stale = self._process is not None

    def cancel(self, request: int, *, force: bool = True) -> None:
        """Cancels a request; one that has ended already is no error.

        A worker that has not said ``hello`` does nothing yet, so the request ends at once. Otherwise it ends when the
        worker obeys, and at the latest after two seconds.

        Args:
            request: what `request` returned.
            force: kill a worker that does not obey; otherwise that is waited for.
        """
        asked = self._asked.get(request)
        if asked is None:
            return
        asked.force = asked.force or force
        if asked.cancelledAt is None:
            asked.cancelledAt = self._clock()
            if self._process is not None:
                self._process.send(request="cancel", id=request)
        if self.hello is None:
            self._end(asked, Answer(cancelled=True))

    def tick(self) -> None:
        """Notices deaths and enforces patience; to be called a few times a second."""
        self._retire()
        if self._failure is not None:
            error, self._failure = self._failure, None
            for asked in list(self._asked.values()):
                self._end(asked, Answer(error=error))
        if self._process is not None and not self._process.running:
            self._bury(self._process)
        elif self._process is not None:
            self._enforce(self._process, self._clock())

    def wait(self, request: int) -> Answer:
        """Waits for a request's end, for scripts; what else comes meanwhile is delivered, too.

        Raises:
            ValueError: there is no such request.
        """
        while request in self._asked:
            if self._process is not None:
                self._process.wait(_WAIT_S)
            self.tick()
        if request not in self._answers:
            raise ValueError(f"There is no request {request}.")
        return self._answers[request]

    def shutdown(self) -> None:
        """Ends the worker and returns when it is gone; what was asked ends as cancelled.

        A later request starts another one.
        """
        process, self._process, self._failure = self._process, None, None
        processes = [each for each, _deadline in self._retired]
        self._retired.clear()
        if process is not None:
            processes.append(process)
            process.closeInput()
            _pump(process, _END_PATIENCE_S)
        for each in processes:
            each.kill()
            _pump(each, _END_PATIENCE_S)
        if process is not None:
            self.deviceChanged.emit()
        for asked in list(self._asked.values()):
            self._end(asked, Answer(cancelled=True))

    def _start(self) -> None:
        """Starts a worker and asks it for all that is owed."""
        self._startedAt = self._usedAt = self._clock()
        self._inputArrives, self._lastError, self._failure, self._stale = False, None, None, False
        try:
            command = self._command()
        except SkcdfError as error:
            self._failure = error
            return
        self._idleMinutes = _idleMinutes(command)
        process = EventProcess(
            self._makeChild(), lambda event: self._take(process, event), lambda _code: None
        )
        self._process = process
        process.start(command)
        for asked in self._asked.values():
            self._send(asked, process)

    def _send(self, asked: _Asked, process: EventProcess) -> None:
        asked.sentAt, asked.accepted = self._clock(), False
        asked.tries += 1
        process.sendLine(asked.line)

    def _take(self, process: EventProcess, event: dict[str, Any]) -> None:
        if process is not self._process:  # the last words of one that was replaced
            return
        name, number = event["event"], event.get("id")
        if name not in ("accepted", "progress"):
            self.logged.emit(event)
        asked = self._asked.get(number) if type(number) is int else None  # true is no number
        if name == "hello":
            self._helloAt = self._clock()
            self.deviceChanged.emit()
        elif asked is None:
            if name == "error":
                self._lastError = ChildErrors.told(event)
            self._stale = self._stale or (name, event.get("reason")) == ("released", "idle")
        else:
            self._inputArrives = asked.accepted = True
            self._hear(asked, event)

    def _hear(self, asked: _Asked, event: dict[str, Any]) -> None:
        """Takes an event of a request."""
        name = event["event"]
        if name == "result":
            self._end(asked, Answer(result=event))
        elif name == "error":
            self._end(asked, Answer(error=ChildErrors.told(event)))
        elif name == "cancelled":
            self._end(asked, Answer(cancelled=True))
        elif asked.onEvent is not None:
            callSafely(asked.onEvent, event)

    def _end(self, asked: _Asked, answer: Answer) -> None:
        if self._asked.pop(asked.number, None) is not None:
            self._answer(asked, answer)

    def _answer(self, asked: _Asked, answer: Answer) -> None:
        self._usedAt = self._clock()
        self._answers[asked.number] = answer
        while len(self._answers) > _ANSWERS_KEPT:
            self._answers.popitem(last=False)
        if asked.onEnd is not None:
            callSafely(asked.onEnd, answer)

    def _bury(self, process: EventProcess) -> None:
        """The worker has died: what it was doing has failed, and what waited is asked of another one."""
        error = ChildErrors.death(process, self._lastError)
        words = f"{error}\n{process.lastWords}".rstrip()
        self.logged.emit({"event": "log", "id": None, "level": "error", "message": words})
        self._process = None
        everything = list(self._asked.values())
        lost = [asked for asked in everything if asked.cancelled]
        if process.hello is None:  # another one would not fare better
            lost = everything
        elif not lost:
            # One that it never accepted was not its death: it may have died before, and nobody had noticed.
            lost = [asked for asked in everything[:1] if asked.accepted or asked.tries > 1]
        self._replace(lost, error)

    def _replace(self, lost: list[_Asked], error: SkcdfError, *, warm: bool = False) -> None:
        """Ends what is lost and asks another worker for the rest; ``warm``: starts it whatever is left."""
        for asked in lost:
            self._asked.pop(asked.number)
        if self._asked or warm:
            self._start()
        self.deviceChanged.emit()
        for asked in lost:  # last: whoever hears of it may ask for more
            self._answer(asked, Answer(cancelled=True) if asked.cancelled else Answer(error=error))

    def _enforce(self, process: EventProcess, now: float) -> None:
        first = next(iter(self._asked.values()), None)
        if first is None and self._stale:
            self._dismiss(process)
        elif process.hello is None:
            if now - self._startedAt > HELLO_PATIENCE_S:
                self._giveUp(process, ChildErrors.noHello(process, HELLO_PATIENCE_S))
        elif first is None:
            if now - self._usedAt > 60 * self._idleMinutes:
                self._dismiss(process)
        elif (
            not self._inputArrives and now - max(self._helloAt, first.sentAt) > ACCEPT_PATIENCE_S
        ):  # once something arrived, silence means that a library holds Python's lock
            self._giveUp(process, ChildErrors.deaf())
        else:
            self._enforceCancel(process, first, now)

    def _enforceCancel(self, process: EventProcess, first: _Asked, now: float) -> None:
        late = [
            asked
            for asked in self._asked.values()
            if asked.cancelledAt is not None and asked.force and now - asked.cancelledAt > CANCEL_PATIENCE_S
        ]
        if first in late:
            self._kill(process)
            self._replace([first], ChildErrors.deaf(), warm=True)
            late.remove(first)
        for asked in late:  # it only waits its turn: no reason to kill what runs
            self._end(asked, Answer(cancelled=True))

    def _giveUp(self, process: EventProcess, error: SkcdfError) -> None:
        self._kill(process)
        self._replace(list(self._asked.values()), error)

    def _kill(self, process: EventProcess) -> None:
        self._process = None
        process.kill()
        self._retired.append((process, self._clock() + _END_PATIENCE_S))

    def _dismiss(self, process: EventProcess) -> None:
        """Lets an idle worker go."""
        self._process = None
        process.closeInput()
        self._retired.append((process, self._clock() + _END_PATIENCE_S))
        self.deviceChanged.emit()

    def _retire(self) -> None:
        """Kills what was dismissed and stays; it is kept until it is gone, since Qt waits for it otherwise."""
        now, staying = self._clock(), []
        for process, deadline in self._retired:
            if process.running and now > deadline:
                process.kill()
                deadline = now + _END_PATIENCE_S
            if process.running:
                staying.append((process, deadline))
        self._retired = staying


@dataclass(eq=False)
class _Asked:
    """A request that has not ended."""

    number: int
    line: bytes
    onEvent: Callable[[dict[str, Any]], None] | None
    onEnd: Callable[[Answer], None] | None
    sentAt: float = 0.0
    tries: int = 0
    accepted: bool = False
    cancelledAt: float | None = None
    force: bool = False

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants it any more."""
        return self.cancelledAt is not None


def _idleMinutes(command: list[str]) -> float:
    """How long the worker keeps its model: having let go of it, it is of little use."""
    option = "--idle-minutes"
    return float(command[command.index(option) + 1]) if option in command else IDLE_MINUTES


def _pump(process: EventProcess, seconds: float) -> None:
    """Waits for a child's end for about that long."""
    deadline = time.monotonic() + seconds
    while process.running and time.monotonic() < deadline:
        process.wait(_WAIT_S)
