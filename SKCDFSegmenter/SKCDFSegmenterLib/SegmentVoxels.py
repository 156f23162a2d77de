"""The voxels of a segment, small enough to keep many of them, and known by a hash.

In Slicer several segments share one label map until one of them is edited, its extent shrinks and grows, and values
change. Here a segment is the box that holds its voxels, one bit for each, whatever label map they came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from scipy import ndimage
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from skcdf.errors import SkcdfError

BINARY_LABELMAP = "Binary labelmap"
CLOSED_SURFACE = "Closed surface"
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

    @classmethod
    def ofMask(cls, mask: np.ndarray, start: Iterable[int], ijkToRAS: np.ndarray) -> SegmentVoxels:
        """Those of a boolean box ``(z, y, x)`` that begins at ``start``; empty margins are cut away."""
        (box,) = ndimage.find_objects(mask.view(np.uint8), max_label=1)
        if box is None:
            return cls((0, 0, 0), (0, 0, 0), np.zeros(0, np.uint8), ijkToRAS)
        first = tuple(int(a + b.start) for a, b in zip(start, box, strict=True))
        tight = mask[box]
        return cls(first, tight.shape, np.packbits(tight), ijkToRAS)  # type: ignore[arg-type]

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

    def startOn(self, ijkToRAS: np.ndarray) -> tuple[int, int, int]:
        """Index ``(z, y, x)`` of the box's first voxel on another lattice, rounded."""
        i, j, k = np.rint(self._indexOn(ijkToRAS)).astype(int).tolist()
        return k, j, i

    def on(self, ijkToRAS: np.ndarray) -> SegmentVoxels | None:
        """The same voxels on another lattice that is this one with another origin; ``None`` where it is not."""
        index = self._indexOn(ijkToRAS)
        sameAxes = np.abs(self.ijkToRAS[:3, :3] - ijkToRAS[:3, :3]).max() < SAME_AXES_MM
        if not sameAxes or np.abs(index - np.rint(index)).max() > SAME_INDEX:
            return None
        return SegmentVoxels(self.startOn(ijkToRAS), self.shape, self.bits, ijkToRAS)

    def paste(self, array: np.ndarray, value: int) -> None:
        """Sets the voxels in an array ``(z, y, x)`` of the lattice; what lies beyond it is left out."""
        ends = (min(n, a + m) for a, m, n in zip(self.start, self.shape, array.shape, strict=True))
        box = tuple(slice(max(a, 0), max(end, 0)) for a, end in zip(self.start, ends, strict=True))
        inner = tuple(slice(b.start - a, max(b.stop - a, 0)) for a, b in zip(self.start, box, strict=True))
        array[box][self.mask()[inner]] = value

    def _indexOn(self, ijkToRAS: np.ndarray) -> np.ndarray:
        position = self.ijkToRAS @ [*self.start[::-1], 1.0]
        return (np.linalg.inv(ijkToRAS) @ position)[:3]


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
        box = boxes[value - 1]
        inside = (slice(0), slice(0), slice(0)) if box is None else box
        first = (a + (b.start or 0) for a, b in zip(start, inside, strict=True))
        found[name] = SegmentVoxels.ofMask(whole[inside] == value, first, ijkToRAS)
    return found


def voxelsOfSegments(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Iterable[str] | None = None
) -> dict[str, SegmentVoxels]:
    """The voxels of segments, by ID; of all of them by default. Each shared label map is read once.

    Raises:
        SkcdfError: the segmentation is kept as surfaces, so that its voxels are not exact.
    """
    segmentation = segmentationNode.GetSegmentation()
    requireLabelMaps(segmentationNode)
    wanted = segmentation.GetSegmentIDs() if segmentIDs is None else tuple(segmentIDs)
    layers: dict[int, dict[str, int]] = {}
    for segmentID in wanted:
        value = segmentation.GetSegment(segmentID).GetLabelValue()
        layers.setdefault(segmentation.GetLayerIndex(segmentID), {})[segmentID] = value
    found = {}
    for values in layers.values():
        image = segmentation.GetSegment(next(iter(values))).GetRepresentation(BINARY_LABELMAP)
        found.update(voxelsOfArray(arrayOfImage(image), values, startOfImage(image), latticeOfImage(image)))
    return {segmentID: found[segmentID] for segmentID in wanted}


