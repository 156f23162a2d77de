"""Locks between programs, on one computer or on a shared folder: a file that says who holds it and since when.

No lock of the operating system is used to hold one: those work differently on every network drive and tell nothing
about their owner. The lock of a program that has died on this computer is broken; whether one on another computer
still runs cannot be known, so its lock is told, for a person to remove.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .errors import SkcdfError
from .files import create_exclusively, exclusive_on_this_computer, machine, process_start, remove, utc_now

PAUSE_S = 0.02
PATIENCE_S = 5.0
EMPTY_AGE_S = 10.0
"""A lock file that stays empty this long was left by a program that died while it made it."""


@dataclass(frozen=True)
class LockOwner:
    """Who holds a lock.

    Attributes:
        user, host: the person's login name and the computer's name.
        machine: tells computers of one name, and containers on one computer, apart (`files.machine`).
        process, started: number of the process, and when the system says that it began.
        since: when the lock was taken, UTC, ISO 8601.
        what: what it is held for.
        token: unlike that of any other lock.
    """

    user: str
    host: str
    machine: str
    process: int
    started: str
    since: str
    what: str
    token: str

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to have ended: it ran on this computer and is there no more."""
        if not (self.machine and self.started):  # a system that does not tell
            return False
        return self.is_here and process_start(self.process) != self.started

    @property
    def is_here(self) -> bool:
        """Whether its process's number means the same to this program."""
        return (self.host, self.machine) == (platform.node(), machine())

    def __str__(self) -> str:
        state = ", which has ended" if self.is_dead else ""
        return f"{self.user} on {self.host} (process {self.process}{state}) since {self.since}: {self.what}"


@contextlib.contextmanager
def held(path: Path, what: str, patience_s: float | None = None) -> Iterator[None]:
    """Holds the lock ``path`` while the block runs. It cannot be taken twice, not even by the same thread.

    Args:
        path: the lock's file; its folder is made when absent.
        what: what it is held for, for those who wait: "adding case_07".
        patience_s: how long to wait for another holder; ``None``: `PATIENCE_S`.

    Raises:
        SkcdfError: another program holds it for longer than that, or the folder cannot be written.
    """
    owner = _this_process(what)
    text = json.dumps(asdict(owner), ensure_ascii=False) + "\n"
    deadline = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
    while not create_exclusively(path, text):
        if _break_if_dead(path):
            continue
        if time.monotonic() > deadline:
            raise SkcdfError(
                f"{path}: is locked by {lock_owner(path) or 'an unknown program'}.",
                "Wait until it is done. If that program no longer runs, delete this file.",
            )
        time.sleep(PAUSE_S)
    try:
        yield
    finally:
        found = lock_owner(path)
        if found is not None and found.token == owner.token:  # a person may have taken it away
            with contextlib.suppress(OSError):  # what was done is done; the next one breaks the lock
                remove(path)


def lock_owner(path: Path) -> LockOwner | None:
    """Who holds a lock; ``None``: nobody, or its file cannot be read."""
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
        known = {
            each.name: content.get(each.name, "") for each in fields(LockOwner)
        }  # a newer one may say more
        return LockOwner(**known)
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _this_process(what: str) -> LockOwner:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a system without a name for this user
        user = "unknown"
    process = os.getpid()
    return LockOwner(
        user=user,
        host=platform.node(),
        machine=machine(),
        process=process,
        started=process_start(process) or "",
        since=utc_now(),
        what=what,
        token=uuid.uuid4().hex,
    )


def _break_if_dead(path: Path) -> bool:
    """Removes the lock of a program that has ended on this computer; whether it is worth trying again at once."""
    if not _is_dead(path):
        return False
    try:
        # Two who find the same dead lock: the second must not remove the one that the first has taken since.
        with exclusive_on_this_computer(path.with_name(".breaking")):
            if _is_dead(path):
                remove(path)
    except OSError:  # a file system that does not do that: the lock is told instead
        return False
    return True


def _is_dead(path: Path) -> bool:
    owner = lock_owner(path)
    if owner is not None:
        return owner.is_dead
    try:
        # Only an empty file is known to be half made: on a file system without hard links it is filled second.
        return not path.read_bytes() and time.time() - path.stat().st_mtime > EMPTY_AGE_S
    except OSError:  # it has just been given back, or belongs to somebody whose files are private
        return False
