"""Runs one ``skcdf`` command in this process and keeps what it took in a file of its own.

    python benchmarks/study/measured.py PARTS train POOL RUN …

A training that is interrupted and resumed leaves a file in the folder PARTS for each part, so that nothing it took is
lost. It is written again every few seconds: a part that is ended by force tells nothing at its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from skcdf.errors import SkcdfError
from skcdf.files import peak_resident_bytes, write_json

PERIOD_S = 5.0
"""What a part that is ended by force may lose."""


def load() -> float | None:
    """Processes that wanted to run in the last minute, on average; ``None`` where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def gib(size: int | None) -> float | None:
    """Bytes as GiB."""
    return None if size is None else round(size / 2**30, 3)


class Part:
    """One command's file.

    Args:
        folder: gets it; files in it are numbered in the order in which the commands began.
        command: its name.
    """

    def __init__(self, folder: Path, command: str) -> None:
        number = 1 + max((int(each.stem) for each in folder.glob("[0-9]*.json")), default=0)
        self.file, self.command = folder / f"{number:04d}.json", command
        self._begin, self._load = time.monotonic(), load()
        self._lock, self._ended = threading.Lock(), threading.Event()

    def keep(self) -> None:
        """Writes the file every `PERIOD_S` until the command has ended."""
        while not self._ended.is_set():
            with contextlib.suppress(SkcdfError):  # the next time it may succeed
                self._write(None)
            self._ended.wait(PERIOD_S)

    def end(self, code: int) -> None:
        """Writes it for the last time."""
        self._ended.set()
        self._write(code)

    def _write(self, code: int | None) -> None:
        import torch

        # to ask for more would begin it, in a command that may not want it
        cuda = torch.cuda.is_initialized()
        with self._lock:
            if code is None and self._ended.is_set():
                return
            part: dict[str, Any] = {
                "command": self.command,
                "code": code,
                "seconds": round(time.monotonic() - self._begin, 2),
                "cpu_seconds": round(time.process_time(), 2),
                "resident_gib": gib(peak_resident_bytes()),
                "gpu_gib": gib(torch.cuda.max_memory_allocated()) if cuda else None,
                "device": torch.cuda.get_device_name() if cuda else "CPU",
                "threads": torch.get_num_threads(),
                "load": [self._load, load()],
            }
            write_json(self.file, part)


def run(folder: Path, arguments: list[str]) -> int:
    """Runs the command; what it took is kept also when it is stopped, fails or is ended by force."""
    import torch  # noqa: F401  (loading is no part of what the command took)

    from skcdf.cli import main

    part = Part(folder, arguments[0])
    threading.Thread(target=part.keep, daemon=True).start()
    code = 1
    try:
        code = main(arguments)
    finally:
        part.end(code)
    return code


if __name__ == "__main__":
    # a shell's background jobs inherit that it is ignored; before the seconds that torch takes to load
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(130)
