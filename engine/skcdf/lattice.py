"""Brings a label map exactly onto a scan's grid where both lie on one lattice, though cut out or ordered otherwise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .geometry import AxisOrder, Geometry

TOLERANCE_VOXELS = 0.05
"""How far a voxel may lie beside the scan's: headers round, and a twentieth of a voxel leaves no doubt which it is."""


@dataclass(frozen=True)
class Placement:
    """Where the voxels of one grid are in another of the same lattice.

    Attributes:
        order: brings the axes into the order of the other grid.
        start: index ``(z, y, x)`` in the other grid of the first voxel in the new order; may be negative.
        shape: voxels ``(z, y, x)`` of the other grid.
    """

    order: AxisOrder
    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    def covers(self, shape: tuple[int, int, int]) -> bool:
        """Whether an array of ``shape``, in its own order, reaches every voxel of the other grid."""
        ends = (self.start[axis] + shape[self.order.permutation[axis]] for axis in range(3))
        return max(self.start) <= 0 and all(end >= n for end, n in zip(ends, self.shape, strict=True))

    def paste(self, array: np.ndarray) -> tuple[np.ndarray, int]:
        """The array on the other grid.

        Args:
            array: labels ``(z, y, x)``.

        Returns:
            The labels, 0 where the array does not reach, and how many labelled voxels lie outside the other grid.
        """
        ordered = self.order.apply(array)
        inside, target = [], []
        for start, have, want in zip(self.start, ordered.shape, self.shape, strict=True):
            first, end = max(start, 0), max(min(start + have, want), max(start, 0))
            target.append(slice(first, end))
            inside.append(slice(first - start, end - start))
        pasted = np.zeros(self.shape, array.dtype)
        kept = ordered[tuple(inside)]
        pasted[tuple(target)] = kept
        return pasted, int(np.count_nonzero(array) - np.count_nonzero(kept))


def placement(geometry: Geometry, target: Geometry) -> Placement | None:
    """Where the voxels of ``geometry`` are in ``target``; ``None``: not on its lattice.

    No voxel is interpolated: every voxel centre of the one must be a voxel centre of the other's lattice.
    """
    between = np.linalg.inv(target.affine) @ geometry.affine
    axes, first = np.rint(between[:3, :3]), np.rint(between[:3, 3])
    if not (np.abs(axes).sum(axis=0) == 1).all() or not (np.abs(axes).sum(axis=1) == 1).all():
        return None
    corners = np.array(list(itertools.product(*((0, n - 1) for n in geometry.size))), float)
    error = corners @ (between[:3, :3] - axes).T + between[:3, 3] - first
    if np.abs(error).max() > TOLERANCE_VOXELS:
        return None
    permutation, flips, start = [0, 0, 0], [False] * 3, [0, 0, 0]
    for axis in range(3):
        source = int(np.abs(axes[axis]).argmax())
        backwards = bool(axes[axis, source] < 0)
        permutation[2 - axis], flips[2 - axis] = 2 - source, backwards
        start[2 - axis] = int(first[axis]) - (geometry.size[source] - 1 if backwards else 0)
    order = AxisOrder((permutation[0], permutation[1], permutation[2]), (flips[0], flips[1], flips[2]))
    return Placement(order, (start[0], start[1], start[2]), target.shape)
