"""Connections by signature, as PythonQt makes them."""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from .conversion import shown, taken

Failures = list[BaseException]
failures: Failures = []
"""Exceptions of connected functions. PythonQt prints them and goes on, so a test has to look here."""

_known: dict[tuple[type, str, int], dict[str, str]] = {}
_connections: dict[int, list[tuple[str, Any, Callable[..., None]]]] = {}


def signatures(object_: QtCore.QObject) -> dict[str, str]:
    """The signals of an object by their signatures in C++, and what PySide calls each; those of base classes first."""
    return signaturesOf(type(object_), QtCore.QObject.metaObject(object_))


def signaturesOf(kind: type, meta: QtCore.QMetaObject) -> dict[str, str]:
    """As `signatures`, of a class; looked up once for what Qt knows of it, which only grows."""
    key = (kind, meta.className(), meta.methodCount())
    if key not in _known:
        _known[key] = _listed(kind, meta)
    return _known[key]


def _listed(kind: type, meta: QtCore.QMetaObject) -> dict[str, str]:
    declared = _declared(kind)
    found: dict[str, str] = {}
    for index in range(meta.methodCount()):
        method = meta.method(index)
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
            signature = bytes(method.methodSignature().data()).decode()
            name = signature.partition("(")[0]
            own = {cpp: name for cpp, python in declared.items() if python == name}
            found.update(own or {signature: name})
    return found


@functools.cache
def _declared(kind: type) -> dict[str, str]:
    """Signals that a stand-in declares because PySide cannot spell their types: C++ signature to PySide's name."""
    result: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        result.update(base.__dict__.get("CPP_SIGNALS", {}))
    return result


@functools.cache
def declares(kind: type, name: str) -> bool:
    """Whether a stand-in has a signal of this name in C++."""
    return any(signature.partition("(")[0] == name for signature in _declared(kind))


def find(object_: QtCore.QObject, signature: str) -> tuple[str, str] | None:
    """PySide's name and the C++ signature of the signal that is meant; ``None`` where there is none."""
    if signature[:1].isdigit():
        signature = signature[1:]
    normalised = QtCore.QMetaObject.normalizedSignature(signature).data().decode()
    name = signatures(object_).get(normalised)
    return None if name is None else (name, normalised)


def connect(sender: QtCore.QObject, signature: str, *target: Any) -> bool:
    """``sender.connect(signature, callable)`` or ``(signature, receiver, slot)``; ``False`` where there is none."""
    found = find(sender, signature)
    if found is None:
        print(
            f"PythonQt: QObject::connect() signal '{signature}' does not exist on "
            f"{QtCore.QObject.metaObject(sender).className()}",
            file=sys.stderr,
        )
        return False
    function = target[0] if len(target) == 1 else _slot(*target)
    if function is None:
        return False
    name, cpp = found
    handler = _handler(function, 0 if cpp.endswith("()") else cpp.count(",") + 1)
    _bound(sender, name, cpp).connect(handler)
    _remembered(sender).append((cpp, function, handler))
    return True


def disconnect(sender: QtCore.QObject, signature: str, *target: Any) -> bool:
    """Takes connections of `connect` away: that of one function, or all of the signal; whether there was one."""
    found = find(sender, signature)
    if found is None:
        return False
    function = (
        None if not target or target[0] is None else (target[0] if len(target) == 1 else _slot(*target))
    )
    name, cpp = found
    kept, gone = [], []
    for item in _remembered(sender):
        matches = item[0] == cpp and (function is None or item[1] == function)
        (gone if matches and not (gone and function is not None) else kept).append(item)
    for _cpp, _function, handler in gone:
        _bound(sender, name, cpp).disconnect(handler)
    _connections[_key(sender)] = kept
    return bool(gone)


def _remembered(sender: QtCore.QObject) -> list[tuple[str, Any, Callable[..., None]]]:
    key = _key(sender)
    if key not in _connections:
        _connections[key] = []
        # PySide's own signal, not the layer's: nobody else should see this connection.
        type(sender).__getattribute__.raw(sender, "destroyed").connect(lambda: _connections.pop(key, None))
    return _connections[key]


def _key(sender: QtCore.QObject) -> int:
    """The address of the C++ object: Python's object for it may go and come."""
    return shiboken6.getCppPointer(sender)[0]


def _bound(sender: QtCore.QObject, name: str, signature: str) -> Any:
    """PySide's object for one overload of a signal."""
    signal = type(sender).__getattribute__.raw(sender, name)
    types = signature.partition("(")[2][:-1]
    if not types or signature in _declared(type(sender)):
        return signal
    try:
        return signal[types]
    except (KeyError, IndexError, TypeError):
        return signal


def _slot(receiver: QtCore.QObject, slot: str) -> Callable[..., Any] | None:
    name = (slot[1:] if slot[:1].isdigit() else slot).partition("(")[0]
    return getattr(receiver, name, None)


def _handler(function: Callable[..., Any], count: int) -> Callable[..., None]:
    """What Qt calls: passes on as many of the signal's ``count`` values as the function takes."""
    taken_ = _argumentCount(function)
    limit = count if taken_ is None else min(count, taken_)

    receiver = getattr(getattr(function, "_function", function), "__self__", None)

    def handle(*values: Any) -> None:
        if isinstance(receiver, QtCore.QObject) and not shiboken6.isValid(receiver):
            return  # a connection ends with its receiver, as that of a timer with a dialog that is gone
        try:
            function(*map(shown, values[:limit]))
        except Exception as error:
            traceback.print_exc()
            failures.append(error)

    return handle


def _argumentCount(function: Callable[..., Any]) -> int | None:
    """How many positional arguments a Python function takes; ``None`` for all, as for a builtin or a
    callable object."""
    code = getattr(function.__func__ if inspect.ismethod(function) else function, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return None
    return code.co_argcount - (1 if inspect.ismethod(function) else 0)


class Signal:
    """A signal of an object, as ``button.clicked``: connects without a signature, and emits when called."""

    def __init__(self, sender: QtCore.QObject, name: str) -> None:
        self._sender, self._name = sender, name

    def _signature(self) -> str:
        """PythonQt takes the overload that it finds first: the one that Qt declares first."""
        return next(item for item in signatures(self._sender) if item.partition("(")[0] == self._name)

    def connect(self, *target: Any) -> bool:
        """Connects a function, or a receiver and its slot."""
        return connect(self._sender, self._signature(), *target)

    def disconnect(self, *target: Any) -> bool:
        """Takes a function's connection away, or all."""
        return disconnect(self._sender, self._signature(), *target)

    def emit(self, *values: Any) -> None:
        """Emits the signal."""
        if not values and f"{self._name}()" in signatures(self._sender):
            QtCore.QMetaObject.invokeMethod(
                self._sender, self._name
            )  # PySide wants the values that have defaults
        else:
            name, signature = find(self._sender, self._signature())
            _bound(self._sender, name, signature).emit(*map(taken, values))

    __call__ = emit
