"""Tells the locks that a pool has now: who holds them, since when, and what to do about those that nobody holds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..pool import LabelledPool

_ENDING = ".lock"


def print_locks(pool: LabelledPool) -> None:
    """Prints a line for every lock of a pool: that of the whole pool first, then the cases'."""
    of_pool = pool.lock_file()
    for path in sorted(of_pool.parent.glob(f"*{_ENDING}"), key=lambda path: (path != of_pool, path.name)):
        case = None if path == of_pool else path.name.removesuffix(_ENDING)
        line = _line(path, f"skcdf pool unlock {pool.root}{f' {case}' if case else ''}")
        if line:
            print(f"lock: {f'case {case}' if case else 'the whole pool'}: {line}")


def _line(path: Path, unlock: str) -> str:
    """Who holds a lock, and how to get rid of it; empty when it has been given back meanwhile."""
    from ..lock import lock_owner

    owner = lock_owner(path)
    if owner is None:
        try:
            made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except OSError:
            return ""
        return f"held by an unknown program since {made:%Y-%m-%dT%H:%M:%SZ}; if none runs, {unlock}"
    if owner.is_dead:
        return f"stale, left by {owner}; the next change removes it, or {unlock}"
    if not owner.is_here:
        return f"held by {owner}; whether that still runs cannot be known here: if it does not, {unlock}"
    return f"held by {owner}"
