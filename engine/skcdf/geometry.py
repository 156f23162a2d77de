"""Where a voxel grid lies in the patient: size, spacing, origin, direction; and exact changes of axis order.

Geometry speaks SimpleITK's language: index axes in ``(x, y, z)`` order, physical space LPS (towards the patient's
left, posterior, superior), lengths in mm. Arrays are ``(z, y, x)``: array axis ``a`` is index axis ``2 - a``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """A voxel grid in physical space.

    Attributes:
        size: voxels along the index axes ``(x, y, z)``.
        spacing: voxel size in mm along the index axes ``(x, y, z)``.
        origin: LPS position in mm of the centre of voxel ``(0, 0, 0)``.
        direction: 3×3 rotation, row by row; column ``i`` is the LPS direction of index axis ``i``.
    """

    size: tuple[int, int, int]
    spacing: Triple
    origin: Triple = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the array ``(z, y, x)``."""
        return (self.size[2], self.size[1], self.size[0])

    @property
    def array_spacing(self) -> Triple:
        """Spacing in mm along the array's axes ``(z, y, x)``."""
        return (self.spacing[2], self.spacing[1], self.spacing[0])

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(np.prod(self.spacing)) / 1000.0

    @cached_property
    def affine(self) -> np.ndarray:
        """4×4 matrix from index ``(x, y, z, 1)`` to LPS position in mm."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing)
        affine[:3, 3] = self.origin
        return affine

    def position(self, index: Any) -> np.ndarray:
        """LPS positions in mm of (fractional) indices ``(..., 3)`` in ``(x, y, z)`` order."""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def same_grid(self, other: Geometry, tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids have the same size and no corner lies further apart than ``tolerance_mm``."""
        if self.size != other.size:
            return False
        corners = np.array(list(itertools.product(*((0, n - 1) for n in self.size))), float)
        return bool(np.abs(self.position(corners) - other.position(corners)).max() <= tolerance_mm)

    def crop(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Geometry:
        """Grid of the sub-array that begins at ``start`` and has ``shape``, both ``(z, y, x)``."""
        origin = self.position(start[::-1])
        return Geometry(
            (shape[2], shape[1], shape[0]), self.spacing, (origin[0], origin[1], origin[2]), self.direction
        )

    def resized(self, shape: tuple[int, int, int]) -> Geometry:
        """Grid with ``shape`` ``(z, y, x)`` over the same extent, outer voxel faces on outer voxel faces."""
        size = shape[::-1]
        spacing = tuple(s * n / m for s, n, m in zip(self.spacing, self.size, size, strict=True))
        first = [0.5 * n / m - 0.5 for n, m in zip(self.size, size, strict=True)]
        origin = self.position(first)
        return Geometry(size, spacing, (origin[0], origin[1], origin[2]), self.direction)  # type: ignore[arg-type]


@dataclass(frozen=True)
class AxisOrder:
    """An exact change of axis order and axis signs of an array; no voxel is interpolated.

    Attributes:
        permutation: output array axis ``i`` is input array axis ``permutation[i]``.
        flips: whether output array axis ``i`` runs backwards.
    """

    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """A view of ``array``, ``(z, y, x)``, in the new order."""
        return array.transpose(self.permutation)[self._reversal()]

    def undo(self, array: np.ndarray) -> np.ndarray:
        """A view of ``array`` in the order that ``apply`` started from."""
        return array[self._reversal()].transpose(tuple(int(i) for i in np.argsort(self.permutation)))

    def apply_to_geometry(self, geometry: Geometry) -> Geometry:
        """The grid of ``apply(array)``: every voxel keeps its physical position."""
        direction = np.reshape(geometry.direction, (3, 3))
        size, spacing, columns = [0, 0, 0], [0.0, 0.0, 0.0], np.empty((3, 3))
        first = [0, 0, 0]
        for axis in range(3):
            target, source = 2 - axis, 2 - self.permutation[axis]
            size[target], spacing[target] = geometry.size[source], geometry.spacing[source]
            columns[:, target] = direction[:, source] * (-1.0 if self.flips[axis] else 1.0)
            if self.flips[axis]:
                first[source] = geometry.size[source] - 1
        origin = geometry.position(first)
        return Geometry(
            (size[0], size[1], size[2]),
            (spacing[0], spacing[1], spacing[2]),
            (float(origin[0]), float(origin[1]), float(origin[2])),
            tuple(float(value) for value in columns.ravel()),
        )

    def _reversal(self) -> tuple[slice, slice, slice]:
        backwards, forwards = slice(None, None, -1), slice(None)
        a, b, c = (backwards if flip else forwards for flip in self.flips)
        return a, b, c


def axis_order_to_lps(geometry: Geometry) -> AxisOrder:
    """The axis order in which array axes ``(z, y, x)`` point most nearly towards superior, posterior and left.

    An oblique grid keeps its obliqueness, at most 54.7° per axis: only axes and signs change.
    """
    direction = np.reshape(geometry.direction, (3, 3))
    # index_axis[r]: the index axis that serves physical axis r (0 left, 1 posterior, 2 superior)
    index_axis = max(
        itertools.permutations(range(3)), key=lambda p: sum(abs(direction[r, p[r]]) for r in range(3))
    )
    physical = (2, 1, 0)
    permutation = tuple(2 - index_axis[r] for r in physical)
    flips = tuple(bool(direction[r, index_axis[r]] < 0) for r in physical)
    return AxisOrder(permutation, flips)  # type: ignore[arg-type]
