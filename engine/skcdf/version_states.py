"""Which version of a model counts: what promoting, rolling back and retiring make of what was before.

Nothing here touches a file; `skcdf.model_store` keeps the state of each model line in one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .errors import SkcdfError
from .files import utc_now
from .model_parts import require
from .records import FieldError, plain_record, record_from_plain

State = Literal["candidate", "promoted", "retired"]
Action = Literal["promote", "roll back", "retire"]

SCHEMA = 1
VERSION = re.compile(r"v[1-9]\d{0,8}")
MENDING = "Restore the file from a copy, or delete it: then no version is promoted until you promote one."


def version_number(version: str) -> int:
    """The number in a version's name: 3 of ``v3``."""
    return int(version[1:])


@dataclass(frozen=True)
class Change:
    """One line of a model's history.

    Attributes:
        action: what was done.
        version: the version that was promoted, gone back to, or retired.
        when: UTC, ISO 8601.
    """

    action: Action
    version: str
    when: str


@dataclass(frozen=True)
class LineState:
    """What counts in one model line.

    Attributes:
        promoted: the version in use; ``None`` while there is none.
        before: the versions promoted before it, the last one last: rolling back goes there.
        retired: versions that are out of use, in the order in which they became so.
        history: every change, oldest first; it only tells, nothing follows from it.
    """

    promoted: str | None = None
    before: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    history: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        for name in ("before", "retired"):
            wrong = [each for each in getattr(self, name) if not VERSION.fullmatch(each)]
            require(not wrong, name, f"must name versions, has {wrong[:1]}")
        # They decide about nothing, but a new version takes the next number after all that are named.
        wrong = [change.version for change in self.history if not VERSION.fullmatch(change.version)]
        require(not wrong, "history", f"must name versions, has {wrong[:1]}")
        require(self.promoted is None or bool(VERSION.fullmatch(self.promoted)), "promoted", "is no version")
        require(self.promoted not in self.retired, "promoted", "must not be retired as well")
        require(self.promoted is not None or not self.before, "promoted", "is missing, but there is a before")
        require(not self.before or self.before[-1] != self.promoted, "before", "must not end with promoted")

    def state_of(self, version: str) -> State:
        """``promoted``, ``retired``, or ``candidate`` for a version that was neither."""
        if version == self.promoted:
            return "promoted"
        return "retired" if version in self.retired else "candidate"

    @property
    def named(self) -> set[str]:
        """Every version that the state knows."""
        changed = (change.version for change in self.history)
        return {*self.before, *self.retired, *changed} | ({self.promoted} if self.promoted else set())

    def lacks(self, line: str, version: str, present: Sequence[str]) -> SkcdfError:
        """What is wrong, and the ways out, where the folder of a version is not there.

        Args:
            line: the model's name.
            version: the one that is missing.
            present: those that are there.
        """
        if version != self.promoted:
            return SkcdfError(
                f"Model {line}: there is no version {version or '(empty)'}.", f"It has {', '.join(present)}."
            )
        ways = f", or roll back to {self.before[-1]}" if self.before else ""
        others = ", ".join(f"{line}@{each}" for each in present)
        ways += f", or promote or name another: {others}" if others else ""
        return SkcdfError(
            f"Model {line}: the promoted version {version} is missing.",
            f"Restore its folder from a copy{ways}.",
        )

    def promote(self, version: str) -> LineState:
        """With ``version`` in use; the one before is retired, and rolling back goes to it."""
        if version == self.promoted:
            return self
        before = (*self.before, self.promoted) if self.promoted else self.before
        return self._with("promote", version, before)

    def roll_back(self, line: str) -> LineState:
        """With the version in use that was promoted before; the present one is retired.

        Args:
            line: the model's name, for the message.

        Raises:
            SkcdfError: there is none before.
        """
        if not self.before:
            first = f"{self.promoted} is the first one" if self.promoted else "none was promoted yet"
            raise SkcdfError(f"Model {line}: no version was promoted before; {first}.", "Promote another.")
        return self._with("roll back", self.before[-1], self.before[:-1])

    def retire(self, version: str, line: str) -> LineState:
        """With ``version`` out of use: rolling back passes it over; promoting it again is possible.

        Raises:
            SkcdfError: it is the promoted one.
        """
        if version == self.promoted:
            raise SkcdfError(
                f"Model {line}: {version} is promoted and cannot be retired.",
                "Promote another version or roll back first.",
            )
        if version in self.retired and version not in self.before:
            return self
        # What remains may name one version twice in a row, or end with the promoted one.
        kept = [each for each, _ in itertools.groupby(each for each in self.before if each != version)]
        before = tuple(kept[:-1] if kept and kept[-1] == self.promoted else kept)
        retired = tuple(each for each in self.retired if each != version)
        history = (*self.history, Change("retire", version, utc_now()))
        return replace(self, before=before, retired=(*retired, version), history=history)

    def _with(self, action: Action, version: str, before: tuple[str, ...]) -> LineState:
        left = [each for each in self.retired if each != version]
        retired = (*left, self.promoted) if self.promoted else tuple(left)
        return LineState(version, before, retired, (*self.history, Change(action, version, utc_now())))

    def to_json(self) -> dict[str, Any]:
        """The content of the line's file."""
        return {"schema": SCHEMA, **plain_record(self)}

    @classmethod
    def from_json(cls, content: Any, source: str) -> LineState:
        """Reads the content of the line's file.

        Raises:
            SkcdfError: it is of another schema or damaged; the message names ``source`` and the field.
        """
        try:
            return record_from_plain(cls, without_schema(content, SCHEMA, source), source)
        except FieldError as error:
            raise SkcdfError(f"{source}: field {error.field} {error.problem}.", MENDING) from error


def without_schema(content: Any, schema: int, source: str) -> Any:
    """A parsed JSON object without its field ``schema``.

    Raises:
        FieldError: the field is missing.
        SkcdfError: the schema is not ``schema``, the one that this program reads.
    """
    if not isinstance(content, dict) or "schema" not in content:
        raise FieldError("schema", "is missing")
    if content["schema"] != schema:
        raise SkcdfError(f"{source}: schema {content['schema']!r} is not known.", "Update SKCDFSegmenter.")
    return {name: value for name, value in content.items() if name != "schema"}
