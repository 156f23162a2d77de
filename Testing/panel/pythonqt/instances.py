"""What a dot means on an object: PythonQt's order of looking, on the objects of PySide.

As in ``PythonQtInstanceWrapper_getattro``: what Python code added to a class of its own, Qt properties (as values),
methods and signals, enums, dynamic properties, PythonQt's own methods, children by their name. Assigning works for
properties only, and new attributes are for Python's own classes.

Stand-ins of C++ classes are written in Python. A class that says ``CPP = True`` in its body counts as C++.
"""

from __future__ import annotations

import enum
import functools
import itertools
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from . import decorators, signals
from .calls import Function
from .conversion import shown, taken
from .enums import enumType

HIDDEN = {
    "staticMetaObject",
    "emit",
    "sender",
    "senderSignalIndex",
    "receivers",
    "isSignalConnected",
    "thread",
}
"""What PySide has and PythonQt lacks."""
UNTOUCHED = {QtCore.QMetaObject, QtCore.QMetaMethod, QtCore.QMetaProperty, QtCore.QMetaEnum, QtCore.QMetaType}
"""What the layer itself asks about classes."""

metaObjects: dict[type, int] = {}
"""Where what Qt knows of its classes lies: PySide takes ``staticMetaObject`` for gone when an object
of the class goes."""
loading: list[object] = []
"""Not empty while PySide loads a ``.ui`` file: it then sets the children as attributes, which Slicer does not."""

_reading: set[tuple[int, str]] = set()
"""Properties that are being read: Qt reads ``sizeHint`` by a function for whose overriding it looks
by the same name."""


class _Getter:
    """The attribute look-up of one class of PySide; ``raw`` is the look-up that it had."""

    def __init__(self, raw: Callable[[Any, str], Any]) -> None:
        self.raw = raw

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, object_: Any, name: str) -> Any:
        if name.startswith("__"):
            return self.raw(object_, name)
        return _get(object_, name, self.raw)


def install() -> None:
    """Gives all objects of PySide these manners; once is enough."""
    from PySide6 import QtGui, QtWidgets

    raw = shiboken6.Shiboken.Object.__getattribute__
    if isinstance(raw, _Getter):
        return
    for module in (QtCore, QtGui, QtWidgets):
        for kind in [
            getattr(module, name) for name in dir(module)
        ]:  # PySide makes a class when it is asked for
            if not isinstance(kind, type) or not issubclass(kind, shiboken6.Shiboken.Object):
                continue
            if hasattr(kind, "staticMetaObject"):
                metaObjects[kind] = shiboken6.getCppPointer(kind.staticMetaObject)[0]
            if "__getattribute__" in kind.__dict__:
                kind.__getattribute__ = _Getter(kind.__dict__["__getattribute__"])
            if "__setattr__" in kind.__dict__ and issubclass(kind, QtCore.QObject):
                kind.__setattr__ = _set
    shiboken6.Shiboken.Object.__getattribute__ = _Getter(raw)
    QtCore.QObject.__bool__ = lambda self: shiboken6.isValid(self)  # false once Qt has deleted it


@functools.cache
def isPythons(kind: type) -> bool:
    """Whether a class was written in Python, and not to stand in for a C++ class."""
    return not (kind.__module__.startswith("PySide6.") or kind.__dict__.get("CPP", False))


@functools.cache
def cppClass(kind: type) -> type:
    """The C++ class that a class is or derives from."""
    return next(base for base in kind.__mro__ if not isPythons(base))


def _get(object_: Any, name: str, raw: Callable[[Any, str], Any]) -> Any:
    kind = type(object_)
    if _isOfClass(kind, name):
        return raw(object_, name)
    if isPythons(kind):
        own = object.__getattribute__(object_, "__dict__")
        if name in own and not isinstance(own[name], QtCore.SignalInstance):  # PySide keeps its signals there
            return own[name]
    if (id(object_), name) in _reading or _isStandIns(kind, name):
        return raw(object_, name)
    isQObject = isinstance(object_, QtCore.QObject)
    if isQObject:
        _requireAlive(object_, name)
        if name == "name" and propertyIndex(object_, name) < 0:
            name = "objectName"
        if propertyIndex(object_, name) >= 0:
            return _read(object_, name)
        if signals.declares(kind, name):
            return signals.Signal(object_, name)
        if name in decorators.QOBJECT:
            return types.MethodType(decorators.QOBJECT[name], object_)
    if name in decorators.ALL:
        return types.MethodType(decorators.ALL[name], object_)
    return _cppMember(object_, kind, name, raw, isQObject)


