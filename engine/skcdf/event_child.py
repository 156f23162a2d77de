"""A child process that speaks in events (`docs/worker.md`), seen from its parent: no torch and no Qt here.

The worker is one such child, and ``python -m skcdf finetune … --progress json`` another:

    command = [sys.executable, "-m", "skcdf", "finetune", …, "--progress", "json"]
    with EventChild(command, patience_s=15) as child:
        for event in child.events():
            print(event)
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from .errors import SkcdfError
from .files import end_process_tree

Event = dict[str, Any]
END_PATIENCE_S = 2.0
_LINES_KEPT = 40


class EventChild:
    """One child process.

    Args:
        command: program and arguments.
        environment: of the child; ``None``: this process's own.
        patience_s: what `close` waits for its end before it kills; a training needs 15 s for a checkpoint.

    Raises:
        SkcdfError: there is no such program.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        patience_s: float = END_PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows: no console pops up
            )
        except OSError as error:
            raise SkcdfError(
                f"{command[0]}: cannot be started ({error.strerror or error}).", "Check the path."
            ) from error
        self.pid = self._process.pid
        """Of the process that works; behind a launcher known from its ``hello``."""
        self._sending = threading.Lock()
        self._last: deque[str] = deque(maxlen=_LINES_KEPT)
        self._listener = threading.Thread(target=self._keep_last_words, name="last words", daemon=True)
        self._listener.start()

    def __enter__(self) -> EventChild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def last_words(self) -> str:
        """The last lines that it wrote to its standard error; all are there once it has ended."""
        if self._process.poll() is not None:  # what it wrote may still be on its way through the pipe
            self._listener.join(END_PATIENCE_S)
        return "\n".join(self._last)

    @property
    def ending(self) -> str:
        """How it ended and its last words, as the end of a sentence: `` (exit code 1).``"""
        code, words = self.wait(0), self.last_words
        how = "" if code is None else f" (exit code {code})" if code >= 0 else f" (signal {-code})"
        return how + (f"; its last lines:\n{words}" if words else ".")

    def events(self) -> Iterator[Event]:
        """Yields events as they come, until the child has closed its output; for one thread only.

        A line that is no event, as a launcher may print, comes as a ``log`` event.
        """
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed by `close` in another thread
            for line in self._process.stdout:
                event = event_of_line(line)
                if event["event"] == "hello" and isinstance(event.get("pid"), int) and event["pid"] > 0:
                    self.pid = event["pid"]
                yield event

    def send(self, **content: Any) -> None:
        """Sends one message; see `message_line` and `send_line`."""
        self.send_line(message_line(content))

    def send_line(self, line: bytes) -> None:
        """Sends one line, from any thread.

        Raises:
            SkcdfError: the child has ended, or its input was closed.
        """
        assert self._process.stdin is not None
        try:
            with self._sending:
                self._process.stdin.write(line + b"\n")
                self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise SkcdfError(f"The child process has ended{self.ending}", "Start it again.") from error

    def close_input(self) -> None:
        """Closes its input, which asks it to end: a worker at once, a training after a checkpoint."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # what was not sent before it died
            self._process.stdin.close()

    def wait(self, seconds: float | None = None) -> int | None:
        """Waits for its end; returns its exit code, or ``None`` when it has not ended in time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Ends it and all that it started, by force."""
        if self._process.poll() is None:
            # A launcher's own end does not reach the Python that it launched, so both trees are felled.
            for pid in dict.fromkeys((self.pid, self._process.pid)):
                end_process_tree(pid)
        self._process.wait()

    def close(self) -> None:
        """Closes its input, and kills it where that is not enough; afterwards nothing of it is open."""
        self.close_input()
        if self.wait(self._patience_s) is None:
            self.kill()
        self._listener.join(END_PATIENCE_S)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def _keep_last_words(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):  # closed
            for line in self._process.stderr:
                self._last.append(line.decode("utf-8", "replace").rstrip())


def message_line(content: Mapping[str, Any]) -> bytes:
    """A message as `EventChild.send_line` takes it.

    Raises:
        TypeError, ValueError: JSON cannot say it.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate becomes its escape


def event_of_line(line: bytes) -> Event:
    """The event that a line is; a line that is none, as a launcher may print, is a ``log`` event."""
    text = line.decode("utf-8", "replace").rstrip()
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if isinstance(content, dict) and isinstance(content.get("event"), str):
        return content
    return {"event": "log", "id": None, "level": "info", "message": text}
