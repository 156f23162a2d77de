"""What a class of Qt or a stand-in has, without an object of it."""

from __future__ import annotations

import enum
from functools import cache

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets
from pythonqt import decorators, instances, signals

PYTHONQTS = {*decorators.QOBJECT, *decorators.ALL, "name", "help"}


def isProperty(kind: type, name: str) -> bool:
    """Whether it is a Qt property."""
    return name == "name" or name in _properties(kind)


@cache
def _properties(kind: type) -> frozenset[str]:
    meta = _metaObject(kind)
    return (
        frozenset(meta.property(index).name() for index in range(meta.propertyCount()))
        if meta
        else frozenset()
    )


def _metaObject(kind: type) -> QtCore.QMetaObject | None:
    """What Qt knows of a class; ``None`` where it knows nothing."""
    if kind in instances.metaObjects:
        return shiboken6.wrapInstance(instances.metaObjects[kind], QtCore.QMetaObject)
    if not issubclass(kind, QtCore.QObject):
        return None
    _examples.append(kind())
    return QtCore.QObject.metaObject(_examples[-1])


_examples: list[QtCore.QObject] = []


def isFunction(kind: type, name: str) -> bool:
    """Whether it is a function: neither property nor signal nor enum."""
    if name in PYTHONQTS:
        return name != "name"
    member = getattr(kind, name, None)
    isOther = isinstance(member, (QtCore.Signal, enum.Enum, type)) or signals.declares(kind, name)
    return callable(member) and not isOther and not isProperty(kind, name)


def hasMember(kind: type, name: str) -> bool:
    """Whether there is such a member."""
    if name in PYTHONQTS or isProperty(kind, name) or signals.declares(kind, name):
        return True
    plain = name[:-1] if name.endswith("_") else name
    return not name.startswith("_") and hasattr(kind, plain)


@cache
def signalsOf(kind: type) -> frozenset[str]:
    """The signatures of its signals."""
    return frozenset(signals.signaturesOf(kind, _metaObject(kind)))


@cache
def allSignals() -> frozenset[str]:
    """The signatures of the signals of all classes."""
    import slicer

    from . import WIDGETS

    kinds = list(WIDGETS.values())
    for module in (QtCore, QtGui, QtWidgets):
        kinds += [getattr(module, name) for name in dir(module) if name.startswith("Q")]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, QtCore.QObject)]
    kinds = [kind for kind in kinds if not issubclass(kind, QtCore.QCoreApplication)]
    singles = (slicer.app, slicer.app.layoutManager(), slicer.app.moduleManager(), slicer.app.coreIOManager())
    return frozenset().union(*map(signalsOf, kinds), *map(signals.signatures, singles))