def eraseVoxels(
    segmentationNode: slicer.vtkMRMLSegmentationNode, voxels: Mapping[str, SegmentVoxels]
) -> None:
    """Takes the voxels of segments out of the label maps that they share with others; both go different ways.

    Args:
        segmentationNode: the segmentation.
        voxels: of these segments, as `voxelsOfSegments` gives them.
    """
    segmentation = segmentationNode.GetSegmentation()
    layers: dict[int, list[str]] = {}
    for segmentID in voxels:
        layers.setdefault(segmentation.GetLayerIndex(segmentID), []).append(segmentID)
    for layer, segmentIDs in layers.items():
        if set(segmentation.GetSegmentIDsForLayer(layer)) <= set(segmentIDs):
            continue
        image = segmentation.GetSegment(segmentIDs[0]).GetRepresentation(BINARY_LABELMAP)
        array, start = arrayOfImage(image), startOfImage(image)
        for segmentID in segmentIDs:
            each = voxels[segmentID]
            if not each.isEmpty:
                box = (slice(b.start - a, b.stop - a) for a, b in zip(start, each.box, strict=True))
                array[tuple(box)][each.mask()] = 0
        image.Modified()


def requireLabelMaps(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Raises `SkcdfError` where the source of the segments is something else than label maps."""
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != BINARY_LABELMAP:
        raise SkcdfError(
            f"{segmentationNode.GetName()}: its segments are kept as "
            f"{segmentation.GetSourceRepresentationName().lower()}, not as voxels.",
            "In the Segmentations module, make Binary labelmap the source representation, or choose another "
            "segmentation.",
        )


def arrayOfImage(image: slicer.vtkOrientedImageData | None) -> np.ndarray:
    """The image's voxels ``(z, y, x)``, not copied; without any for no image."""
    scalars = None if image is None else image.GetPointData().GetScalars()
    if scalars is None or 0 in image.GetDimensions():
        return np.zeros((0, 0, 0), np.uint8)
    return vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])


def startOfImage(image: slicer.vtkOrientedImageData | None) -> tuple[int, int, int]:
    """Index ``(z, y, x)`` of the image's first voxel."""
    if image is None:
        return (0, 0, 0)
    x, _, y, _, z, _ = image.GetExtent()
    return (z, y, x)


def orientedImage(array: np.ndarray, ijkToRAS: np.ndarray) -> slicer.vtkOrientedImageData:
    """A copy of an array ``(z, y, x)`` as a segmentation holds label maps."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijkToRAS))
    return image


def latticeOfImage(image: slicer.vtkOrientedImageData | None) -> np.ndarray:
    """4×4 matrix from index ``(x, y, z, 1)`` to mm in the segmentation's frame."""
    matrix = vtk.vtkMatrix4x4()
    if image is not None:
        image.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def sharedLabelMaps(
    voxels: Mapping[str, SegmentVoxels], values: dict[str, int]
) -> dict[str, slicer.vtkOrientedImageData]:
    """Label maps that hold segments, as few as possible: segments that overlap or have one value get different ones.

    Args:
        voxels: the segments.
        values: the value of each; one that is 0 becomes 1, in place.
    """
    layers: list[_Layer] = []
    images = {}
    for name, each in voxels.items():
        values[name] = value = max(1, values[name])
        layer = next((layer for layer in layers if layer.takes(each, value)), None)
        if layer is None:
            layer = _Layer(each, voxels.values())
            layers.append(layer)
        layer.add(each, value)
        images[name] = layer.image
    return images


class _Layer:
    """A label map that is being filled, on the lattice of ``first``, with room for all that lie on it."""

    def __init__(self, first: SegmentVoxels, everything: Iterable[SegmentVoxels]) -> None:
        self._lattice = first.ijkToRAS
        there = [placed for each in everything if (placed := each.on(self._lattice)) and not placed.isEmpty]
        starts = [each.start for each in there] or [(0, 0, 0)]
        ends = [np.add(each.start, each.shape) for each in there] or [(1, 1, 1)]
        self._start = np.min(starts, axis=0)
        extent = np.stack([self._start, np.max(ends, axis=0) - 1], axis=1)[::-1].ravel()
        self._values: set[int] = set()
        self.image = slicer.vtkOrientedImageData()
        self.image.SetExtent(*(int(each) for each in extent))
        self.image.AllocateScalars(vtk.VTK_UNSIGNED_SHORT, 1)
        self.image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(self._lattice))
        self._array = arrayOfImage(self.image)
        self._array[:] = 0

    def takes(self, voxels: SegmentVoxels, value: int) -> bool:
        """Whether there is room for these voxels with this value."""
        placed = voxels.on(self._lattice)
        return (
            placed is not None and value not in self._values and not self._part(placed)[placed.mask()].any()
        )

    def add(self, voxels: SegmentVoxels, value: int) -> None:
        """Takes them in."""
        placed = voxels.on(self._lattice)
        self._values.add(value)
        self._part(placed)[placed.mask()] = value

    def _part(self, placed: SegmentVoxels) -> np.ndarray:
        first = np.zeros(3, int) if placed.isEmpty else np.array(placed.start) - self._start
        return self._array[tuple(slice(a, a + n) for a, n in zip(first, placed.shape, strict=True))]
