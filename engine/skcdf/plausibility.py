"""What is usual for an organ, by the cases that a model was trained on, and what of a result is not.

A flag is a reason to look, not a finding: rare anatomy and disease are flagged like mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from .model_parts import UsualOrgan
from .organ_shapes import OrganShape

Flag = Literal["small", "large", "pieces", "incomplete"]
LEAST_CASES = 3
"""Fewer cases say nothing of what is usual."""
MARGIN = 1.5
"""A volume is unusual below the smallest in training divided by this, or above the largest times it."""


@dataclass
class UsualOrgans:
    """Gathers what is usual, case by case."""

    _found: dict[str, UsualOrgan] = field(default_factory=dict)

    def add(self, shapes: Iterable[OrganShape], annotated: Iterable[str], voxel_ml: float) -> None:
        """Takes one case; an organ counts where it was annotated, is there and is not cut by the scan's edge.

        Args:
            shapes: of the case's label map.
            annotated: names of the organs that its label map knows.
            voxel_ml: volume of a voxel.
        """
        known = frozenset(annotated)
        for shape in shapes:
            name = shape.label.name
            if name in known and shape.voxels and not shape.at_edge:
                volume = round(shape.voxels * voxel_ml, 3)
                seen = UsualOrgan(name, (volume, volume), shape.large_pieces, 1)
                before = self._found.get(name)
                self._found[name] = _joined(before, seen, before.n + 1) if before else seen

    def known(self) -> tuple[UsualOrgan, ...]:
        """Every organ that was in a case, by name."""
        return tuple(self._found[name] for name in sorted(self._found))


def usual_of(own: Iterable[UsualOrgan], parent: Iterable[UsualOrgan] = ()) -> tuple[UsualOrgan, ...]:
    """What a model keeps: organs of `LEAST_CASES` and more.

    Args:
        own: of the cases it was trained on.
        parent: what the model keeps that it started from. Both may know the same cases, so of the two numbers of
            cases the larger one stays.
    """
    found = {each.organ: each for each in parent}
    for each in own:
        before = found.get(each.organ)
        found[each.organ] = _joined(before, each, max(before.n, each.n)) if before else each
    return tuple(found[name] for name in sorted(found) if found[name].n >= LEAST_CASES)


def flags(shape: OrganShape, volume_ml: float, usual: UsualOrgan | None) -> tuple[Flag, ...]:
    """What is unusual about an organ; nothing about one that was not found.

    What is cut off is neither called small nor in pieces: nobody knows how it goes on. Without usual figures an organ
    is taken to be one piece of any size.
    """
    if not shape.voxels:
        return ()
    found: list[Flag] = []
    if usual is not None:
        low, high = usual.volume_ml
        if volume_ml < low / MARGIN and not shape.at_edge:
            found.append("small")
        if volume_ml > high * MARGIN:
            found.append("large")
    if shape.large_pieces > (usual.pieces if usual else 1) and not shape.at_edge:
        found.append("pieces")
    if shape.at_edge:
        found.append("incomplete")
    return tuple(found)


def _joined(one: UsualOrgan, other: UsualOrgan, n: int) -> UsualOrgan:
    low, high = zip(one.volume_ml, other.volume_ml, strict=True)
    return UsualOrgan(one.organ, (min(low), max(high)), max(one.pieces, other.pieces), n)
