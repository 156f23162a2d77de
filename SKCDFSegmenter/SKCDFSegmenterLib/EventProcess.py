"""A child process that speaks in events (`docs/worker.md`), over any `ChildProcess`: JSON lines as dictionaries."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from skcdf.event_child import event_of_line, message_line
from skcdf.files import end_process_tree

from .ChildProcess import ChildProcess
from .Signal import callSafely

LONGEST_LINE = 32 << 20
"""Bytes: a result with a thousand places and cases has some hundred thousand; what is longer is no event."""
_LAST_LINES, _LONGEST_WORD = 40, 1000


class EventProcess:
    """One run of one child.

    Args:
        child: the means; started once.
        onEvent: gets every event; a line that is none comes as a ``log`` event.
        onEnd: called once, after the last event: exit code, or ``None`` if it crashed or never started.

    Attributes:
        program: what it is.
        running: whether it has been started and has not ended.
        hello: its first event, once it has come.
        exitCode: once it has ended; ``None`` if it crashed or never started.
    """

    def __init__(
        self,
        child: ChildProcess,
        onEvent: Callable[[dict[str, Any]], None],
        onEnd: Callable[[int | None], None],
    ) -> None:
        self._child, self._onEvent, self._onEnd = child, onEvent, onEnd
        self._output, self._errors = _Lines(), _Lines()
        self._words: deque[str] = deque(maxlen=_LAST_LINES)
        self.program, self.running = "", False
        self.hello: dict[str, Any] | None = None
        self.exitCode: int | None = None

    @property
    def pid(self) -> int:
        """Of the process that works, known from ``hello``; before that, of the one that was started."""
        pid = (self.hello or {}).get("pid")
        # Whatever a child says, it is neither us nor a number with which kill() means many.
        known = isinstance(pid, int) and pid > 1 and pid != os.getpid()
        return pid if known else self._child.processId

    @property
    def lastWords(self) -> str:
        """The last lines that it wrote to its standard error."""
        return "\n".join(self._words)

    def start(self, command: list[str]) -> None:
        """Starts it and returns at once; that it cannot be started is told as its end."""
        self.program, self.running = command[0], True
        self._child.start(command[0], command[1:], self._takeOutput, self._takeError, self._finish)

    def send(self, **content: Any) -> None:
        """Sends one message.

        Raises:
            TypeError, ValueError: JSON cannot say it.
        """
        self.sendLine(message_line(content))

    def sendLine(self, line: bytes) -> None:
        """Sends one line; lost where the child has ended, which is told as its end."""
        if self.running:
            self._child.write(line + b"\n")

    def closeInput(self) -> None:
        """Closes its input, which asks it to end: a worker at once, a training after a checkpoint."""
        if self.running:
            self._child.closeInput()

    def wait(self, seconds: float) -> None:
        """Delivers what comes within that time; returns early when something came or it has ended."""
        if self.running:
            self._child.wait(seconds)

    def kill(self) -> None:
        """Ends it and all that it has started, by force."""
        if not self.running:
            return
        # A launcher's own end does not reach the Python that it launched, so both trees are felled.
        for pid in dict.fromkeys((self.pid, self._child.processId)):
            if pid > 0:
                end_process_tree(pid)
        self._child.kill()

    def _takeOutput(self, data: bytes) -> None:
        for line in self._output.add(data):
            self._tell(line)

    def _takeError(self, data: bytes) -> None:
        for line in self._errors.add(data):
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                self._words.append(text[:_LONGEST_WORD])

    def _tell(self, line: bytes) -> None:
        if not line.strip():
            return
        event = event_of_line(line)
        if event["event"] == "hello":
            self.hello = event
        callSafely(self._onEvent, event)

    def _finish(self, exitCode: int | None) -> None:
        if not self.running:
            return
        self._tell(self._output.rest())
        self._takeError(b"\n")
        self.running, self.exitCode = False, exitCode
        callSafely(self._onEnd, exitCode)


class _Lines:
    """Cuts what comes in pieces into lines; one that is too long is dropped, and its memory with it."""

    def __init__(self) -> None:
        self._unfinished = bytearray()
        self._skipping = False

    def add(self, data: bytes) -> Iterator[bytes]:
        """Yields the lines that ``data`` completes."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            line, skipped = bytes(self._unfinished) + piece, self._skipping
            self._unfinished.clear()
            self._skipping = False
            if not skipped:
                yield line
        self._unfinished += rest
        if self._skipping or len(self._unfinished) > LONGEST_LINE:
            self._unfinished.clear()
            self._skipping = True

    def rest(self) -> bytes:
        """What has no line end yet."""
        return b"" if self._skipping else bytes(self._unfinished)
