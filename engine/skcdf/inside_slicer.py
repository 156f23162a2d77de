"""Commands inside the Slicer application: a child process does the work, and the application ends with its exit code.

Slicer's application module is only ever taken from `sys.modules`: where nobody imported it, this is no Slicer. What
Slicer does with scripts, exceptions and exit codes: `docs/finetune-command.md`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from .errors import SkcdfError

ENGINE_VARIABLE = "SKCDF_ENGINE"
"""Names the folder whose ``skcdf`` a script in ``training/`` takes: the child's is the application's own."""
POLL_S = 0.05
CHILD_PATIENCE_S = 15.0
"""Longer than a stopped run takes to end by itself."""


def slicer_application() -> Any:
    """The module ``slicer`` of a running application; ``None`` elsewhere, in PythonSlicer, too."""
    slicer = sys.modules.get("slicer")
    return slicer if getattr(slicer, "app", None) is not None else None


def python_slicer_path(slicer_home: Path | str) -> Path:
    """The Python of a Slicer installation. ``sys.executable`` is no substitute: it may be empty.

    Raises:
        SkcdfError: the installation lacks it.
    """
    for name in ("PythonSlicer", "PythonSlicer.exe"):
        path = Path(slicer_home) / "bin" / name
        if path.is_file():
            return path
    raise SkcdfError(f"{slicer_home}: there is no PythonSlicer in its bin folder.", "Install Slicer again.")


def run_in_child(script: Path, arguments: Sequence[str], slicer: Any) -> int:
    """Runs a script in PythonSlicer, passing on its output line by line, and keeps the application alive meanwhile.

    The child's standard input is a pipe that nobody writes to: it ends when the application does, however that is.

    Args:
        script: the script, which asks for no input.
        arguments: its arguments.
        slicer: from `slicer_application`.

    Returns:
        The child's exit code; after a signal ended it, 128 and the signal's number, as shells say it.

    Raises:
        SkcdfError: PythonSlicer is missing or cannot be started.
        KeyboardInterrupt: Ctrl-C reached the application a second time; the first one stops the child.
    """
    python = python_slicer_path(slicer.app.slicerHome)
    command = [str(python), "-u", "-X", "utf8", str(script), *arguments]
    environment = {**os.environ, ENGINE_VARIABLE: str(Path(__file__).resolve().parents[1])}
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise SkcdfError(f"{python}: cannot be started ({error}).", "Install Slicer again.") from error
    try:
        return _pass_on(child, slicer.app.processEvents)
    finally:
        _end(child)


def _pass_on(child: subprocess.Popen[bytes], process_events: Callable[[], object]) -> int:
    """Prints the child's lines until it has closed its output; only the main thread may print in Slicer."""
    lines: queue.Queue[tuple[str, bytes]] = queue.Queue()
    _read(child.stdout, "stdout", lines)
    _read(child.stderr, "stderr", lines)
    open_streams, interrupted = 2, False
    while open_streams:
        try:
            process_events()
            if (
                child.poll() is not None
            ):  # perhaps only the launcher, and the Python it launched must not stay
                _close_input(child)
            name, line = lines.get(timeout=POLL_S)
            if line:
                text = line.decode("utf-8", errors="replace")
                print(text, end="", file=getattr(sys, name), flush=True)
            else:
                open_streams -= 1
        except queue.Empty:
            pass
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            _close_input(child)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _read(stream: IO[bytes] | None, name: str, lines: queue.Queue[tuple[str, bytes]]) -> None:
    """Puts every line of a stream into the queue, and an empty one at its end."""
    assert stream is not None  # a pipe, as the child was started

    def read() -> None:
        with stream, contextlib.suppress(OSError):
            for line in stream:
                lines.put((name, line))
        lines.put((name, b""))

    threading.Thread(target=read, daemon=True).start()


def _close_input(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        assert child.stdin is not None
        child.stdin.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    """Lets a child that still runs stop with a checkpoint."""
    _close_input(child)
    deadline = time.monotonic() + CHILD_PATIENCE_S
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(POLL_S)
    if child.poll() is None:
        child.kill()
