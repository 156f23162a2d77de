"""What is needed of a child process; the application has it from Qt (`Panels.QtChildProcess`), tests from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class ChildProcess(Protocol):
    """One child process, started once. All that it tells comes on the thread of its owner.

    Attributes:
        processId: the number of the process that was started, a launcher perhaps; 0 before and after.
    """

    processId: int

    def start(
        self,
        program: str,
        arguments: list[str],
        onOutput: Callable[[bytes], None],
        onError: Callable[[bytes], None],
        onFinished: Callable[[int | None], None],
    ) -> None:
        """Starts it and returns at once.

        Args:
            program, arguments: the command.
            onOutput, onError: get what it writes to its standard output and standard error, in any pieces.
            onFinished: called once, after the last piece, perhaps before `start` returns: exit code, or ``None`` if
                it crashed or never started.
        """

    def write(self, data: bytes) -> None:
        """Sends bytes to its standard input; lost where it has ended."""

    def closeInput(self) -> None:
        """Closes its standard input when all was sent."""

    def wait(self, seconds: float) -> None:
        """Delivers what comes within that time; returns early when something came or it has ended."""

    def kill(self) -> None:
        """Ends it by force, but not what it has started; its end is told as any other."""