@functools.cache
def _isOfClass(kind: type, name: str) -> bool:
    """Whether Python code added a name to a class of its own, or to one from which that derives."""
    added = itertools.takewhile(isPythons, kind.__mro__)
    return any(name in base.__dict__ for base in added)


@functools.cache
def _isStandIns(kind: type, name: str) -> bool:
    """Whether a name is a stand-in's own function, or nothing that Slicer's code could ask for."""
    isFunction = isinstance(getattr(kind, name, None), types.FunctionType)
    return isFunction or _isPrivate(kind, name) or kind in UNTOUCHED


def _read(object_: QtCore.QObject, name: str) -> Any:
    _reading.add((id(object_), name))
    try:
        return shown(QtCore.QObject.property(object_, name))
    finally:
        _reading.discard((id(object_), name))


def _cppMember(object_: Any, kind: type, name: str, raw: Callable[[Any, str], Any], isQObject: bool) -> Any:
    cppName = name[:-1] if name.endswith("_") and len(name) > 2 else name  # exec_ for a Python keyword of old
    if cppName not in HIDDEN:
        try:
            member = raw(object_, cppName)
        except AttributeError:
            member = getattr(cppClass(kind), cppName, None)  # PySide finds an enum's value on the class only
        if member is not None:
            return _shownMember(object_, kind, cppName, member)
    if isQObject:
        value = QtCore.QObject.property(object_, name)
        if value is not None:
            return shown(value)
        for child in QtCore.QObject.children(object_):
            if QtCore.QObject.objectName(child) == name:
                return child
    raise AttributeError(f"{cppClass(kind).__name__} has no attribute named '{name}'")


def _shownMember(object_: Any, kind: type, name: str, member: Any) -> Any:
    if isinstance(member, QtCore.SignalInstance):
        return signals.Signal(object_, name)
    if isinstance(member, enum.Enum):
        return shown(member)
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return enumType(member)
    if isinstance(member, types.MethodType):  # of a stand-in; Qt looks for overridden functions this way, too
        return member
    if callable(member) and not isinstance(member, type):
        return Function(member, f"{cppClass(kind).__name__}.{name}")
    return member


def _set(object_: Any, name: str, value: Any) -> None:
    kind = type(object_)
    if name.startswith("__") or _isPrivate(kind, name) or isinstance(value, QtCore.SignalInstance):
        _store(object_, name, value)
        return
    if loading and isinstance(value, QtCore.QObject) and QtCore.QObject.objectName(value) == name:
        return
    _requireAlive(object_, name)
    if name == "name" and propertyIndex(object_, name) < 0:
        name = "objectName"
    index = propertyIndex(object_, name)
    if index >= 0:
        decorators.write(object_, QtCore.QObject.metaObject(object_).property(index), value)
    elif QtCore.QObject.property(object_, name) is not None:
        QtCore.QObject.setProperty(object_, name, taken(value))
    elif hasattr(cppClass(kind), name):
        raise AttributeError(f"Slot '{name}' can not be overwritten on {kind.__name__} object")
    elif isPythons(kind):
        _store(object_, name, value)
    else:
        raise AttributeError(
            f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
        )


def _store(object_: Any, name: str, value: Any) -> None:
    """Sets an attribute of a Python class's object, which may be a Python property."""
    descriptor = getattr(type(object_), name, None)
    if hasattr(type(descriptor), "__set__"):
        type(descriptor).__set__(descriptor, object_, value)
    else:
        object.__getattribute__(object_, "__dict__")[name] = value


def propertyIndex(object_: QtCore.QObject, name: str) -> int:
    """The index of a Qt property in the object's meta object; -1 where it has none of that name."""
    if name == "singleShot" and isinstance(object_, QtCore.QTimer):
        return -1  # the static method is meant: PythonQt leaves this property out
    return QtCore.QObject.metaObject(object_).indexOfProperty(name)


def _isPrivate(kind: type, name: str) -> bool:
    """Whether a stand-in's own Python code speaks of its inside."""
    return name.startswith("_") and not kind.__module__.startswith("PySide6.")


def _requireAlive(object_: QtCore.QObject, name: str) -> None:
    if not shiboken6.isValid(object_):
        raise ValueError(
            f"Trying to read property '{name}' from a destroyed {cppClass(type(object_)).__name__} object"
        )
