"""Calls of Qt's functions with the arguments that PythonQt takes, and its errors."""

from __future__ import annotations

import enum
import functools
import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any

from shibokensupport.signature import get_signature

from .conversion import shown, taken


class Function:
    """A function of an object or a class, as PythonQt hands it out: equal to the next one of the same
    name and object."""

    def __init__(self, function: Callable[..., Any], label: str) -> None:
        self._function, self._label = function, label
        self.__name__ = label.rpartition(".")[2]

    def __call__(self, *arguments: Any) -> Any:
        return call(self._function, arguments, self._label)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Function) and self._function == other._function

    def __hash__(self) -> int:
        return hash(self._function)


def call(function: Callable[..., Any], arguments: tuple[Any, ...], label: str) -> Any:
    """Calls a function of PySide or of a stand-in.

    PythonQt takes any integer for an enum and a class for its object; PySide does not, so a refused call is tried
    again with the types of the function's signatures.

    Raises:
        ValueError: the arguments fit no overload; PythonQt says it so, not with TypeError.
    """
    arguments = tuple(map(taken, arguments))
    try:
        return shown(function(*arguments))
    except TypeError as error:
        if not _refused(error, function):
            raise
        for fitted in _fitted(function, arguments):
            try:
                return shown(function(*fitted))
            except TypeError as again:
                if not _refused(again, function):
                    raise
        raise ValueError(f"Called {label} with wrong arguments: {arguments}\n{error}") from None


def _refused(error: TypeError, function: Callable[..., Any]) -> bool:
    """Whether the error is about the arguments, and not from inside a Python function."""
    isPython = inspect.isfunction(function) or inspect.ismethod(function)
    depth, traceback = 0, error.__traceback__
    while traceback is not None:
        depth, traceback = depth + 1, traceback.tb_next
    return depth == 1 or not isPython


def _fitted(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The arguments with integers turned into the enums that the function's signatures name."""
    signatures = _signatures(function)
    for signature in signatures if isinstance(signatures, list) else [signatures]:
        if signature is None:
            continue
        parameters = [item for item in signature.parameters.values() if item.name != "self"]
        if len(parameters) >= len(arguments):
            fitted = tuple(
                _fit(argument, parameter.annotation)
                for argument, parameter in zip(arguments, parameters, strict=False)
            )
            if fitted != arguments or any(
                type(a) is not type(b) for a, b in zip(fitted, arguments, strict=True)
            ):
                yield fitted


def _isValue(kind: type[enum.Enum], number: int) -> bool:
    """Whether a number is a value of an enum, or a combination of its values where it is a set of flags."""
    values = [member.value for member in kind.__members__.values()]
    if number in values:
        return True
    known = functools.reduce(operator.or_, values, 0)
    return issubclass(kind, enum.Flag) and number & ~known == 0


def _signatures(function: Callable[..., Any]) -> Any:
    """One or more signatures of a function of PySide, which keeps them with the class that declares it."""
    owner = getattr(function, "__self__", None)
    kind = owner if isinstance(owner, type) else type(owner)
    for base in kind.__mro__:
        if base.__module__.startswith("PySide6.") and function.__name__ in base.__dict__:
            return get_signature(getattr(base, function.__name__))
    return get_signature(function)


def _fit(argument: Any, annotation: Any) -> Any:
    isEnum = isinstance(annotation, type) and issubclass(annotation, enum.Enum)
    if isEnum and isinstance(argument, int) and not isinstance(argument, enum.Enum):
        return annotation(argument) if _isValue(annotation, argument) else argument
    if annotation is int and isinstance(argument, float):  # PythonQt rounds down
        return int(argument // 1)
    if annotation is str and argument is None:
        return ""
    if isinstance(argument, str) and "bytes" in str(annotation):  # a text is the bytes of its UTF-8
        return argument.encode()
    return argument
