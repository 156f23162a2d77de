"""Less time for memory that the system clears again and again: larger pages, and freed memory kept; needs no torch."""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
KEPT = 2**27
"""Larger blocks still go back at once: kept ones lie scattered, and cost a step at the published size 1.7 GiB more."""


def keep_freed_memory() -> bool:
    """Lets this process hold on to memory that it frees, until it ends; says whether the system can.

    The GNU C library gives large blocks back to the system at once. Every step of a training asks for the same ones
    again, and the system must clear them page by page: a sixth of a small step's time (`docs/performance.md`). Other
    systems have allocators of their own.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MMAP_THRESHOLD, KEPT) and library.mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def ask_for_large_pages() -> None:
    """Lets torch ask Linux for memory in pages of 2 MiB, if it has made no large tensor yet.

    Its tensors come and go with every layer, and first touching a new one in pages of 4 KiB is a tenth of the time of
    a window (docs/performance.md).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
