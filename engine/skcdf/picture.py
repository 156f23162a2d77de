"""A picture of a segmentation: three slices with coloured organs and a legend, as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from .errors import SkcdfError
from .files import atomic_write
from .geometry import axis_order_to_lps
from .image import Image
from .labels import LabelSet

CT_WINDOW = (-160.0, 240.0)
PANEL_HEIGHT = 420
PANEL_WIDTH = 640
OPACITY = 0.45
MARGIN = 12
_INK, _PAPER, _QUIET = (235, 235, 235), (18, 20, 24), (150, 155, 165)


def write_picture(
    path: Path | str, scan: Image, label_map: np.ndarray, label_set: LabelSet, notice: str
) -> None:
    """Draws the axial, coronal and sagittal slice that show most organs.

    Patient's right is on the picture's left in the axial and coronal slice, as radiologists look at them.

    Args:
        path: the PNG file.
        scan: the scan.
        label_map: integers ``(z, y, x)`` on its grid.
        label_set: what the values mean.
        notice: a line under the slices.

    Raises:
        SkcdfError: Pillow is not installed, or the file cannot be written.
    """
    try:
        from PIL import Image as Pillow
        from PIL import ImageDraw, ImageFont
    except ImportError as error:
        raise SkcdfError(f"{path}: pictures need Pillow.", "Install it: pip install pillow") from error
    order = axis_order_to_lps(scan.geometry)
    spacing = order.apply_to_geometry(scan.geometry).array_spacing
    array, labels = order.apply(scan.array), order.apply(label_map)
    low, high = CT_WINDOW if array.min() < -200 else tuple(np.percentile(array, (1, 99.5)))
    high = max(high, low + 1)  # a scan of one intensity
    panels = [
        _panel(Pillow, array, labels, label_set, spacing, axis, (float(low), float(high)))
        for axis in range(3)
    ]
    font = ImageFont.load_default(15)
    found = [label for label in label_set.labels if (labels == label.value).any()]
    legend = 24 * -(-len(found) // _columns(panels)) + 2 * MARGIN
    width = sum(panel.width for panel in panels) + MARGIN * (len(panels) + 1)
    canvas = Pillow.new("RGB", (width, PANEL_HEIGHT + legend + 24 + 2 * MARGIN), _PAPER)
    left = MARGIN
    for panel in panels:
        canvas.paste(panel, (left, MARGIN))
        left += panel.width + MARGIN
    draw = ImageDraw.Draw(canvas)
    for index, label in enumerate(found):
        x = MARGIN + index % _columns(panels) * 200
        y = PANEL_HEIGHT + 2 * MARGIN + index // _columns(panels) * 24
        draw.rounded_rectangle((x, y + 3, x + 14, y + 17), 3, fill=label.color)
        draw.text((x + 22, y), label.title, _INK, font)
    draw.text((MARGIN, canvas.height - 26), notice, _QUIET, ImageFont.load_default(13))
    with atomic_write(path, ".png") as temporary:
        canvas.save(temporary, "PNG", optimize=True)


def _columns(panels: list[Any]) -> int:
    return max(1, sum(panel.width for panel in panels) // 200)


def _panel(
    pillow: Any,
    array: np.ndarray,
    labels: np.ndarray,
    label_set: LabelSet,
    spacing: tuple[float, float, float],
    axis: int,
    window: tuple[float, float],
) -> Any:
    """One slice across ``axis`` of arrays in LPS axis order, superior up."""
    index = _fullest_slice(labels, axis)
    gray = np.clip((np.take(array, index, axis) - window[0]) / (window[1] - window[0]), 0, 1)
    plane = np.take(labels, index, axis)
    rows, columns = (spacing[a] for a in range(3) if a != axis)
    if axis != 0:
        gray, plane = gray[::-1], plane[::-1]  # rows run from inferior to superior
    scale = min(PANEL_HEIGHT / (plane.shape[0] * rows), PANEL_WIDTH / (plane.shape[1] * columns))
    height, width = (
        max(1, round(plane.shape[0] * rows * scale)),
        max(1, round(plane.shape[1] * columns * scale)),
    )
    backdrop = pillow.fromarray(np.round(gray * 255).astype(np.uint8)).resize((width, height), pillow.BICUBIC)
    zoom = (height / plane.shape[0], width / plane.shape[1])
    plane = ndimage.zoom(plane, zoom, order=0, grid_mode=True, mode="nearest")
    colors = np.array([(0, 0, 0), *(label.color for label in label_set.labels)], np.float32)[plane]
    edge = (plane > 0) & (ndimage.minimum_filter(plane, 3) != ndimage.maximum_filter(plane, 3))
    share = np.where(edge, 0.9, np.where(plane > 0, OPACITY, 0.0))[..., None]
    mixed = np.asarray(backdrop, np.float32)[..., None] * (1 - share) + colors * share
    return pillow.fromarray(np.round(mixed).astype(np.uint8))


def _fullest_slice(labels: np.ndarray, axis: int) -> int:
    """The slice with most organs; among those, the one with most labelled voxels."""
    others = tuple(a for a in range(3) if a != axis)
    organs = sum(
        ((labels == value).any(others).astype(int) for value in np.unique(labels) if value),
        np.zeros(labels.shape[axis], int),
    )
    voxels = np.count_nonzero(labels, others)
    if not voxels.any():
        return int(labels.shape[axis] // 2)
    return int(np.lexsort((voxels, organs))[-1])
