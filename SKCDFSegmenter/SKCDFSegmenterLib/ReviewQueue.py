"""The unlabelled cases in the order in which correcting them teaches the model most, and where the user is in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .Texts import _


@dataclass(frozen=True)
class ReviewCase:
    """A case of the review list.

    Attributes:
        case: its name in the pool.
        rank: 1 teaches most.
        reason: why it stands there, in words.
    """

    case: str
    rank: int
    reason: str


class ReviewQueue:
    """Gives one case after another; a case that was labelled or withdrawn meanwhile is passed over.

    Attributes:
        model: with which it was ranked; another one ranks otherwise. Empty before it was ranked.
        current: the case that was given last.
    """

    def __init__(self) -> None:
        self.model = ""
        self.current: ReviewCase | None = None
        self._cases: tuple[ReviewCase, ...] = ()

    def rank(self, model: str, cases: Iterable[Mapping[str, Any]]) -> None:
        """Takes the worker's answer to ``rank``; the user begins at its first case."""
        self.model, self.current = model, None
        found = [ReviewCase(each["case"], int(each["rank"]), each["reason"]) for each in cases]
        self._cases = tuple(sorted(found, key=lambda each: each.rank))

    def fits(self, model: str, unlabelled: Collection[str]) -> bool:
        """Whether the order holds: the same model ranked it, and no case has come that it does not know."""
        known = {each.case for each in self._cases}
        return bool(self._cases) and model == self.model and known.issuperset(unlabelled)

    def next(self, unlabelled: Collection[str]) -> ReviewCase | None:
        """The next case that is still unlabelled; ``None`` after the last one, and then it begins anew."""
        after = self.current.rank if self.current is not None else 0
        left = [each for each in self._cases if each.rank > after and each.case in unlabelled]
        self.current = left[0] if left else None
        return self.current

    def line(self) -> str:
        """The current case in words; empty where there is none."""
        if self.current is None:
            return ""
        return _("{rank} of {total}: {case}. Why: {reason}.").format(
            rank=self.current.rank,
            total=len(self._cases),
            case=self.current.case,
            reason=self.current.reason.rstrip("."),
        )
