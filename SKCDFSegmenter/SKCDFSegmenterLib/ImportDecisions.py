"""What the user has decided about an import: which label becomes which organ, and whose scans they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skcdf.label_mapping import UNDECIDED, MappingFile


@dataclass
class ImportDecisions:
    """Decisions for one source; what is not decided here is proposed by the engine.

    Attributes:
        labels: organ by the source's label; ``None``: left out.
        subjects: whose scan a case is, by its name in the source.
        join: labels that become the same organ are meant to.
    """

    labels: dict[str, str | None] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)
    join: bool = False

    def mapping(self, proposed: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """The mapping file's content for the next check or the import.

        Args:
            proposed: the rows ``labels`` of the last check; none before the first.
        """
        merge = tuple(self.shared(proposed)) if self.join else ()
        return MappingFile(labels=dict(self.labels), merge=merge, subjects=dict(self.subjects)).to_json()

    def target(self, row: Mapping[str, Any]) -> str | None:
        """The organ that a label becomes as things stand; ``None``: left out; `UNDECIDED`: nobody knows."""
        target = self.labels.get(row["label"], row["target"])
        return None if target is None else str(target)

    def shared(self, proposed: Iterable[Mapping[str, Any]]) -> list[str]:
        """Organs that several labels become."""
        targets = Counter(self.target(row) for row in proposed)
        return [
            target for target, n in targets.items() if n > 1 and target is not None and target != UNDECIDED
        ]

    def undecided(self, proposed: Iterable[Mapping[str, Any]]) -> list[str]:
        """Labels that the user still has to decide on."""
        return [str(row["label"]) for row in proposed if self.target(row) == UNDECIDED]
