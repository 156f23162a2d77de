"""What lies in a project's folder, how large it is, and the removal of what a project has made, and of nothing else.

A file is the project's when its place and name are ones that the engine gives. Anything else stays where it is, and so
does a folder that holds it: nobody's own file is lost because it was put in the wrong place. Links are neither made
nor followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .droppings import is_dropping, is_link, remove_empty
from .errors import SkcdfError
from .files import remove
from .lock import lock_owner
from .project_runs import RUN_NAME
from .run_folder import LOCK_FILE

PROJECT_FILE = "project.json"
PARTS = ("runs", "cache", "logs", "models", "pool")

# Paths below the part's folder. What the engine is just writing begins with a dot.
_OWN = {
    "pool": re.compile(
        r"(pool|label_set|dataset)\.json|cases/[^/]+\.json|incoming/.+|locks/[^/]+|([^/]+/)?\.[^/]+\.tmp[^/]*"
        r"|(imagesTr|imagesTs|imagesUn|labelsTr|labelsTs|leftovers)/[^/]+_[0-9a-f]{16}(_0000)?\.nii\.gz"
    ),
    "models": re.compile(
        r"store\.json|\.lock|\.scores/.+|\.[0-9a-f]{32}\.new/.+|(.+/)?\.[^/]+\.tmp[^/]*|[^/]+/(current\.json|\.lock)"
        r"|[^/]+/versions/v[1-9]\d*/(model\.json|version\.json|[^/]+\.safetensors)"
    ),
    "runs": re.compile(rf"{RUN_NAME.pattern}/.+"),
    "cache": re.compile(r".+"),
    "logs": re.compile(r".+"),
}
# What makes the folder a pool or a store: it goes with the whole project only.
_FRAME = {"pool": {"pool.json", "label_set.json"}, "models": {"store.json"}}
_LOCKS = {"pool": ("locks/*.lock",), "models": (".lock", "*/.lock"), "runs": (f"*/{LOCK_FILE}",)}


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links and what cannot be read count as nothing."""
    if is_link(path):
        return 0
    try:
        if not path.is_dir():
            return path.stat().st_size
        entries = list(path.iterdir())
    except OSError:
        return 0
    return sum(size_of(entry) for entry in entries)


def require_idle(root: Path, part: str, except_for: Path | None = None) -> None:
    """Raises `SkcdfError` when a program works in a part of a project, or its folder is a link.

    Args:
        root: the project's folder.
        part: one of `PARTS`.
        except_for: a lock that the caller holds.
    """
    folder = root / part
    if is_link(folder):
        raise SkcdfError(
            f"{folder}: is a link to another place, which this project has not made.",
            "Delete what it leads to yourself, if you want that.",
        )
    for lock in (each for pattern in _LOCKS.get(part, ()) for each in folder.glob(pattern)):
        owner = lock_owner(lock)
        if lock != except_for and lock.exists() and not (owner and owner.is_dead):
            raise SkcdfError(
                f"{lock}: is held by {owner or 'an unknown program'}.",
                "Wait until it is done, or stop it. If that program no longer runs, delete this file.",
            )


def require_writable(root: Path, parts: Iterable[str]) -> None:
    """Raises `SkcdfError` when a part of a project may only be read; an empty one would seem to be deleted.

    Args:
        root: the project's folder.
        parts: of `PARTS`.
    """
    for folder in (root / part for part in parts):
        if os.path.lexists(folder) and not os.access(folder, os.W_OK | os.X_OK):
            raise SkcdfError(
                f"{folder}: nothing can be deleted there, since you may not write into it.",
                "Check the rights, or ask whoever looks after this folder.",
            )


def remove_part(root: Path, part: str, whole: bool) -> tuple[Path, ...]:
    """Removes what a project has made in one of its parts.

    Args:
        root: the project's folder.
        part: one of `PARTS`; `require_idle` was asked.
        whole: with the part's own folder and what makes it a pool or a store, as the project goes, too.

    Returns:
        What is not the project's, and so stays.

    Raises:
        SkcdfError: a file cannot be removed, since another program has it open for example.
    """
    folder = root / part
    frame = frozenset[str]() if whole else _FRAME.get(part, frozenset())

    def is_own(path: Path) -> bool:
        name = path.relative_to(folder).as_posix()
        return _OWN[part].fullmatch(name) is not None and name not in frame

    if not os.path.lexists(folder):
        return ()
    try:
        left = [path for path in _emptied(folder, is_own) if path.relative_to(folder).as_posix() not in frame]
        if whole:
            remove_empty(folder)
    except OSError as error:
        raise SkcdfError(
            f"{error.filename or folder}: cannot be deleted ({error.strerror or error}).",
            "Close programs that have it open, check the rights, and delete again: what is gone is gone.",
        ) from error
    return tuple(left)


def _emptied(folder: Path, is_own: Callable[[Path], bool]) -> Iterator[Path]:
    """Removes own files, and folders below that are then empty; yields what stays.

    In the order of names, so that ``cases`` and ``current.json`` go before the files that they name: a removal that
    was interrupted leaves files that nothing names, and no case or version without its files.
    """
    for path in sorted(folder.iterdir()):
        if is_link(path):
            yield path
        elif path.is_dir():
            yield from _emptied(path, is_own)
            remove_empty(path)
        elif is_own(path):
            remove(path)
        elif not is_dropping(path):
            yield path
