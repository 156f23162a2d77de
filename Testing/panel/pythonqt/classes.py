"""Qt's classes as PythonQt shows them: stand-ins that make PySide's objects, and know enums by PythonQt's manner.

``qt.QLabel`` is not PySide's class but an object that acts for it: called, derived from, in ``isinstance`` and on
the right of ``type(widget) ==``.
"""

from __future__ import annotations

import enum
from typing import Any

from PySide6 import QtCore

from .calls import Function, call
from .conversion import shown
from .decorators import STATIC
from .enums import enumType
from .instances import HIDDEN


class QtClass:
    """Acts for one class of PySide, or for a stand-in's class."""

    def __init__(self, kind: type) -> None:
        self.__dict__.update(_kind=kind, __name__=kind.__name__, __doc__=kind.__doc__)

    def __getattribute__(self, name: str) -> Any:
        if name == "__init__":  # a derived class calls that of its base by name
            return object.__getattribute__(self, "_kind").__init__
        return object.__getattribute__(self, name)

    def __call__(self, *arguments: Any) -> Any:
        return call(self._kind, arguments, self._kind.__name__)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._kind,)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._kind)

    def __subclasscheck__(self, subclass: Any) -> bool:
        return issubclass(subclass._kind if isinstance(subclass, QtClass) else subclass, self._kind)

    def __eq__(self, other: Any) -> bool:
        return (other._kind if isinstance(other, QtClass) else other) is self._kind

    def __hash__(self) -> int:
        return hash(self._kind)

    def __or__(self, other: Any) -> Any:
        return self._kind | (other._kind if isinstance(other, QtClass) else other)

    __ror__ = __or__

    def __repr__(self) -> str:
        return f"<class 'PythonQt.{self._kind.__name__}'>"

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"'{name}' can not be set on {self._kind.__name__}")

    def __getattr__(self, name: str) -> Any:
        if name in HIDDEN or (name.startswith("_") and not name.startswith("__")):
            raise AttributeError(f"type object '{self._kind.__name__}' has no attribute '{name}'")
        if (self._kind.__name__, name) in STATIC:
            return STATIC[self._kind.__name__, name]
        member = getattr(self._kind, name)
        if isinstance(member, enum.Enum):
            return shown(member)
        if isinstance(member, type):
            return enumType(member) if issubclass(member, enum.Enum) else QtClass(member)
        if isinstance(member, QtCore.Signal) or not callable(member) or name.startswith("__"):
            return member
        return Function(member, f"{self._kind.__name__}.{name}")
