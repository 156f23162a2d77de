"""What ``skcdf evaluate --protocol`` adds: figures counted as the protocol's publications count them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SkcdfError
from ..image import stem
from ..labels import LabelSet
from ..metrics import OrganSummary, Statistic
from ..protocols import Protocol
from ..text_table import table

GRID_NOTE = (
    "Where a grid is given, both label maps are brought from the scan's grid to it, by nearest neighbour; the "
    "published programs predict on it."
)


class PublishedFigures:
    """Collects the cases of one evaluation.

    Args:
        protocol: whose test cases they are.
        predictions: their files, named by the cases.

    Raises:
        SkcdfError: the files are not exactly the protocol's test cases.
    """

    def __init__(self, protocol: Protocol, predictions: Sequence[Path]) -> None:
        cases = {stem(path) for path in predictions}
        foreign, lacking = sorted(cases - set(protocol.cases.test)), sorted(set(protocol.cases.test) - cases)
        if foreign:
            raise SkcdfError(
                f"{predictions[0].parent}: {foreign[0]} (and {len(foreign) - 1} more) is no test case of "
                f"{protocol.id}.",
                f"Its test cases are called like {protocol.cases.test[0]}; leave out all others.",
            )
        if lacking:
            raise SkcdfError(
                f"{predictions[0].parent}: {len(lacking)} of {len(protocol.cases.test)} test cases of "
                f"{protocol.id} have no prediction, {lacking[0]} first.",
                "A figure of a protocol is one over all its test cases: segment the others, too.",
            )
        self.protocol = protocol
        self.label_set = LabelSet.load(protocol.label_set)
        self._cases: list[list[np.ndarray]] = []

    def add(self, prediction: np.ndarray, reference: np.ndarray) -> None:
        """Counts one case: two label maps ``(z, y, x)`` on the scan's grid."""
        organs = len(self.label_set.labels)
        self._cases.append([each.score(prediction, reference, organs) for each in self.protocol.conventions])

    @property
    def means(self) -> np.ndarray:
        """``(conventions, organs, 2)``: Dice, 0 to 100, and ASD in voxels, means over the cases."""
        return np.mean(np.array(self._cases), axis=0)

    def text(self, summary: Sequence[OrganSummary]) -> str:
        """The table, our own figures (``summary``) on its left, and what must be known to read it."""
        names = [each.name for each in self.protocol.conventions]
        head = ["organ", "Dice", "ASD mm", *(f"{name} {what}" for name in names for what in ("Dice", "ASD"))]
        own = [(organ.dice.mean, organ.average_surface_distance_mm.mean) for organ in summary]
        rows = [_row(organ.organ, *own[index], self.means[:, index]) for index, organ in enumerate(summary)]
        own_means = [Statistic.of(values).mean for values in zip(*own, strict=True)]
        rows.append(_row("mean", own_means[0], own_means[1], self.means.mean(axis=1)))
        return "\n".join([table([head, *rows]), *self._notes()])

    def to_json(self) -> dict[str, Any]:
        """For the file that ``--output`` names."""
        conventions = [
            {
                "name": convention.name,
                "grid_zyx": convention.grid,
                "unknown": convention.unknown,
                "dice_percent": _plain(means[:, 0].mean()),
                "asd_voxels": _plain(means[:, 1].mean()),
                "organs": {
                    organ: {"dice_percent": _plain(overlap), "asd_voxels": _plain(distance)}
                    for organ, (overlap, distance) in zip(self.label_set.names, means, strict=True)
                },
            }
            for convention, means in zip(self.protocol.conventions, self.means, strict=True)
        ]
        return {
            "id": self.protocol.id,
            "title": self.protocol.title,
            "lists": self.protocol.source,
            "remarks": self.protocol.remarks,
            "conventions": conventions,
        }

    def _notes(self) -> list[str]:
        notes = []
        for convention in self.protocol.conventions:
            notes.append(convention.description)
            notes += [f"  not known: {sentence}" for sentence in convention.unknown]
        return [*notes, GRID_NOTE, *(f"remark: {remark}" for remark in self.protocol.remarks)]


def _row(name: str, own_dice: float, own_distance: float, published: np.ndarray) -> list[str]:
    """A row of the table; ``published`` is ``(conventions, 2)``: Dice, 0 to 100, and ASD in voxels."""
    figures = (_figure(float(value), 2) for value in published.ravel())
    return [name, _figure(own_dice, 3), _figure(own_distance, 2), *figures]


def _figure(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
