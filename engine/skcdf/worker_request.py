"""What every request of a worker is (`docs/worker.md`): a frozen dataclass with an id, that checks itself.

Needs no torch.
"""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from .errors import SkcdfError
from .model_parts import require

LARGEST_ID = 2**53
"""Beyond it some JSON readers round."""
_LONGEST_MESSAGE = 300


class RequestError(SkcdfError):
    """A message that is no request.

    Args:
        message, hint: see `SkcdfError`.
        id: the message's id, where it has one that can be used.
    """

    def __init__(self, message: str, hint: str, id: int | None = None) -> None:  # noqa: A002 (the field's name)
        super().__init__(textwrap.shorten(message, _LONGEST_MESSAGE), hint)
        self.id = id

    def __reduce__(self) -> tuple[Any, ...]:
        return (RequestError, (self.message, self.hint, self.id))


@dataclass(frozen=True)
class Request:
    """What all requests but ``cancel`` have.

    Attributes:
        kind: what lines call it, in their field ``request``.
        id: number by which its answers are known; not that of a request still waiting or running.
    """

    kind: ClassVar[str]
    id: int

    def __post_init__(self) -> None:
        require(0 <= self.id <= LARGEST_ID, "id", f"must be between 0 and 2^53, is {self.id}")
        for each in fields(self):
            value = getattr(self, each.name)
            texts = value if isinstance(value, tuple) else (value,)
            possible = all(_can_be_a_name(text) for text in texts if isinstance(text, str))
            require(possible, each.name, "holds a character that no name can have")


def require_texts(request: Request, *names: str) -> None:
    """Raises `FieldError` where one of these fields is empty."""
    for name in names:
        require(bool(getattr(request, name)), name, "must not be empty")


def _can_be_a_name(text: str) -> bool:
    """Whether a file can have this name: no NUL, and no half of a pair of surrogates where the system refuses it."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
