"""The standard input of a child process, line by line, out of every library's reach."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

LONGEST_LINE = 1 << 20
"""Bytes; a request is a few hundred."""
_BLOCK = 1 << 16


def take_standard_input() -> Callable[[], bytes]:
    """Keeps the real standard input for requests alone; everything else finds an empty one.

    On Windows a library that asks about the standard input waits while another thread reads it, so descriptor 0
    becomes the null device.

    Returns:
        Waits for the next bytes of the real input; empty at its end.
    """
    real = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def read() -> bytes:
        try:
            return os.read(real, _BLOCK)
        except OSError:  # Windows' word for a pipe whose other end is gone
            return b""

    return read


def lines(read: Callable[[], bytes], limit: int = LONGEST_LINE) -> Iterator[bytes | None]:
    """Cuts bytes into lines as they come.

    Args:
        read: gives the next bytes, empty at the end.
        limit: bytes that a line may have.

    Yields:
        Each line without its end, ``None`` for one that is too long: it is passed over, not kept. What follows the
        last line end is no line.
    """
    line, skipping = bytearray(), False
    while block := read():
        *whole, rest = block.split(b"\n")
        for piece in whole:
            fits = not skipping and len(line) + len(piece) <= limit
            yield bytes(line + piece) if fits else None
            line.clear()
            skipping = False
        skipping = skipping or len(line) + len(rest) > limit
        if skipping:
            line.clear()
        else:
            line += rest
