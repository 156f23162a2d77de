"""Size and pieces of every organ of a label map, one organ at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .labels import Label, LabelSet

LARGE_PIECE = 0.05
"""A piece with at least this share of its organ's voxels is a large one: no stray speck."""


@dataclass(frozen=True)
class OrganShape:
    """One organ of a label map.

    Attributes:
        label: which.
        box: where it lies ``(z, y, x)``; empty where it was not found.
        mask: bool, over ``box``.
        voxels: how many it has.
        pieces: connected pieces (face neighbours).
        large_pieces: those that are no specks: see `LARGE_PIECE`.
        at_edge: whether it touches the first or last slice of some axis, so may be cut off.
    """

    label: Label
    box: tuple[slice, ...] = ()
    mask: np.ndarray | None = None
    voxels: int = 0
    pieces: int = 0
    large_pieces: int = 0
    at_edge: bool = False


def organ_shapes(label_map: np.ndarray, label_set: LabelSet) -> Iterator[OrganShape]:
    """Measures every organ of ``label_set``, by value.

    Args:
        label_map: integers ``(z, y, x)``.
        label_set: what the values mean.
    """
    boxes = ndimage.find_objects(label_map, max_label=len(label_set.labels))
    for label, box in zip(label_set.labels, boxes, strict=True):
        if box is None:
            yield OrganShape(label)
            continue
        mask = label_map[box] == label.value
        numbered, pieces = ndimage.label(mask)
        sizes = np.bincount(numbered.ravel())[1:]
        yield OrganShape(
            label,
            box,
            mask,
            int(sizes.sum()),
            int(pieces),
            int(np.count_nonzero(sizes >= LARGE_PIECE * sizes.sum())),
            any(side.start == 0 or side.stop == n for side, n in zip(box, label_map.shape, strict=True)),
        )
