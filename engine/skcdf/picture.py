"""Pictures of a segmentation as PNG: slices with coloured organs and a legend, alone or beside the reference."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from .errors import SkcdfError
from .files import atomic_write
from .geometry import AxisOrder, Triple, axis_order_to_lps
from .image import Image
from .labels import Label, LabelSet

CT_WINDOW = (-160.0, 240.0)
# height and width in pixels: a slice is as large as fits in
PANEL_SIZE = (420, 640)
OVERLAY_PANEL_SIZE = (420, 480)
SURROUNDINGS_MM = 20.0
OPACITY = 0.45
MARGIN = 12
LEGEND_COLUMN, LEGEND_LINE = 200, 24
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
    _require_pillow(str(path))
    stack = _Stack.of(scan, label_set)
    labels = stack.order.apply(label_map)
    panels = [stack.panel(labels, axis, _fullest_slice(labels, axis), PANEL_SIZE) for axis in range(3)]
    canvas, top = _canvas([panels], _found(label_set, labels), footer=LEGEND_LINE)
    _write(canvas, MARGIN, top, notice, 13, _QUIET)
    with atomic_write(path, ".png") as temporary:
        canvas.save(temporary, "PNG", optimize=True)


def overlay_picture(scan: Image, prediction: np.ndarray, reference: np.ndarray, label_set: LabelSet) -> bytes:
    """Draws the reference on the left and the prediction on the right, in one axial and one coronal slice.

    The slices are those that show most organs of the reference (of the prediction, where the reference is
    empty), cropped to the surroundings of all organs. White lines on the right are the reference's outlines.
    Patient's right is on the picture's left.

    Args:
        scan: the scan.
        prediction: integers ``(z, y, x)`` on its grid.
        reference: likewise.
        label_set: what the values mean.

    Returns:
        A PNG file's content.

    Raises:
        SkcdfError: Pillow is not installed, or the label maps do not have the scan's shape.
    """
    _require_pillow("overlay pictures")
    if not scan.array.shape == prediction.shape == reference.shape:
        raise SkcdfError(
            f"{scan.source or 'The scan'}: its shape is {scan.array.shape}, the prediction's "
            f"{prediction.shape}, the reference's {reference.shape}.",
            "Give label maps on the scan's own grid.",
        )
    whole = _Stack.of(scan, label_set)
    predicted, annotated = whole.order.apply(prediction), whole.order.apply(reference)
    box = _surroundings((predicted > 0) | (annotated > 0), whole.spacing)
    stack, predicted, annotated = replace(whole, array=whole.array[box]), predicted[box], annotated[box]
    rows = []
    for axis in (0, 1):
        index = _fullest_slice(annotated if annotated.any() else predicted, axis)
        left = stack.panel(annotated, axis, index, OVERLAY_PANEL_SIZE)
        right = stack.panel(predicted, axis, index, OVERLAY_PANEL_SIZE, outlines=annotated)
        rows.append([left, right])
    found = _found(label_set, predicted, annotated)
    canvas, _ = _canvas(rows, found, header=LEGEND_LINE)
    second = 2 * MARGIN + max(row[0].width for row in rows)
    _write(canvas, MARGIN, MARGIN, "Reference", 15)
    _write(canvas, second, MARGIN, "Prediction, reference outlined in white", 15)
    content = io.BytesIO()
    canvas.save(content, "PNG", optimize=True)
    return content.getvalue()


def _require_pillow(subject: str) -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise SkcdfError(f"{subject}: pictures need Pillow.", "Install it: pip install pillow") from error


@dataclass(frozen=True)
class _Stack:
    """A scan ready to be drawn.

    Attributes:
        order: brings arrays on the scan's grid to LPS axis order, as the others here are.
        array: the voxels.
        spacing: mm along ``(z, y, x)``.
        window: the intensities that are black and white.
        colors: red, green and blue by label value.
    """

    order: AxisOrder
    array: np.ndarray
    spacing: Triple
    window: tuple[float, float]
    colors: np.ndarray

    @classmethod
    def of(cls, scan: Image, label_set: LabelSet) -> _Stack:
        order = axis_order_to_lps(scan.geometry)
        spacing = order.apply_to_geometry(scan.geometry).array_spacing
        array = order.apply(scan.array)
        low, high = CT_WINDOW if array.min() < -200 else tuple(np.percentile(array, (1, 99.5)))
        high = max(high, low + 1)  # a scan of one intensity
        colors = np.array([(0, 0, 0), *(label.color for label in label_set.labels)], np.float32)
        return cls(order, array, spacing, (float(low), float(high)), colors)

    def panel(
        self,
        labels: np.ndarray,
        axis: int,
        index: int,
        size: tuple[int, int],
        outlines: np.ndarray | None = None,
    ) -> Any:
        """Slice ``index`` across ``axis`` with its organs, superior up, as a Pillow image."""
        from PIL import Image as Pillow

        low, high = self.window
        gray = np.clip((self._plane(self.array, axis, index) - low) / (high - low), 0, 1)
        rows, columns = (self.spacing[a] for a in range(3) if a != axis)
        scale = min(size[0] / (gray.shape[0] * rows), size[1] / (gray.shape[1] * columns))
        height = max(1, round(gray.shape[0] * rows * scale))
        width = max(1, round(gray.shape[1] * columns * scale))
        backdrop = Pillow.fromarray(np.round(gray * 255).astype(np.uint8))
        pixels = np.asarray(backdrop.resize((width, height), Pillow.Resampling.BICUBIC), np.float32)[
            ..., None
        ]
        plane = _enlarged(self._plane(labels, axis, index), height, width)
        share = np.where(_edges(plane), 0.9, np.where(plane > 0, OPACITY, 0.0))[..., None]
        mixed = pixels * (1 - share) + self.colors[plane] * share
        if outlines is not None:
            mixed[_edges(_enlarged(self._plane(outlines, axis, index), height, width))] = 255
        return Pillow.fromarray(np.round(mixed).astype(np.uint8))

    @staticmethod
    def _plane(array: np.ndarray, axis: int, index: int) -> np.ndarray:
        plane = np.take(array, index, axis)
        return plane[::-1] if axis != 0 else plane  # rows run from inferior to superior


def _enlarged(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    zoom = (height / plane.shape[0], width / plane.shape[1])
    return np.asarray(ndimage.zoom(plane, zoom, order=0, grid_mode=True, mode="nearest"))


def _edges(plane: np.ndarray) -> np.ndarray:
    """The labelled pixels that touch another label or none."""
    return (plane > 0) & (ndimage.minimum_filter(plane, 3) != ndimage.maximum_filter(plane, 3))


def _surroundings(organs: np.ndarray, spacing: Triple) -> tuple[slice, ...]:
    """The box round a mask and some centimetres more; everything, where the mask is empty."""
    boxes = ndimage.find_objects(organs.astype(np.uint8))
    if not boxes:
        return (slice(None),) * 3
    steps = [round(SURROUNDINGS_MM / size) for size in spacing]
    return tuple(
        slice(max(0, a.start - step), a.stop + step) for a, step in zip(boxes[0], steps, strict=True)
    )


def _found(label_set: LabelSet, *label_maps: np.ndarray) -> list[Label]:
    values = {int(value) for labels in label_maps for value in np.unique(labels)}
    return [label for label in label_set.labels if label.value in values]


def _canvas(rows: list[list[Any]], found: list[Label], header: int = 0, footer: int = 0) -> tuple[Any, int]:
    """The panels in rows with a legend below them, and the y at which the footer begins."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    widths = [max(panel.width for panel in column) for column in zip(*rows, strict=True)]
    width = sum(widths) + MARGIN * (len(widths) + 1)
    columns = max(1, (width - MARGIN) // LEGEND_COLUMN)
    below = header + sum(max(panel.height for panel in row) + MARGIN for row in rows) + MARGIN
    bottom = below + LEGEND_LINE * -(-len(found) // columns)
    canvas = Pillow.new("RGB", (width, bottom + MARGIN + footer), _PAPER)
    y = header + MARGIN
    for row in rows:
        x = MARGIN
        for panel, column in zip(row, widths, strict=True):
            canvas.paste(panel, (x, y))
            x += column + MARGIN
        y += max(panel.height for panel in row) + MARGIN
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for index, label in enumerate(found):
        x = MARGIN + index % columns * LEGEND_COLUMN
        y = below + index // columns * LEGEND_LINE
        draw.rounded_rectangle((x, y + 3, x + 14, y + 17), 3, fill=label.color)
        draw.text((x + 22, y), label.title, _INK, font)
    return canvas, bottom


def _write(canvas: Any, x: int, y: int, text: str, size: int, color: tuple[int, int, int] = _INK) -> None:
    from PIL import ImageDraw, ImageFont

    ImageDraw.Draw(canvas).text((x, y), text, color, ImageFont.load_default(size))


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
