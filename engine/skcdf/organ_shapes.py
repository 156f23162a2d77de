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
        at_edge: whether a large piece touches the first or last slice of some axis, so may be cut off.
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
        yield shape_of(label, label_map[box] == label.value, box, label_map.shape)


def shape_of(label: Label, mask: np.ndarray, box: tuple[slice, ...], shape: tuple[int, ...]) -> OrganShape:
    """Measures one organ.

    Args:
        label: which.
        mask: bool, over ``box``.
        box: where it lies in its map ``(z, y, x)``.
        shape: of that map.
    """
    numbered, pieces = ndimage.label(mask)
    sizes = np.bincount(numbered.ravel())[1:]
    is_large = sizes >= LARGE_PIECE * sizes.sum()
    at_edge = any(is_large[piece - 1] for piece in _pieces_at_edge(numbered, box, shape))
    large = int(np.count_nonzero(is_large))
    return OrganShape(label, box, mask, int(sizes.sum()), int(pieces), large, at_edge)


def _pieces_at_edge(numbered: np.ndarray, box: tuple[slice, ...], shape: tuple[int, ...]) -> set[int]:
    """The pieces that touch the first or last slice of some axis of the whole map.

    Args:
        numbered: the organ's pieces from 1, over ``box``.
        box: where that is in the map.
        shape: of the map.
    """
    found: set[int] = set()
    for axis, (side, size) in enumerate(zip(box, shape, strict=True)):
        ends = [0] * (side.start == 0) + [-1] * (side.stop == size)
        for end in ends:
            found.update(np.unique(numbered.take(end, axis)).tolist())
    return found - {0}
