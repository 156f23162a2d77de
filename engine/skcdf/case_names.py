"""Names for cases: made of those that they have elsewhere, or numbers; files on every platform can have them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from .files import unsuitable_name
from .pool_entry import LONGEST_NAME

_ROOM_FOR_NUMBER = 6
_NUMBERED = re.compile(r"case_(\d{1,9})")


class CaseNames:
    """Gives every new case a name that no other has.

    Args:
        taken: names that are given already.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {name.casefold() for name in taken}

    def new(self, name: str) -> str:
        """The name itself where it is suitable and free; else one made of it, always the same."""
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", plain)[: LONGEST_NAME - _ROOM_FOR_NUMBER].strip("._-")
        if unsuitable_name(plain, LONGEST_NAME):
            plain = f"case_{plain}".strip("_")
        candidate, number = plain, 2
        while candidate.casefold() in self._taken:
            candidate, number = f"{plain}_{number}", number + 1
        self._taken.add(candidate.casefold())
        return candidate

    def numbered(self) -> str:
        """``case_001`` and so on, one more than the highest: a file's name may be a patient's, a number is not."""
        numbers = [int(match[1]) for name in self._taken if (match := _NUMBERED.fullmatch(name))]
        name = f"case_{max(numbers, default=0) + 1:03d}"
        self._taken.add(name)
        return name
