"""What PythonQt adds to every object: connections, children, properties, and its own few methods."""

from __future__ import annotations

import math
from typing import Any

import shiboken6
from PySide6 import QtCore

from . import signals
from .conversion import shown, taken


def connect(object_: QtCore.QObject, signal: str, *target: Any) -> bool:
    """``object.connect(signature, callable)``, or a receiver and its slot."""
    return signals.connect(object_, signal, *target)


def disconnect(object_: QtCore.QObject, signal: str, *target: Any) -> bool:
    """``object.disconnect(signature, callable)``; without a callable all of the signal."""
    return signals.disconnect(object_, signal, *target)


def children(object_: QtCore.QObject) -> tuple[QtCore.QObject, ...]:
    """The children; a list in Qt is a tuple in PythonQt."""
    return tuple(QtCore.QObject.children(object_))


def findChild(object_: QtCore.QObject, kind: Any, name: str | None = None) -> QtCore.QObject | None:
    """The first descendant of a class (or a class's name), nearest first."""
    own = children(object_)
    for child in own:
        if _fits(child, kind, name):
            return child
    for child in own:
        found = findChild(child, kind, name)
        if found is not None:
            return found
    return None


def findChildren(object_: QtCore.QObject, kind: Any, name: str | None = None) -> tuple[QtCore.QObject, ...]:
    """All descendants of a class (or a class's name), perhaps of one name."""
    found: list[QtCore.QObject] = []
    for child in children(object_):
        if _fits(child, kind, name):
            found.append(child)
        # PythonQt looks below a child of another name only where no name is asked for.
        if name is None or QtCore.QObject.objectName(child) == name:
            found.extend(findChildren(child, kind, name))
    return tuple(found)


def _fits(object_: QtCore.QObject, kind: Any, name: str | None) -> bool:
    if name is not None and QtCore.QObject.objectName(object_) != name:
        return False
    return inherits(object_, kind) if isinstance(kind, str) else isinstance(object_, kind)


def inherits(object_: Any, name: str) -> bool:
    """Whether the object is of a class of this name, or of one that derives from it."""
    return any(base.__name__ == name for base in type(object_).__mro__)


def property_(object_: QtCore.QObject, name: str) -> Any:
    """A property's value, also of a dynamic property; ``None`` where there is none."""
    return shown(QtCore.QObject.property(object_, name))


def setProperty(object_: QtCore.QObject, name: str, value: Any) -> bool:
    """Sets a property, making a dynamic one where the class has none; whether the class has one."""
    return QtCore.QObject.setProperty(object_, name, taken(value))


def className(object_: Any) -> str:
    """The name of the object's class."""
    return type(object_).__name__


def delete(object_: Any) -> None:
    """Deletes the C++ object at once."""
    shiboken6.delete(object_)


def singleShot(milliseconds: int, *target: Any) -> None:
    """``QTimer.singleShot(time, callable)``, or with a receiver and its slot."""
    timer = QtCore.QTimer(QtCore.QCoreApplication.instance())
    QtCore.QTimer.setSingleShot(timer, True)
    signals.connect(timer, "timeout()", *target)
    signals.connect(timer, "timeout()", timer, "deleteLater()")
    QtCore.QTimer.start(timer, int(milliseconds))


STATIC = {("QTimer", "singleShot"): singleShot}
QOBJECT = {
    "connect": connect,
    "disconnect": disconnect,
    "children": children,
    "findChild": findChild,
    "findChildren": findChildren,
    "property": property_,
    "setProperty": setProperty,
}
ALL = {"className": className, "inherits": inherits, "delete": delete}


def write(object_: QtCore.QObject, property_: QtCore.QMetaProperty, value: Any) -> None:
    """Assigns to a Qt property as PythonQt does.

    Raises:
        AttributeError: it is not writable, or takes no value of that kind.
    """
    name = property_.name()
    if not property_.isWritable():
        raise AttributeError(f"Property '{name}' of {className(object_)} object is not writable")
    try:
        converted = _converted(value, property_)
    except (TypeError, ValueError, OverflowError):
        converted = _REFUSED
    if converted is _REFUSED or not QtCore.QObject.setProperty(object_, name, converted):
        raise AttributeError(
            f"Property '{name}' of type '{property_.typeName()}' does not accept an object of type "
            f"{type(value).__name__} ({value!r})"
        )


_REFUSED = object()


def _converted(value: Any, property_: QtCore.QMetaProperty) -> Any:
    """The value for a property of this type, after ``PythonQtConv::PyObjToQVariant``."""
    kind = property_.typeName()
    if property_.isEnumType():
        return int(value) if isinstance(value, int) else value if isinstance(value, str) else _REFUSED
    if kind == "bool":
        return bool(value)  # of anything
    if kind in ("int", "uint", "qlonglong"):
        return math.floor(value) if isinstance(value, (int, float)) else _REFUSED
    if kind in ("double", "float"):
        return float(value) if isinstance(value, (int, float)) else _REFUSED
    if kind == "QString":
        return value if isinstance(value, str) else str(value)
    if kind == "QStringList":
        return [str(item) for item in value]
    if kind in ("QVariant", "PyObject"):
        return taken(value)
    return _REFUSED if value is None or isinstance(value, (str, int, float, list, tuple)) else taken(value)
