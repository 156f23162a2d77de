"""C++ enums as PythonQt shows them: types derived from ``int`` without members, values that are plain integers.

PythonQt makes each enum with ``type(name, (int,), {})`` (``PythonQtPrivate::createNewPythonQtEnumWrapper``), so
``qt.QMessageBox.Ok`` is a value, ``qt.QMessageBox.StandardButton`` a type, and ``StandardButton.Ok`` an error.
"""

from __future__ import annotations

import enum

_typeOf: dict[type, type] = {}
_originOf: dict[type, type] = {}


def enumType(origin: type[enum.Enum]) -> type:
    """The ``int`` type that stands for an enum of PySide; the same one each time."""
    if origin not in _typeOf:
        made = type(origin.__name__, (int,), {"__module__": "PythonQt"})
        _typeOf[origin], _originOf[made] = made, origin
    return _typeOf[origin]


def original(made: type) -> type | None:
    """The enum of PySide that a type of `enumType` stands for; ``None`` for any other type."""
    return _originOf.get(made)
