"""From a scan on its own grid to the array a network sees, and back, exactly.

The way there: axes to LPS order (`geometry.axis_order_to_lps`), crop to the body, resampling to the model's spacing
(or, in the published protocol, to a fixed shape), intensities to the network's range. The way back follows the
`Placement` that was recorded on the way there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .errors import SkcdfError
from .geometry import AxisOrder, Geometry, axis_order_to_lps
from .image import Image
from .records import FieldError, plain_record, record_from_plain

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]

BODY_MARGIN_MM = 10.0
# The body is found on a grid of about this spacing: exact enough for a box, quick on any scan.
_COARSE_MM = 5.0


@dataclass(frozen=True)
class Intensity:
    """How raw intensities become the network's input.

    Attributes:
        kind: ``window`` clips to [low, high], then subtracts ``mean`` and divides by ``std`` (CT);
            ``z_score`` clips to the volume's own 0.5 and 99.5 percentiles, then makes its mean 0 and its standard
            deviation 1 (MR);
            ``window_min_max`` clips to [low, high], then maps the volume's own range to [0, 1] (`docs/methods.md`,
            SKCDF's published protocol).
        low, high: the window, in the scan's unit (HU for CT).
        mean, std: of the training scans' labelled voxels inside the window.
    """

    kind: Literal["window", "z_score", "window_min_max"]
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if self.kind != "z_score" and not self.low < self.high:
            raise FieldError("low", f"must be below high, is {self.low:g} and high {self.high:g}")
        if not self.std > 0:
            raise FieldError("std", f"must be positive, is {self.std:g}")

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Normalised copy of ``raw``, float32, same shape."""
        if self.kind == "window":
            array = np.clip(raw, self.low, self.high, dtype=np.float32)
            array -= np.float32(self.mean)
            array *= np.float32(1.0 / self.std)
            return array
        if self.kind == "window_min_max":
            array = np.clip(raw, self.low, self.high, dtype=np.float32)
            low, high = float(array.min()), float(array.max())
            return (array - low) / max(high - low, 1e-8)
        low, high = np.percentile(raw, (0.5, 99.5))
        array = np.clip(raw, low, high, dtype=np.float32)
        mean, std = float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64))
        return (array - mean) / max(std, 1e-8)


@dataclass(frozen=True)
class Placement:
    """Where a preprocessed array lies in the scan it was made from.

    Attributes:
        geometry: the scan's grid.
        axis_order: from the scan's axes to LPS order.
        crop_start, crop_shape: the body's box ``(z, y, x)`` in the reordered scan.
        shape: shape ``(z, y, x)`` of the preprocessed array, which covers exactly that box.
    """

    geometry: Geometry
    axis_order: AxisOrder
    crop_start: Shape
    crop_shape: Shape
    shape: Shape

    @property
    def model_geometry(self) -> Geometry:
        """The preprocessed array's own grid."""
        reordered = self.axis_order.apply_to_geometry(self.geometry)
        return reordered.crop(self.crop_start, self.crop_shape).resized(self.shape)

    def paste(self, cropped: np.ndarray, fill: int = 0) -> np.ndarray:
        """Puts an array over the body's box back onto the scan's own grid.

        Args:
            cropped: ``crop_shape`` array at the scan's resolution, axes in LPS order.
            fill: value outside the box.

        Returns:
            Array of the scan's shape ``(z, y, x)``.
        """
        whole = np.full(self.geometry.shape, fill, cropped.dtype)
        box = tuple(slice(a, a + n) for a, n in zip(self.crop_start, self.crop_shape, strict=True))
        self.axis_order.apply(whole)[box] = cropped
        return whole


