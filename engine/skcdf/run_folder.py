"""A run's folder: who works in it, and whether a run was begun there; asked before torch is imported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .errors import SkcdfError
from .launch import launched
from .lock import held

LOCK_FILE = "run.lock"
"""Who trains in the run's folder."""
LOG_FILE = "log.txt"
CHECKPOINT_FILE = "checkpoint.safetensors"
RUN_FILE = "fine_tuning.json"
"""What a fine-tuning must remember."""


@contextlib.contextmanager
def alone_in(run_folder: Path) -> Iterator[None]:
    """Inside it no other program trains in this folder; of processes that train together the first sees to it.

    Raises:
        SkcdfError: another program does, or the folder cannot be written.
    """
    if launched().rank > 0:
        yield
        return
    made = not run_folder.exists()
    try:
        with held(run_folder / LOCK_FILE, "training", 0.5):
            yield
    finally:
        if made:
            with contextlib.suppress(OSError):  # something is in it, as it should be
                run_folder.rmdir()


def require_apart(run_folder: Path, data: Path) -> None:
    """Raises `SkcdfError` when the run would be written among the cases that it learns from."""
    run, cases = run_folder.resolve(), data.resolve()
    if run == cases or cases in run.parents:
        raise SkcdfError(f"{run_folder}: lies in the data set {data}.", "Give the run a folder elsewhere.")


def require_begun(run_folder: Path) -> None:
    """Raises `SkcdfError` when nothing in the folder is of a run: its name may be mistyped."""
    if not any((run_folder / name).exists() for name in (RUN_FILE, CHECKPOINT_FILE, LOG_FILE)):
        raise SkcdfError(
            f"{run_folder}: there is no run to go on with.",
            "Check the folder's name, or leave out --resume to begin a run there.",
        )
