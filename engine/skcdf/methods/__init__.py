"""Training methods by name: ``skcdf train --method NAME``."""

from __future__ import annotations

from ..errors import SkcdfError
from .base import Batch, Method
from .supervised import Supervised

METHODS: dict[str, type[Method]] = {"supervised": Supervised}


def method_class(name: str) -> type[Method]:
    """The method called ``name``.

    Raises:
        SkcdfError: no method of that name.
    """
    if name not in METHODS:
        raise SkcdfError(f"There is no training method called {name}.", f"Known are {', '.join(METHODS)}.")
    return METHODS[name]


def build_method(name: str, *, channels: int, classes: int, filters: int) -> Method:
    """Makes a method with a freshly initialised network.

    Args:
        name: key of `METHODS`.
        channels, classes, filters: of its network.

    Raises:
        SkcdfError: no method of that name.
    """
    return method_class(name)(channels=channels, classes=classes, filters=filters)


__all__ = ["METHODS", "Batch", "Method", "build_method", "method_class"]
