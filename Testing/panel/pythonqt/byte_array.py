"""``QByteArray`` as PythonQt gives it: its bytes come from ``data()``, and ``bytes()`` of it is an error."""

from __future__ import annotations

from typing import Any


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
