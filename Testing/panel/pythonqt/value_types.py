"""Two classes that PySide makes more comfortable than PythonQt does.

A ``QByteArray`` gives its bytes by ``data()``, and ``bytes()`` of it is an error; a ``QSignalBlocker`` is
no context manager.
"""

from __future__ import annotations

from typing import Any

import shiboken6
from PySide6 import QtCore


class QByteArray:
    """Holds bytes; stands for PySide's, which ``bytes()`` can read."""

    def __init__(self, data: bytes | QByteArray = b"") -> None:
        self._data = data._data if isinstance(data, QByteArray) else bytes(data)

    def data(self) -> bytes:
        """The bytes."""
        return self._data

    def size(self) -> int:
        """How many."""
        return len(self._data)

    length = size

    def isEmpty(self) -> bool:
        """Whether there are none."""
        return not self._data

    def trimmed(self) -> QByteArray:
        """Without white space at both ends."""
        return QByteArray(self._data.strip())

    def __str__(self) -> str:
        return self._data.decode("utf-8", errors="replace")

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, QByteArray) and self._data == other._data

    def __hash__(self) -> int:
        return hash(self._data)


class QSignalBlocker:
    """Keeps an object from emitting until it goes."""

    def __init__(self, blocked: QtCore.QObject) -> None:
        self._blocked = blocked
        self.reblock()

    def reblock(self) -> None:
        """Blocks again."""
        self._was = QtCore.QObject.blockSignals(self._blocked, True)

    def unblock(self) -> None:
        """Ends it early."""
        if shiboken6.isValid(self._blocked):
            QtCore.QObject.blockSignals(self._blocked, self._was)

    __del__ = unblock
