"""What file managers leave in any folder that somebody has opened: nobody's files, and no folder is full of them."""

from __future__ import annotations

import os
from pathlib import Path

from .files import remove

_NAMES = {".ds_store", "desktop.ini", "thumbs.db"}
_APPLE_DOUBLE = "._"  # macOS keeps there what a drive has no place for
_JUNCTION = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT


def is_dropping(path: Path) -> bool:
    """Whether a file is what a file manager leaves."""
    named = path.name.casefold() in _NAMES or path.name.startswith(_APPLE_DOUBLE)
    return named and not is_link(path) and path.is_file()


def is_empty(folder: Path) -> bool:
    """Whether a folder is empty, as people see it.

    Raises:
        OSError: it cannot be read.
    """
    return all(is_dropping(entry) for entry in list(folder.iterdir()))


def remove_empty(folder: Path) -> None:
    """Removes a folder in which nothing is left but a file manager's droppings."""
    entries = list(folder.iterdir())
    if all(is_dropping(entry) for entry in entries):
        for entry in entries:
            remove(entry)
        folder.rmdir()


def is_link(path: Path) -> bool:
    """Whether a path is a symbolic link, or what Windows has besides: a junction to another folder."""
    if path.is_symlink():
        return True
    return os.path.lexists(path) and getattr(os.lstat(path), "st_reparse_tag", 0) == _JUNCTION
