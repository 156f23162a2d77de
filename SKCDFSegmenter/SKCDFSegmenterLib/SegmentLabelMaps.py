"""Label maps in a segmentation: the voxels of segments read from them, erased from them, and put into new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from skcdf.errors import SkcdfError

from .SegmentVoxels import SegmentVoxels, commonBox, voxelsOfArray
from .Texts import _

BINARY_LABELMAP = "Binary labelmap"
CLOSED_SURFACE = "Closed surface"


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
            _("{segmentation}: its segments are kept as {kind}, not as voxels.").format(
                segmentation=segmentationNode.GetName(),
                kind=segmentation.GetSourceRepresentationName().lower(),
            ),
            _(
                "In the Segmentations module, make Binary labelmap the source representation, or choose another "
                "segmentation."
            ),
        )


def sharedLabelMaps(
    voxels: Mapping[str, SegmentVoxels], values: dict[str, int]
) -> dict[str, slicer.vtkOrientedImageData]:
    """Label maps that hold segments, as few as possible: segments that overlap or have one value get different ones.

    Args:
        voxels: the segments.
        values: the value of each; one that is 0 becomes 1, in place.
    """
    layers: list[_Layer] = []
    layerOf = {}
    for name, each in voxels.items():
        values[name] = value = max(1, values[name])
        layer = next((layer for layer in layers if layer.takes(each, value)), None)
        if layer is None:
            layer = _Layer(each.ijkToRAS, voxels.values())
            layers.append(layer)
        layer.add(each, value)
        layerOf[name] = layer
    images = {layer: layer.image() for layer in layers}
    return {name: images[layer] for name, layer in layerOf.items()}


class _Layer:
    """A label map that is being filled, with room for all of some segments that lie on its lattice."""

    def __init__(self, ijkToRAS: np.ndarray, everything: Iterable[SegmentVoxels]) -> None:
        self._lattice = ijkToRAS
        self._box = commonBox(placed for each in everything if (placed := each.on(ijkToRAS)) is not None)
        self._array = np.zeros([side.stop - side.start for side in self._box], np.uint16)
        self._values: set[int] = set()

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

    def image(self) -> slicer.vtkOrientedImageData:
        """What has come together."""
        smallest = self._array.astype(np.min_scalar_type(max(self._values)))
        return orientedImage(smallest, self._box, self._lattice)

    def _part(self, placed: SegmentVoxels) -> np.ndarray:
        if placed.isEmpty:
            return self._array[:0, :0, :0]
        return self._array[
            tuple(
                slice(a.start - b.start, a.stop - b.start) for a, b in zip(placed.box, self._box, strict=True)
            )
        ]


def orientedImage(
    array: np.ndarray, box: tuple[slice, slice, slice], ijkToRAS: np.ndarray
) -> slicer.vtkOrientedImageData:
    """A copy of a label map ``(z, y, x)`` as a segmentation holds it; ``box`` is where it lies on the lattice."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent([index for side in box[::-1] for index in (side.start, side.stop - 1)])
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijkToRAS))
    return image


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


def latticeOfImage(image: slicer.vtkOrientedImageData | None) -> np.ndarray:
    """4×4 matrix from index ``(x, y, z, 1)`` to mm in the segmentation's frame."""
    matrix = vtk.vtkMatrix4x4()
    if image is not None:
        image.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
