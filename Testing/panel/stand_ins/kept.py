"""Properties whose values a stand-in only keeps."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property


def kept(kind: Any, name: str, default: Any, changed: str | None = None) -> Any:
    """A Qt property kept in ``self._values``.

    Args:
        kind: its Qt type, as `Property` takes it.
        name: its name.
        default: its value at first.
        changed: the method that is called when it was set.
    """

    def read(self: Any) -> Any:
        return self._values.get(name, default)

    def write(self: Any, value: Any) -> None:
        self._values[name] = value
        if changed is not None:
            getattr(self, changed)()

    return Property(kind, read, write)
