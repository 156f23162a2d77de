"""The log of a run: every line with its time, in a file that only grows, complete up to the last line said."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from .errors import SkcdfError


class RunLog:
    """Appends to a file, from any thread, and flushes every line.

    Args:
        file: where to; its folder is made when absent.
        lazily: open it with the first line only: for processes that mostly have nothing to say.

    Raises:
        SkcdfError: the file cannot be written.
    """

    def __init__(self, file: Path, lazily: bool = False) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._stream: TextIO | None = None
        self._broken = False
        if not lazily:
            try:
                self._open()
            except OSError as error:
                raise SkcdfError(
                    f"{file}: the log of the run cannot be written ({error.strerror or error}).",
                    "Check the free disk space and that the run's folder is writable, or give another folder.",
                ) from error

    def write(self, text: str) -> None:
        """Adds ``text``, its first line with the time. A disk that fills up later stops the log, not the run."""
        first, *others = text.rstrip("\n").split("\n")
        lines = [f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {first}", *(f"    {line}" for line in others)]
        with self._lock:
            if self._broken:
                return
            try:
                stream = self._stream or self._open()
                stream.write("".join(f"{line}\n" for line in lines))
                stream.flush()
            except (OSError, ValueError) as error:
                self._broken = True
                with contextlib.suppress(OSError, ValueError):
                    print(f"warning: {self.file}: the log ends here ({error}).", file=sys.stderr)

    def write_traceback(self, error: BaseException) -> None:
        """Adds an exception with its traceback."""
        self.write("".join(traceback.format_exception(error)))

    @contextlib.contextmanager
    def gathering_warnings(self) -> Iterator[None]:
        """Inside it, what Python and its libraries warn of goes to the log, too."""
        handler = _Handler(self)
        root = logging.getLogger()
        root.addHandler(handler)
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.removeHandler(handler)

    def close(self) -> None:
        """Closes the file."""
        with self._lock, contextlib.suppress(OSError):
            if self._stream is not None:
                self._stream.close()
            self._stream, self._broken = None, True

    def _open(self) -> TextIO:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # Names of files may hold bytes that are no UTF-8.
        self._stream = open(self.file, "a", encoding="utf-8", errors="backslashreplace", newline="\n")  # noqa: SIM115
        return self._stream


class _Handler(logging.Handler):
    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.write(f"{record.levelname.lower()}: {record.getMessage()}")