@dataclass(frozen=True)
class PreprocessingPlan:
    """Everything between a scan and a network's input.

    Attributes:
        intensity: what happens to intensities.
        spacing: voxel size ``(z, y, x)`` in mm the network was trained at; ``None`` with ``shape``.
        shape: fixed shape ``(z, y, x)`` every scan is resized to (published protocol); ``None`` with ``spacing``.
        body_threshold: intensities above it are body and couch; the rest of the scan is cropped away.
            ``None``: no crop.
    """

    intensity: Intensity
    spacing: Spacing | None = None
    shape: Shape | None = None
    body_threshold: float | None = None

    def __post_init__(self) -> None:
        if (self.spacing is None) == (self.shape is None):
            raise FieldError("spacing", "or shape must be given, and not both")
        if min(self.spacing or self.shape or (0,)) <= 0:
            raise FieldError("spacing" if self.spacing else "shape", "must hold positive numbers")

    @classmethod
    def published(cls) -> PreprocessingPlan:
        """The protocol of the published SKCDF experiments: 80×160×160 voxels, window −75 … 275."""
        return cls(Intensity("window_min_max", -75.0, 275.0), shape=(80, 160, 160))

    def placement(self, image: Image) -> Placement:
        """Decides axis order, crop and resampled shape for ``image``."""
        order = axis_order_to_lps(image.geometry)
        reordered = order.apply(image.array)
        spacing = order.apply_to_geometry(image.geometry).array_spacing
        start, shape = (0, 0, 0), reordered.shape
        if self.body_threshold is not None:
            start, shape = _body_box(reordered, spacing, self.body_threshold)
        target = self.shape or _resampled_shape(shape, spacing, self.spacing or spacing)
        return Placement(image.geometry, order, start, shape, target)

    def resample(self, image: Image, placement: Placement) -> np.ndarray:
        """Raw intensities of ``image`` on the model's grid: float32 ``(z, y, x)``, linear interpolation."""
        return _resize(_cropped(image.array, placement), placement.shape, sitk.sitkLinear, np.float32)

    def resample_labels(self, label_map: Image, placement: Placement) -> np.ndarray:
        """Labels on the model's grid: ``(z, y, x)``, nearest neighbour, same type."""
        array = _cropped(label_map.array, placement)
        return _resize(array, placement.shape, sitk.sitkNearestNeighbor, array.dtype.type)

    def apply(self, image: Image) -> tuple[np.ndarray, Placement]:
        """The network's input, float32 ``(z, y, x)``, and where it lies in the scan."""
        placement = self.placement(image)
        return self.intensity.apply(self.resample(image, placement)), placement

    def to_json(self) -> dict[str, Any]:
        """For the model's description."""
        content = {key: value for key, value in plain_record(self).items() if value is not None}
        return {"kind": "fixed_shape" if self.shape else "physical_spacing", **content}

    @classmethod
    def from_json(cls, content: Any, source: str) -> PreprocessingPlan:
        """Reads what `to_json` wrote.

        Raises:
            SkcdfError: ``content`` is no preprocessing plan; the message names ``source``.
        """
        if isinstance(content, dict):
            content = {key: value for key, value in content.items() if key != "kind"}
        try:
            return record_from_plain(cls, content, source)
        except FieldError as error:
            raise SkcdfError(
                f"{source}: the preprocessing plan is not valid: {error.field} {error.problem}.",
                "Export the model again.",
            ) from error


def _resampled_shape(shape: Shape, spacing: Spacing, target: Spacing) -> Shape:
    z, y, x = (max(1, round(n * s / t)) for n, s, t in zip(shape, spacing, target, strict=True))
    return z, y, x


def _cropped(array: np.ndarray, placement: Placement) -> np.ndarray:
    box = tuple(slice(a, a + n) for a, n in zip(placement.crop_start, placement.crop_shape, strict=True))
    return placement.axis_order.apply(array)[box]


def _body_box(array: np.ndarray, spacing: Spacing, threshold: float) -> tuple[Shape, Shape]:
    """Start and shape of the box round the largest connected piece above ``threshold``; all of it if none is."""
    step = tuple(max(1, int(_COARSE_MM / s)) for s in spacing)
    body = array[tuple(slice(None, None, n) for n in step)] > threshold
    pieces, count = ndimage.label(body)
    if count == 0:
        return (0, 0, 0), array.shape
    largest = int(np.argmax(np.bincount(pieces.ravel())[1:])) + 1
    box = ndimage.find_objects(pieces, max_label=largest)[largest - 1]
    start, stop = [], []
    for extent, n, length, millimetres in zip(box, step, array.shape, spacing, strict=True):
        margin = int(np.ceil(BODY_MARGIN_MM / millimetres))
        start.append(max(0, (extent.start - 1) * n + 1 - margin))
        stop.append(min(length, extent.stop * n + margin))
    z, y, x = (b - a for a, b in zip(start, stop, strict=True))
    return (start[0], start[1], start[2]), (z, y, x)


def _resize(array: np.ndarray, shape: Shape, interpolator: int, kind: Any) -> np.ndarray:
    """Samples ``array`` at the voxel centres of a grid of ``shape`` with the same outer faces."""
    if array.shape == shape:
        return np.ascontiguousarray(array, dtype=kind)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    step = [n / m for n, m in zip(array.shape[::-1], shape[::-1], strict=True)]
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(shape[::-1])
    resampler.SetOutputSpacing(step)
    resampler.SetOutputOrigin([0.5 * s - 0.5 for s in step])
    resampler.SetInterpolator(interpolator)
    resampler.SetOutputPixelType(sitk.GetImageFromArray(np.zeros((1, 1, 1), kind)).GetPixelID())
    return sitk.GetArrayFromImage(resampler.Execute(image))
