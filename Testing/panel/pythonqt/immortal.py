"""``None``, ``True`` and ``False`` for ever, as from Python 3.12 on.

PySide counts on it: each time that it hands one of them to a slot of Python 3.11 it takes a reference that
it was not given, and
after some thousand signals the interpreter ends.
"""

from __future__ import annotations

import ctypes
import sys

MANY = 1 << 40


def makeImmortal() -> None:
    """Gives the three more references than anybody can take."""
    if sys.version_info < (3, 12):
        for thing in (None, True, False):
            ctypes.c_ssize_t.from_address(id(thing)).value += MANY
