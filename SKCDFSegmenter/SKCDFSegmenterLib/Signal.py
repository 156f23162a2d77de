"""Tells whoever wants to hear of it; plain Python, since PythonQt has no signals of Python classes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

_logger = logging.getLogger(__name__)


class Signal:
    """Calls its slots in the order in which they were connected, on the thread that emits."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        """Calls ``slot`` with what is emitted from now on; connected twice, it is called once."""
        if slot not in self._slots:
            self._slots.append(slot)

    def disconnect(self, slot: Callable[..., Any]) -> None:
        """Calls ``slot`` no more; one that was not connected is no error: a panel may be torn down twice."""
        if slot in self._slots:
            self._slots.remove(slot)

    def emit(self, *values: Any) -> None:
        """Calls every slot. What one of them raises is logged, and the others are called all the same."""
        for slot in list(self._slots):
            if slot in self._slots:  # an earlier slot may have torn down the later one's panel
                callSafely(slot, *values)


def callSafely(function: Callable[..., Any], *values: Any) -> None:
    """Calls somebody else's function; what it raises is logged, since it must not break the caller's own work."""
    try:
        function(*values)
    except Exception:
        _logger.exception("%s failed", getattr(function, "__qualname__", function))
