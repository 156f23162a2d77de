"""Values on their way between PySide and Python, as PythonQt converts them."""

from __future__ import annotations

import enum
from typing import Any

from PySide6 import QtCore

from .enums import enumType, original
from .value_types import QByteArray


def shown(value: Any) -> Any:
    """A value of PySide as PythonQt hands it to Python: enums as integers, lists as tuples."""
    if isinstance(value, enum.Enum):
        return enumType(type(value))(value.value)
    if isinstance(value, QtCore.QByteArray):
        return QByteArray(QtCore.QByteArray.data(value))
    if isinstance(value, (list, tuple)):
        return tuple(map(shown, value))
    return value


def taken(value: Any) -> Any:
    """A value from Python as PySide takes it."""
    origin = original(type(value))
    if origin is not None:
        return origin(int(value))
    if isinstance(value, QByteArray):
        return QtCore.QByteArray(value.data())
    return value
