"""Watching a scene without keeping a widget alive that Qt has deleted."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import shiboken6

_watches: weakref.WeakSet[SceneWatch] = weakref.WeakSet()


def endAll() -> None:
    """No widget watches any longer: those that a test has left do not follow the scenes of all that come after it."""
    for watch in list(_watches):
        watch.end()


class SceneWatch:
    """Calls a method of a widget when something happens to a scene or node; at most one observed object per name."""

    def __init__(self, widget: Any) -> None:
        self._widget = weakref.ref(widget)
        self._observed: dict[str, tuple[Any, list[int]]] = {}
        _watches.add(self)

    def end(self) -> None:
        """Watches nothing any longer."""
        for name in list(self._observed):
            self.observe(name, None, (), lambda _widget: None)

    def observe(
        self, name: str, observed: Any, events: tuple[Any, ...], method: Callable[[Any], None]
    ) -> None:
        """Watches an object, or none, in place of the one that had this name."""
        old, tags = self._observed.pop(name, (None, []))
        if old is not None:
            for tag in tags:
                old.RemoveObserver(tag)
        if observed is not None:
            tags = [observed.AddObserver(event, self._caller(name, method)) for event in events]
            self._observed[name] = (observed, tags)

    def _caller(self, name: str, method: Callable[[Any], None]) -> Callable[..., None]:
        def call(*_arguments: Any) -> None:
            widget = self._widget()
            if widget is not None and shiboken6.isValid(widget):
                method(widget)
            else:
                self.observe(name, None, (), method)

        return call
