"""One run of the engine's command line in a child process; no Qt and no MRML here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from skcdf.errors import SkcdfError

ENGINE_MAIN = Path(__file__).resolve().parent / "EngineMain.py"
CANCEL_PATIENCE_S = 2.0
LOG_LINES_SHOWN = 15


class ChildProcess(Protocol):
    """A child process whose output and error streams come as one."""

    def start(
        self,
        program: str,
        arguments: list[str],
        onOutput: Callable[[bytes], None],
        onFinished: Callable[[int | None], None],
    ) -> None:
        """Starts it. ``onFinished`` is called once: exit code, or ``None`` if it crashed or never started."""

    def closeInput(self) -> None:
        """Closes the pipe to its standard input."""

    def waitForFinished(self, seconds: float | None) -> bool:
        """Waits, delivering output and the end; whether it has ended. ``None``: as long as it takes."""

    def kill(self) -> None:
        """Ends it by force."""


class EngineProcess:
    """Runs ``python -m skcdf …`` and turns its output into lines and its end into an error or none.

    Args:
        python: the Python to run it with.
        child: the means to start a process.
    """

    def __init__(self, python: Path, child: ChildProcess) -> None:
        self._python = python
        self._child = child
        self._running = False
        self._cancelled = False
        self._tail = b""
        self._lines: list[str] = []
        self._onLine: Callable[[str], None] = _ignore
        self._onFinished: Callable[[SkcdfError | None, bool], None] = _ignore

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._running

    def start(
        self,
        arguments: list[str],
        onLine: Callable[[str], None],
        onFinished: Callable[[SkcdfError | None, bool], None],
    ) -> None:
        """Starts a run.

        Args:
            arguments: what follows ``skcdf`` on the command line.
            onLine: gets every line of output.
            onFinished: gets the error, ``None`` after success or cancel, and whether the run was cancelled.

        Raises:
            SkcdfError: a run is under way already.
        """
        if self._running:
            raise SkcdfError("A segmentation is running already.", "Wait for it to finish, or cancel it.")
        self._running, self._cancelled, self._tail, self._lines = True, False, b"", []
        self._onLine, self._onFinished = onLine, onFinished
        # Unbuffered, or progress would come in lumps; UTF-8, whatever Windows has set.
        command = ["-u", "-X", "utf8", str(ENGINE_MAIN), *arguments]
        self._child.start(str(self._python), command, self._receive, self._finish)

    def cancel(self) -> None:
        """Ends the run, by force if it does not end by itself within two seconds."""
        if not self._running:
            return
        self._cancelled = True
        self._child.closeInput()
        if not self._child.waitForFinished(CANCEL_PATIENCE_S):
            self._child.kill()

    def wait(self) -> None:
        """Waits until the run has ended and its end was reported."""
        if self._running:
            self._child.waitForFinished(None)

    def _receive(self, output: bytes) -> None:
        # A progress bar redraws its line after a carriage return.
        *lines, self._tail = re.split(rb"[\r\n]+", self._tail + output)
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", errors="replace").strip()
        if text:
            self._lines.append(text)
            self._onLine(text)

    def _finish(self, exitCode: int | None) -> None:
        self._take(self._tail)
        self._running = False
        error = None if self._cancelled or exitCode == 0 else self._error(exitCode)
        self._onFinished(error, self._cancelled)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the last run warned of: sentences about the scan, and fall-backs."""
        return tuple(
            line.split(": ", 1)[1] for line in self._lines if line.startswith(("warning: ", "note: "))
        )

    def _error(self, exitCode: int | None) -> SkcdfError:
        """What the engine said in its last ``error:`` and ``hint:`` lines, else how it ended."""
        said = dict(line.split(": ", 1) for line in self._lines if line.startswith(("error: ", "hint: ")))
        if exitCode == 1 and "error" in said:
            return SkcdfError(said["error"], said.get("hint", ""))
        if any("No module named 'torch'" in line for line in self._lines):
            return torchMissing()
        if exitCode is None:
            return SkcdfError(
                "The segmentation process ended without a word" + self._lastLines(),
                "The computer may have run out of memory: close other programs and try again.",
            )
        return SkcdfError(
            f"The segmentation process failed with exit code {exitCode}" + self._lastLines(),
            "Send these lines to the authors of SKCDFSegmenter.",
        )

    def _lastLines(self) -> str:
        lines = self._lines[-LOG_LINES_SHOWN:]
        return "; its last lines:\n" + "\n".join(lines) + "\n" if lines else "."


def torchMissing() -> SkcdfError:
    """Tells that PyTorch is not there and how to get it."""
    return SkcdfError(
        "PyTorch is not installed in this Slicer.",
        "Install the PyTorch extension in the Extensions Manager, restart Slicer, and press Install PyTorch "
        "in the module PyTorch Util.",
    )


def _ignore(*_values: object) -> None:
    pass
