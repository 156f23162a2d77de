"""Runs one command of the engine to its end in a child process, and tells what it said."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from skcdf.errors import SkcdfError
from skcdf.files import end_process_tree

from .ChildProcess import ChildProcess
from .Signal import callSafely
from .Texts import _

_WAIT_S = 0.1
_END_PATIENCE_S = 2.0


@dataclass(frozen=True)
class CommandOutcome:
    """How a command ended.

    Attributes:
        text: what it wrote to its standard output.
        error: why it failed; ``None``: it did not.
    """

    text: str = ""
    error: SkcdfError | None = None


class CommandRun:
    """One command at a time; its answers come on the thread of whoever started it.

    Args:
        command: gives program and arguments of ``skcdf`` with the arguments it gets.
        makeChild: makes a process that can be started.
    """

    def __init__(
        self, command: Callable[[list[str]], list[str]], makeChild: Callable[[], ChildProcess]
    ) -> None:
        self._command, self._makeChild = command, makeChild
        self._child: ChildProcess | None = None
        self._output, self._errors = bytearray(), bytearray()
        self._onEnd: Callable[[CommandOutcome], None] | None = None

    @property
    def running(self) -> bool:
        """Whether a command has not ended."""
        return self._child is not None

    def start(self, arguments: list[str], onEnd: Callable[[CommandOutcome], None]) -> None:
        """Starts a command and returns at once.

        Args:
            arguments: of ``skcdf``.
            onEnd: gets the outcome, once.

        Raises:
            SkcdfError: another command runs, or there is no Python to run it.
        """
        if self.running:
            raise SkcdfError(_("Another file is being read or written."), _("Wait until it is done."))
        program, *rest = self._command(arguments)
        self._output, self._errors, self._onEnd = bytearray(), bytearray(), onEnd
        self._child = self._makeChild()
        self._child.start(program, rest, self._output.extend, self._errors.extend, self._finish)

    def wait(self) -> None:
        """Waits for the end, for scripts."""
        while self._child is not None:
            self._child.wait(_WAIT_S)

    def shutdown(self) -> None:
        """Ends the command and returns when it is gone; nobody is told."""
        child, self._onEnd = self._child, None
        if child is None:
            return
        if child.processId > 0:
            end_process_tree(child.processId)
        child.kill()
        deadline = time.monotonic() + _END_PATIENCE_S
        while self._child is not None and time.monotonic() < deadline:
            child.wait(_WAIT_S)
        self._child = None

    def _finish(self, exitCode: int | None) -> None:
        onEnd, self._child, self._onEnd = self._onEnd, None, None
        if onEnd is not None:
            text = self._output.decode("utf-8", "replace").strip()
            error = None if exitCode == 0 else _error(self._errors.decode("utf-8", "replace"))
            callSafely(onEnd, CommandOutcome(text, error))


def _error(words: str) -> SkcdfError:
    """What a failed command said: ``error:`` and ``hint:`` lines."""
    parts = {"error": "", "hint": ""}
    current = ""
    for line in words.splitlines():
        name, colon, rest = line.partition(": ")
        if colon and name in parts:
            current, parts[name] = name, rest
        elif current:
            parts[current] += f"\n{line}"
    if parts["error"]:
        return SkcdfError(parts["error"].strip(), parts["hint"].strip())
    return SkcdfError(words.strip()[-1000:] or _("The computing process ended without an answer."), "")
