"""Takes the tutorial's pictures: parts of the panel in full, and the panel beside Slicer's views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import user
from PIL import Image, ImageDraw, ImageFont
from slicer_views import SLICES, Views

from SKCDFSegmenterLib.LearningCurves import DICE_VIEW, LAYOUT_ID, LOSS_VIEW

PANEL_WIDTH = 440
HUGE = 4000  # pixels: higher than the panel ever is, so that nothing is scrolled away
VIEW_SIZE = (300, 280)
BAR = 18  # height of the coloured bar above a view
BARS = {"Red": (243, 74, 51), "Green": (110, 176, 75), "Yellow": (237, 213, 76), "3D": (116, 115, 195)}
ABOVE = 6  # pixels of the panel above what it was scrolled to
SETTLE_S = 0.4
COLORS = 256


class Camera:
    """Draws into PNG files.

    Args:
        folder: where they go.
        panel: the widget of the whole panel.
    """

    def __init__(self, folder: Path, panel: Any) -> None:
        self._folder, self._panel = folder, panel
        self._views = Views(VIEW_SIZE)
        self.set_width(PANEL_WIDTH)

    def set_width(self, width: int) -> None:
        """Drags the panel's edge."""
        slicer.util.mainWindow().resize(width, HUGE)
        user.pump(seconds=SETTLE_S)

    def part(self, widget: Any, name: str) -> None:
        """A widget alone, all of it."""
        take(widget, self._folder / f"{name}.png")

    def window(self, widget: Any, name: str) -> None:
        """What the user sees: the panel, scrolled so that a widget is at its top, and the views beside it."""
        user.pump(seconds=SETTLE_S)
        path = self._folder / f"{name}.png"
        height = 2 * (BAR + VIEW_SIZE[1])
        panel = _grab(self._panel, path)
        top = max(0, min(_height_above(widget, self._panel) - ABOVE, panel.height - height))
        whole = Image.new("RGB", (panel.width + 2 * VIEW_SIZE[0], height))
        whole.paste(panel.crop((0, top, panel.width, top + height)), (0, 0))
        whole.paste(self._draw_views(), (panel.width, 0))
        _save(whole, path)

    def _draw_views(self) -> Image.Image:
        width, height = VIEW_SIZE
        views = Image.new("RGB", (2 * width, 2 * (height + BAR)))
        if slicer.app.layoutManager().layout == LAYOUT_ID:
            for row, name in enumerate((LOSS_VIEW, DICE_VIEW)):
                drawn = Image.fromarray(self._views.plot(name, (2 * width, height + BAR)))
                views.paste(drawn, (0, row * (height + BAR)))
            return views
        red, green, yellow = (self._with_bar(name, self._views.slice(name)) for name in SLICES)
        solid = self._with_bar("3D", self._views.solid())
        for number, view in enumerate((red, solid, green, yellow)):  # as in Slicer's layout Four-Up
            views.paste(view, (number % 2 * width, number // 2 * (height + BAR)))
        return views

    def _with_bar(self, name: str, pixels: np.ndarray) -> Image.Image:
        width, height = VIEW_SIZE
        view = Image.new("RGB", (width, height + BAR), BARS[name])
        text = "1"
        if name in SLICES:
            node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
            text = f"{name[0]}   {node.GetOrientation()}   {node.GetSliceOffset():.1f} mm"
        ImageDraw.Draw(view).text((6, 2), text, fill=(0, 0, 0), font=ImageFont.load_default(12))
        view.paste(Image.fromarray(pixels), (0, BAR))
        return view


def take(widget: Any, path: Path) -> None:
    """A picture of a widget in any window, all of it."""
    user.pump(seconds=SETTLE_S)
    _save(_grab(widget, path), path)


def _grab(widget: Any, path: Path) -> Image.Image:
    """A widget's pixels; by way of the file that the picture goes to."""
    with Image.open(user.screenshot(widget, path)) as grabbed:
        return grabbed.convert("RGB")


def _save(image: Image.Image, path: Path) -> None:
    # A panel has few colours, so nothing is lost; views lose what nobody sees.
    small = image.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size // 1000} kB", flush=True)


def _height_above(widget: Any, panel: Any) -> int:
    """How far below the panel's upper edge a widget begins, in pixels."""
    top = 0
    while widget is not panel:
        top += widget.y
        widget = widget.parentWidget()
    return top
