"""Folders for what the child process reads and writes; what a dead application has left is swept.

A folder's name says whose it is, for people; the lock in it says so for programs, which tell a dead process from a
living one of the same number, and this computer from others that share the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from pathlib import Path

from skcdf.errors import SkcdfError
from skcdf.lock import held, lock_owner

from .Texts import _

PREFIX = "skcdf-"
_LOCK = "owner.lock"
_UNOWNED_AGE_S = 3600.0
"""A folder without a lock this old was left by a program that died while it made it."""
_PATIENCE_S = 0.5


class TemporaryFolder:
    """A folder that is there until `remove`.

    Args:
        root: the folder to make it in.

    Attributes:
        path: its path.

    Raises:
        SkcdfError: it cannot be made.
    """

    def __init__(self, root: Path | str) -> None:
        self.path = Path(root) / f"{PREFIX}{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._lock = contextlib.ExitStack()
        try:
            self.path.mkdir(mode=0o700, parents=True)  # patients' scans are nobody else's business
        except OSError as error:
            raise SkcdfError(
                _("{path}: no folder can be made there ({reason}).").format(
                    path=root, reason=error.strerror or error
                ),
                _("Choose another temporary folder in Edit, Application Settings, Modules."),
            ) from error
        try:
            self._lock.enter_context(held(self.path / _LOCK, "segmenting"))
        except SkcdfError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def remove(self) -> None:
        """Deletes it; what another program still has open is left to the next sweep."""
        self._lock.close()
        _delete(self.path)


def sweep(root: Path | str) -> None:
    """Deletes the folders below ``root`` whose programs have ended; what cannot be deleted is left there."""
    with contextlib.suppress(OSError):  # the folder is not there, or not ours to read
        for folder in Path(root).glob(f"{PREFIX}*-*"):
            if _isLeft(folder):
                _delete(folder)


def _isLeft(folder: Path) -> bool:
    owner = lock_owner(folder / _LOCK)
    if owner is not None:
        return owner.is_dead
    with contextlib.suppress(OSError):
        return folder.is_dir() and time.time() - folder.stat().st_mtime > _UNOWNED_AGE_S
    return False


def _delete(folder: Path) -> None:
    """A process that was just killed may hold a file for an instant longer."""
    deadline = time.monotonic() + _PATIENCE_S
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
        shutil.rmtree(folder, ignore_errors=True)
