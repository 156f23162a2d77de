"""What Qt does in the application, in plain Python: child processes, and commands that start real ones."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from skcdf.files import process_start

PYTHON = Path(sys.executable)
HERE = Path(__file__).resolve().parent
_DRAIN_S = 0.3


class PlainChildProcess:
    """Implements `ChildProcess.ChildProcess`; as with Qt, everything is delivered while somebody waits."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._came: queue.SimpleQueue[tuple[Callable[[bytes], None], bytes]] = queue.SimpleQueue()
        self._toSend: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._ended = False
        self.delivered = 0

    @property
    def processId(self) -> int:
        return 0 if self._process is None or self._ended else self._process.pid

    def start(
        self,
        program: str,
        arguments: list[str],
        onOutput: Callable[[bytes], None],
        onError: Callable[[bytes], None],
        onFinished: Callable[[int | None], None],
    ) -> None:
        self.command, self._onFinished = [program, *arguments], onFinished
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                self.command, stdin=pipe, stdout=pipe, stderr=pipe, env=self._environment
            )
        except OSError:
            self._ended = True
            onFinished(None)
            return
        threading.Thread(target=self._send, args=(self._process.stdin,), daemon=True).start()
        for stream, receive in ((self._process.stdout, onOutput), (self._process.stderr, onError)):
            thread = threading.Thread(target=self._read, args=(stream, receive), daemon=True)
            self._threads.append(thread)
            thread.start()

    def write(self, data: bytes) -> None:
        self._toSend.put(data)

    def closeInput(self) -> None:
        self._toSend.put(None)

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._ended and not self._deliver() and time.monotonic() < deadline:
            pass

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _deliver(self) -> bool:
        """Delivers what is there, or the end; whether there was anything."""
        try:
            receive, data = self._came.get(timeout=0.02)
        except queue.Empty:
            if self._process.poll() is None:
                return False
            self._finish()
        else:
            self.delivered += len(data)
            receive(data)
        return True

    def _finish(self) -> None:
        deadline = time.monotonic() + _DRAIN_S  # what it has started may keep the pipes open for ever
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        while not self._came.empty():
            receive, data = self._came.get()
            receive(data)
        self._ended = True
        self.closeInput()
        self._onFinished(self._process.returncode if self._process.returncode >= 0 else None)

    def _read(self, stream: IO[bytes], receive: Callable[[bytes], None]) -> None:
        with stream:
            while data := os.read(stream.fileno(), 1 << 16):
                self._came.put((receive, data))

    def _send(self, stream: IO[bytes]) -> None:
        try:
            with stream:
                while data := self._toSend.get():
                    stream.write(data)
                    stream.flush()
        except OSError:  # nobody reads any more
            pass


def engine(*arguments: str) -> list[str]:
    """The real engine."""
    return [str(PYTHON), "-m", "skcdf", *arguments]


def scripted(*arguments: str) -> list[str]:
    """An engine that does what `scripted_engine` says."""
    return [str(PYTHON), str(HERE / "scripted_engine.py"), *arguments]


def launched(command: list[str], standardInput: str = "None") -> list[str]:
    """The command behind a launcher, as PythonSlicer is one: killing it leaves what it has launched running.

    Args:
        command: the command.
        standardInput: what it gives as standard input; ``None``: its own.
    """
    program = f"import subprocess as s, sys; sys.exit(s.Popen(sys.argv[1:], stdin={standardInput}).wait())"
    return [str(PYTHON), "-c", program, *command]


def isAlive(pid: int) -> bool:
    return process_start(pid) is not None


def waitUntil(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether the condition came true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
