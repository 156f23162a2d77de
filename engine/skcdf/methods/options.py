"""Settings with two faces, the corrected and the published one: those of methods and of plug-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from typing import Any

from ..errors import SkcdfError
from ..records import FieldError, record_from_plain
from .base import Compat


def repair(corrected: Any, published: Any, why: str) -> Any:
    """A setting in which the two faces differ."""
    return field(default=corrected, metadata={"published": published, "why": why})


def face_options(
    kind: type[Any], owner: str, compat: Compat, chosen: Mapping[str, Any], more: Sequence[str] = ()
) -> Any:
    """A record of settings: those of a face, single ones chosen otherwise.

    Args:
        kind: a frozen dataclass whose defaults are the corrected face; fields whose metadata hold ``published`` have
            that value in the published one.
        owner: for messages: ``Method skcdf``.
        compat: the face.
        chosen: values by field name, as JSON has them.
        more: names that the owner knows beside these settings, for messages.

    Raises:
        SkcdfError: no such setting, or a value that it cannot have.
    """
    published = {each.name: each.metadata["published"] for each in fields(kind) if each.metadata}
    values = {**(published if compat == "published" else {}), **chosen}
    try:
        return record_from_plain(kind, values, owner)
    except FieldError as error:
        raise SkcdfError(
            f"{owner}: option {error.field} {error.problem}.",
            f"Its options are {', '.join([*more, *(each.name for each in fields(kind))])}.",
        ) from error
