"""Frozen dataclasses to JSON and back, checked field by field, so that messages name the field that is wrong.

A class that already speaks JSON (`to_json`, ``from_json(content, source)``) is asked to do so itself.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import SkcdfError

Record = TypeVar("Record")
_hints = functools.cache(get_type_hints)  # which compiles every annotation anew
NOT_STORED = {"stored": False}
"""Metadata of a dataclass field that stays out of the JSON."""

_WORDS = {str: "a text", int: "a whole number", float: "a finite number", bool: "true or false"}


class FieldError(SkcdfError):
    """A field of a record holds what it must not.

    Args:
        field: the field's path: ``training.iterations``.
        problem: what is wrong, to be read after the field's name: ``must be a whole number, is 'ten'``.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"Field {field} {problem}.", "Correct the field.")
        self.field = field
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return (FieldError, (self.field, self.problem))

    def within(self, path: str) -> FieldError:
        """The same failure, seen from the record that holds this one at ``path``."""
        return FieldError(_join(path, self.field), self.problem)


def to_plain(value: Any) -> Any:
    """What `json.dumps` takes: dataclasses become objects, tuples lists."""
    if hasattr(value, "to_json"):
        return value.to_json()
    return plain_record(value) if is_dataclass(value) else _plain_container(value)


def plain_record(record: Any) -> dict[str, Any]:
    """The stored fields of a dataclass, each plain."""
    stored = (each.name for each in fields(record) if each.metadata.get("stored", True))
    return {name: to_plain(getattr(record, name)) for name in stored}


def _plain_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, tuple | list) else value


def record_from_plain(kind: type[Record], content: Any, source: str, path: str = "") -> Record:
    """Makes a dataclass from a parsed JSON object.

    Args:
        kind: the dataclass; it may check itself in ``__post_init__`` and raise `FieldError`.
        content: the object: every field without a default, and no other than the fields.
        source: the file's name, for classes that read themselves.
        path: where ``content`` lies in the file: ``training``.

    Raises:
        FieldError: names the field and what is wrong with it.
        SkcdfError: from a class that reads itself.
    """
    if not isinstance(content, dict):
        raise FieldError(path or "(whole file)", f"must be an object, is {_shown(content)}")
    stored = {each.name: each for each in fields(kind) if each.metadata.get("stored", True)}  # type: ignore[arg-type]
    for name in content:
        if name not in stored:
            raise FieldError(_join(path, name), "is not known")
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy does not know that classes have a hash
    values = {}
    for name, each in stored.items():
        if name in content:
            values[name] = _value_from_plain(hints[name], content[name], source, _join(path, name))
        elif each.default is MISSING and each.default_factory is MISSING:
            raise FieldError(_join(path, name), "is missing")
    try:
        return kind(**values)
    except FieldError as error:
        raise error.within(path) from error


def _value_from_plain(kind: Any, content: Any, source: str, path: str) -> Any:
    if hasattr(kind, "from_json"):
        return kind.from_json(content, f"{source}, field {path}")
    if is_dataclass(kind) and isinstance(kind, type):
        return record_from_plain(kind, content, source, path)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _first_that_fits(arguments, kind, content, source, path)
    if origin is tuple and isinstance(content, list):
        kinds = arguments[:1] * len(content) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(content):
            pairs = enumerate(zip(kinds, content, strict=True))
            return tuple(_value_from_plain(each, item, source, f"{path}[{i}]") for i, (each, item) in pairs)
    elif _is_simple(kind, content):
        return float(content) if kind is float else content
    raise FieldError(path, f"must be {_words(kind)}, is {_shown(content)}")


def _first_that_fits(options: tuple[Any, ...], kind: Any, content: Any, source: str, path: str) -> Any:
    for option in options:
        try:
            return _value_from_plain(option, content, source, path)
        except FieldError as error:
            if error.field != path:  # the right kind of container, with something wrong inside
                raise
    raise FieldError(path, f"must be {_words(kind)}, is {_shown(content)}")


def _is_simple(kind: Any, content: Any) -> bool:
    if get_origin(kind) is Literal:
        return content in get_args(kind)
    if kind is float:
        number = isinstance(content, int | float) and not isinstance(content, bool)
        return number and abs(content) <= sys.float_info.max  # nan and infinity are not
    if kind is int:
        return isinstance(content, int) and not isinstance(content, bool)
    return isinstance(content, get_origin(kind) or kind)


def _words(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(repr(each) for each in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if each is type(None) else _words(each) for each in arguments)
    if origin is tuple:
        return "a list" if arguments[-1] is Ellipsis else f"a list of {len(arguments)}"
    return _WORDS.get(kind, "an object")


def _shown(content: Any) -> str:
    text = repr(content)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
