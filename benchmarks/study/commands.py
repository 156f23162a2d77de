"""Running commands with a deadline: when it comes, the command is asked to stop and goes on in the next call."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from skcdf.errors import Cancelled
from skcdf.files import HANG_UPS, TERMINATION

MEASURED = Path(__file__).with_name("measured.py")
PATIENCE_S = 60.0
"""How long a command that was asked to stop may take to write its checkpoint."""


class OutOfTimeError(Exception):
    """The deadline came; what was done so far is kept and will be gone on with."""


class CommandFailedError(Exception):
    """A command ended with an error, which it has told."""


class Deadline:
    """A moment in time.

    Args:
        minutes: from now; ``None``: never.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self._end = math.inf if minutes is None else time.monotonic() + 60 * minutes

    @property
    def left_s(self) -> float | None:
        """Seconds that are left; ``None``: any number."""
        return None if self._end == math.inf else max(0.0, self._end - time.monotonic())


def run_command(
    arguments: Sequence[object],
    deadline: Deadline,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> None:
    """Runs Python with ``arguments`` and waits.

    Raises:
        OutOfTimeError: the deadline came first.
        CommandFailedError: the command failed.
    """
    texts = list(map(str, arguments))
    print("+ python", shlex.join(texts), flush=True)
    # a session of its own, so that what it started itself can be ended with it
    process = subprocess.Popen(
        [python, *texts], env={**os.environ, **(environment or {})}, start_new_session=True
    )
    try:
        code = process.wait(deadline.left_s)
    except subprocess.TimeoutExpired:
        _stop(process)
        raise OutOfTimeError from None
    except BaseException:
        _stop(process)
        raise
    if code:
        raise CommandFailedError(f"{shlex.join(texts[:3])} … ended with {code}")


def skcdf(
    parts: Path, arguments: Sequence[object], deadline: Deadline, environment: Mapping[str, str] | None = None
) -> None:
    """Runs ``skcdf`` and has what it took kept in the folder ``parts``; raises what `run_command` does."""
    run_command([MEASURED, parts, *arguments], deadline, environment)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asks it to stop, as Ctrl-C does, and waits until its checkpoint is written."""
    process.send_signal(signal.SIGINT)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
    finally:  # a second Ctrl-C waits no longer
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def heard_signals() -> Iterator[None]:
    """Inside it `Cancelled` is raised, once, when a scheduler asks the program to end or its terminal is closed.

    Both would end it at once, and the command that it runs, which is in a session of its own, would go on alone.
    """
    before = {each: signal.getsignal(each) for each in (TERMINATION, *HANG_UPS)}
    heard = [each for each, handler in before.items() if handler is not signal.SIG_IGN]  # nohup

    def tell(number: int, frame: object) -> None:
        for each in heard:  # what stops the command now must not be interrupted
            signal.signal(each, signal.SIG_IGN)
        raise Cancelled

    for each in heard:
        signal.signal(each, tell)
    try:
        yield
    finally:
        for each in heard:
            signal.signal(each, before[each] or signal.SIG_DFL)
