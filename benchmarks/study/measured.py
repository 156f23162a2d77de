"""Runs one ``skcdf`` command in this process and adds a line of what it took to a file.

    python benchmarks/study/measured.py PARTS.jsonl train POOL RUN …

A training that is interrupted and resumed leaves a line for each part, so that nothing it took is lost.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from skcdf.cli import main
from skcdf.files import peak_resident_bytes


def load() -> float | None:
    """Processes that wanted to run in the last minute, on average; ``None`` where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def gib(size: int | None) -> float | None:
    """Bytes as GiB."""
    return None if size is None else round(size / 2**30, 3)


def run(file: Path, arguments: list[str]) -> int:
    """Runs the command; its line is written also when it is stopped or fails."""
    begin, before = time.monotonic(), load()
    code = 1
    try:
        code = main(arguments)
    finally:
        cuda = torch.cuda.is_available()
        part: dict[str, Any] = {
            "command": arguments[0],
            "code": code,
            "seconds": round(time.monotonic() - begin, 2),
            "cpu_seconds": round(time.process_time(), 2),
            "resident_gib": gib(peak_resident_bytes()),
            "gpu_gib": gib(torch.cuda.max_memory_allocated()) if cuda else None,
            "device": torch.cuda.get_device_name() if cuda else "CPU",
            "threads": torch.get_num_threads(),
            "load": [before, load()],
        }
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(part) + "\n")
    return code


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs inherit that it is ignored
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
