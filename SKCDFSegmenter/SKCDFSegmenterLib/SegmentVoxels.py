"""The voxels of a segment, small enough to keep many of them, and known by a hash.

In Slicer several segments share one label map until one of them is edited, its extent shrinks and grows, and values
change. Here a segment is the box that holds its voxels, one bit for each, whatever label map they came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

SAME_AXES_MM = 1e-4
"""How much a step along an axis may differ: over a thousand voxels that is a tenth of a millimetre."""
SAME_INDEX = 0.05


@dataclass(frozen=True, eq=False)
class SegmentVoxels:
    """Voxels on a lattice.

    Attributes:
        start: index ``(z, y, x)`` of the box's first voxel.
        shape: the box's size ``(z, y, x)``; zeros where there is no voxel.
        bits: one bit per voxel of the box, row by row.
        ijkToRAS: 4×4 matrix from index ``(x, y, z, 1)`` to mm in the segmentation's own frame, its parent transform
            left out.
    """

    start: tuple[int, int, int]
    shape: tuple[int, int, int]
    bits: np.ndarray
    ijkToRAS: np.ndarray

    @property
    def isEmpty(self) -> bool:
        """Whether there is no voxel."""
        return not self.bits.size

    @property
    def count(self) -> int:
        """How many voxels."""
        return int(np.unpackbits(self.bits).sum(dtype=np.int64))

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where it lies in an array of the whole lattice."""
        z, y, x = (slice(a, a + n) for a, n in zip(self.start, self.shape, strict=True))
        return z, y, x

    def mask(self) -> np.ndarray:
        """The box as a boolean array."""
        number = int(np.prod(self.shape))
        return np.unpackbits(self.bits, count=number).view(bool).reshape(self.shape)

    def hash(self) -> str:
        """32 hexadecimal digits of the voxels' SHA-256; where the box lies does not count."""
        digest = hashlib.sha256(repr(self.shape).encode())
        digest.update(self.bits.tobytes())
        return digest.hexdigest()[:32]

    def offsetFrom(self, origin: np.ndarray) -> np.ndarray:
        """How many voxels ``(x, y, z)`` the box's first one lies from a position in mm, along the lattice's axes."""
        position = self.ijkToRAS @ [*self.start[::-1], 1.0]
        return np.linalg.inv(self.ijkToRAS[:3, :3]) @ (position[:3] - origin)

    def on(self, ijkToRAS: np.ndarray) -> SegmentVoxels | None:
        """The same voxels on another lattice that is this one with another origin; ``None`` where it is not."""
        index = self.offsetFrom(ijkToRAS[:3, 3])
        sameAxes = np.abs(self.ijkToRAS[:3, :3] - ijkToRAS[:3, :3]).max() < SAME_AXES_MM
        if not sameAxes or np.abs(index - np.rint(index)).max() > SAME_INDEX:
            return None
        i, j, k = np.rint(index).astype(int).tolist()
        return SegmentVoxels((k, j, i), self.shape, self.bits, ijkToRAS)

    def moved(self, movement: np.ndarray) -> SegmentVoxels:
        """The same voxels after all of the segmentation was moved by a 4×4 matrix in mm."""
        return replace(self, ijkToRAS=movement @ self.ijkToRAS)

    def paste(self, array: np.ndarray, value: int) -> np.ndarray:
        """Sets the voxels in an array ``(z, y, x)`` of the lattice; what lies beyond it is left out.

        Returns:
            How many of them had each value before.
        """
        mask, box = self.inside(array.shape)
        part = array[box]
        before = np.bincount(part[mask])
        part[mask] = value
        return before

    def inside(self, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[slice, ...]]:
        """The voxels that lie in an array ``(z, y, x)`` of the lattice: a boolean box, and where it lies there."""
        ends = (min(n, a + m) for a, m, n in zip(self.start, self.shape, shape, strict=True))
        box = tuple(slice(max(a, 0), max(end, 0)) for a, end in zip(self.start, ends, strict=True))
        inner = tuple(slice(b.start - a, max(b.stop - a, 0)) for a, b in zip(self.start, box, strict=True))
        return self.mask()[inner], box


def voxelsOfArray(
    array: np.ndarray, values: Mapping[str, int], start: tuple[int, int, int], ijkToRAS: np.ndarray
) -> dict[str, SegmentVoxels]:
    """The voxels of several values of one label map, by the given names.

    Args:
        array: whole numbers from 0, ``(z, y, x)``.
        values: which value is whose.
        start: the array's first index ``(z, y, x)`` on the lattice.
        ijkToRAS: the lattice.
    """
    whole = array if array.dtype.kind in "iu" else array.astype(np.int32)
    boxes = ndimage.find_objects(whole, max_label=max(values.values(), default=0))
    found = {}
    for name, value in values.items():
        box = boxes[value - 1] or (slice(0, 0),) * 3
        z, y, x = (a + inner.start for a, inner in zip(start, box, strict=True))
        mask = whole[box] == value
        found[name] = SegmentVoxels((z, y, x), mask.shape, np.packbits(mask), ijkToRAS)
    return found


def commonBox(voxels: Iterable[SegmentVoxels]) -> tuple[slice, slice, slice]:
    """The smallest box of one lattice that holds all the voxels; one voxel where there is none."""
    filled = [each.box for each in voxels if not each.isEmpty] or [(slice(0, 1),) * 3]
    z, y, x = (
        slice(min(box[axis].start for box in filled), max(box[axis].stop for box in filled))
        for axis in range(3)
    )
    return z, y, x
