"""How `parameterNodeWrapper` keeps typed values in a script node: as Slicer names and spells them.

Text in the node's parameters, nodes in its references; a list ``x`` is ``x_len``, ``x_0``, ``x_1``…
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import pathlib
import types
import typing
from typing import Any

import slicer


@dataclasses.dataclass
class Default:
    """The value at first."""

    value: Any


@dataclasses.dataclass
class Minimum:
    """The smallest value."""

    minimum: float

    def validate(self, value: Any) -> None:
        """Raises ValueError for a smaller one."""
        if value < self.minimum:
            raise ValueError(f"Value {value} is less than the minimum {self.minimum}")


@dataclasses.dataclass
class Maximum:
    """The largest value."""

    maximum: float

    def validate(self, value: Any) -> None:
        """Raises ValueError for a larger one."""
        if value > self.maximum:
            raise ValueError(f"Value {value} is greater than the maximum {self.maximum}")


@dataclasses.dataclass
class WithinRange:
    """The smallest and the largest value."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        """Raises ValueError for one outside."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value {value} is not in [{self.minimum}, {self.maximum}]")


class Choice:
    """The values that there are to choose from."""

    def __init__(self, choices: collections.abc.Iterable[Any]) -> None:
        self.choices = list(choices)

    def validate(self, value: Any) -> None:
        """Raises ValueError for another one."""
        if value not in self.choices:
            raise ValueError(f"Value {value!r} is not one of {self.choices}")


@dataclasses.dataclass
class Decimals:
    """Digits after the point, in a widget."""

    value: int


@dataclasses.dataclass
class SingleStep:
    """A step of a widget."""

    value: float


def split(annotated: Any) -> tuple[Any, list[Any]]:
    """A type and its annotations."""
    if typing.get_origin(annotated) is typing.Annotated:
        return annotated.__origin__, list(annotated.__metadata__)
    return annotated, []


def nodeClasses(kind: Any) -> list[str]:
    """The names of the node classes that a type or a union of types means; empty where it means something else."""
    parts = typing.get_args(kind) if _isUnion(kind) else (kind,)
    parts = [part for part in parts if part is not type(None)]
    if all(isinstance(part, type) and issubclass(part, slicer.vtkMRMLNode) for part in parts):
        return [part.__name__ for part in parts]
    return []


def _isUnion(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


class Field:
    """One typed field of a parameter node's class."""

    def __init__(self, name: str, annotated: Any, *default: Any) -> None:
        self.name, self.annotated = name, annotated
        self.kind, annotations = split(annotated)
        self.validators = [item for item in annotations if hasattr(item, "validate")]
        given = [item.value for item in annotations if isinstance(item, Default)]
        unused = [
            item for item in annotations if not hasattr(item, "validate") and not isinstance(item, Default)
        ]
        if [item for item in unused if not isinstance(item, (Decimals, SingleStep))]:
            raise TypeError(f"{name}: annotations that mean nothing: {unused}")
        self._requireKnown()
        self.default = default[0] if default else given[0] if given else self._emptyValue()

    def _requireKnown(self) -> None:
        isKnown = self.kind in (int, float, str, bool) or nodeClasses(self.kind) or self._item() is not None
        if not isKnown and not self._isPath() and not self._isEnum():
            raise TypeError(f"Unable to create serializer for type: {self.kind} ({self.name})")

    def _isPath(self) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, pathlib.PurePath)

    def _isEnum(self) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, enum.Enum)

    def _item(self) -> Any:
        return typing.get_args(self.kind)[0] if typing.get_origin(self.kind) is list else None

    def _emptyValue(self) -> Any:
        if self._item() is not None:
            return []
        if nodeClasses(self.kind):
            return None
        return next(iter(self.kind)) if self._isEnum() else self.kind()

    def isIn(self, node: Any, name: str) -> bool:
        """Whether the node has a value of this name."""
        return bool(node.HasParameter(f"{name}_len" if self._item() is not None else name))

    def write(self, node: Any, name: str, value: Any) -> None:
        """Writes a value.

        Raises:
            TypeError, ValueError: it is not of the type, or outside of what the annotations allow.
        """
        self._require(value)
        if self._item() is not None:
            self._writeList(node, name, list(value))
        elif nodeClasses(self.kind):
            node.SetParameter(name, "")  # tells "None was chosen" from "never set"
            node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(name, value.name if self._isEnum() else str(value))

    def _writeList(self, node: Any, name: str, values: list[Any]) -> None:
        item = Field(self.name, self._item())
        for value in values:
            item._require(value)
        with slicer.util.NodeModify(node):
            old = int(node.GetParameter(f"{name}_len") or 0)
            for index, value in enumerate(values):
                item.write(node, f"{name}_{index}", value)
            node.SetParameter(f"{name}_len", str(len(values)))
            for index in range(len(values), old):
                node.UnsetParameter(f"{name}_{index}")

    def _require(self, value: Any) -> None:
        classes = nodeClasses(self.kind)
        if classes:
            if value is not None and not any(value.IsA(name) for name in classes):
                raise TypeError(f"Value of type {type(value)} is not an instance of {classes} ({self.name})")
        elif self._item() is None:
            if value is None:
                raise ValueError(f"Value must not be None ({self.name})")
            accepted = (int, float) if self.kind is float else self.kind
            if not isinstance(value, accepted):
                raise TypeError(
                    f"Value of type {type(value)} is not an instance of {self.kind} ({self.name})"
                )
        for validator in self.validators:
            validator.validate(value)

    def read(self, node: Any, name: str) -> Any:
        """Reads the value, after writing the default where there is none."""
        if not self.isIn(node, name):
            self.write(node, name, self.default)
        if self._item() is not None:
            item = Field(self.name, self._item())
            count = int(node.GetParameter(f"{name}_len"))
            return ObservedList(
                [item.read(node, f"{name}_{index}") for index in range(count)], self, node, name
            )
        if nodeClasses(self.kind):
            return node.GetNodeReference(name)
        text = node.GetParameter(name)
        if self.kind is bool:
            return text == "True"
        return self.kind[text] if self._isEnum() else self.kind(text)


class ObservedList(collections.abc.MutableSequence):
    """A list in a parameter node: each change of it is written."""

    def __init__(self, values: list[Any], field: Field, node: Any, name: str) -> None:
        self._values, self._field, self._node, self._name = values, field, node, name

    def _changed(self) -> None:
        self._field.write(self._node, self._name, self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[index] = value
        self._changed()

    def __delitem__(self, index: Any) -> None:
        del self._values[index]
        self._changed()

    def insert(self, index: int, value: Any) -> None:
        """Puts a value before a place."""
        self._values.insert(index, value)
        self._changed()

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: Any) -> bool:
        return self._values == (other._values if isinstance(other, ObservedList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Any:
        raise NotImplementedError("Adding an ObservedList is not supported. However, += is supported.")

    __radd__ = __add__

    def __repr__(self) -> str:
        return f"ObservedList({self._values})"
