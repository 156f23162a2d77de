"""Sliding-window inference in bounded memory (`docs/inference.md`).

Windows are visited by rising z. Weighted scores are summed in a ring of as many z rows as a window has; when the
next windows begin further up, the rows below them are finished, are handed on, and their place in the ring is used
again. So the scores of all classes never exist for the whole volume, and no window is computed twice. Where even
one ring is too large, the volume is cut along y into tiles with a ring each, and only the windows that straddle two
tiles are computed twice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..preprocessing import Shape
from ..progress import CancelToken, Progress, ProgressCallback, ignore_progress


class Unclassified(NamedTuple):
    """Scores that are made where they are summed, row by row: all of a window's would be written and read once more.

    Attributes:
        features: ``(batch, channel, z, y, x)``.
        classify: from features ``(y, x, channel)`` of a row to its scores ``(y, x, class)``.
    """

    features: Tensor
    classify: Callable[[Tensor], Tensor]


Predict = Callable[[Tensor], Tensor | Unclassified]
"""From windows ``(batch, 1, z, y, x)`` to scores ``(batch, class, z, y, x)``, or to what these are made of."""


def window_starts(length: int, side: int, overlap: float) -> list[int]:
    """First voxels of windows that cover ``length`` evenly and overlap by at least ``overlap`` of a side."""
    if length <= side:
        return [0]
    step = max(1, int(side * (1 - overlap)))
    count = math.ceil((length - side) / step) + 1
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


@lru_cache(maxsize=4)
def blending_weights(window: Shape, blend: Literal["gaussian", "constant"]) -> Tensor:
    """Weight of every voxel of a window: 1 in the middle, small but never 0 at its border."""
    if blend == "constant":
        return torch.ones(window)
    profiles = []
    for side in window:
        offset = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
        profiles.append(torch.exp(-0.5 * (offset / (side / 8)) ** 2).clamp_min(1e-3))
    z, y, x = profiles
    return (z[:, None, None] * y[:, None] * x).float().clamp_min(1e-6)


@dataclass(frozen=True)
class SlidingWindow:
    """How a volume is cut into windows and put together again.

    Attributes:
        window: ``(z, y, x)`` voxels; the network's training patch.
        classes: number of score channels.
        overlap: share of a window's side that its neighbours cover, too.
        blend: ``gaussian`` or ``constant`` weights.
        batch: windows in one call of the network.
        device: where scores are summed.
        memory_limit: bytes that the sums may take.
    """

    window: Shape
    classes: int
    overlap: float = 0.5
    blend: Literal["gaussian", "constant"] = "gaussian"
    batch: int = 1
    device: str = "cpu"
    memory_limit: int = 2 << 30

    def tiles(self, shape: Shape) -> list[tuple[int, int]]:
        """Ranges along y, each of which fits the memory limit; one when all does."""
        _, height, width = self._padded(shape)
        row_bytes = (self.classes + 1) * self.window[0] * width * 4
        count = min(height, math.ceil(row_bytes * height / self.memory_limit))
        return even_ranges(height, count)

    def windows(
        self, shape: Shape, rows: tuple[int, int], occupied: np.ndarray | None = None
    ) -> list[tuple[int, int, int]]:
        """The windows that `scan` computes for some rows: their first voxels in the padded volume, by rising z.

        Args:
            shape: of the volume ``(z, y, x)``.
            rows, occupied: see `scan`.
        """
        grid = _Grid(self, shape)
        low, high = (row + grid.pad[1] for row in rows)
        reached = [y for y in grid.starts[1] if y < high and y + self.window[1] > low]
        covering = itertools.product(grid.starts[0], reached, grid.starts[2])
        return [at for at in covering if occupied is None or occupied[grid.inside(at)[0]].any()]

    def ring_bytes(self, shape: Shape, rows: tuple[int, int]) -> int:
        """What the sums of scores and of weights take for some rows of a volume of ``shape``."""
        _, _, width = self._padded(shape)
        return (self.classes + 1) * self.window[0] * (rows[1] - rows[0]) * width * 4

    def scan(
        self,
        volume: np.ndarray,
        predict: Predict,
        *,
        rows: tuple[int, int] | None = None,
        occupied: np.ndarray | None = None,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """Yields blended scores from the bottom of the volume to its top.

        Args:
            volume: network input ``(z, y, x)``, float32. Sides shorter than the window are padded with the
                volume's minimum, evenly on both ends.
            predict: the network.
            rows: range along y to compute; ``None``: all.
            occupied: bool like ``volume``; a window without a true voxel is skipped, and where no window was
                computed, class 0 scores 1 and all others 0.
            progress: called after every call of the network.
            cancel: obeyed before every call of the network.

        Yields:
            ``(z, scores)``: first row and scores ``(class, rows, y, x)`` float32 on `device`, valid until the next
            is asked for; in memory the classes of a voxel lie side by side.
        """
        first, last = rows or (0, volume.shape[1])
        if last <= first:
            return
        tile = _Tile(self, volume, occupied, first, last)
        cancel = cancel or CancelToken()
        done = 0
        for level, start in enumerate(tile.starts[0]):
            waiting = [at for at in tile.windows if at[0] == start]
            for begin in range(0, len(waiting), self.batch):
                cancel.raise_if_cancelled()
                tile.add(waiting[begin : begin + self.batch], predict)
                done += len(waiting[begin : begin + self.batch])
                progress(Progress("segment", done, len(tile.windows)))
            end = tile.starts[0][level + 1] if level + 1 < len(tile.starts[0]) else tile.depth
            yield from tile.finish(start, end)

    def _padded(self, shape: Sequence[int]) -> Shape:
        z, y, x = (max(n, side) for n, side in zip(shape, self.window, strict=True))
        return z, y, x


class _Grid:
    """Where the windows of one volume begin.

    Attributes:
        pad: how far the volume is padded in front of its first voxel.
        starts: first voxels of windows along each axis of the padded volume.
        depth, width: rows and columns of the padded volume.
    """

    def __init__(self, options: SlidingWindow, shape: Shape) -> None:
        padded = options._padded(shape)
        self._window, self._shape = options.window, shape
        self.pad = tuple((n - m) // 2 for n, m in zip(padded, shape, strict=True))
        self.starts = [
            window_starts(n, side, options.overlap) for n, side in zip(padded, options.window, strict=True)
        ]
        self.depth = padded[0]
        self.width = padded[2]

    def inside(self, at: tuple[int, int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The part of a window inside the unpadded volume: in the volume, and in the window."""
        source, target = [], []
        for start, side, pad, length in zip(at, self._window, self.pad, self._shape, strict=True):
            low, high = max(start - pad, 0), min(start - pad + side, length)
            source.append(slice(low, high))
            target.append(slice(low - start + pad, high - start + pad))
        return tuple(source), tuple(target)


@dataclass
class _Tile:
    """The windows of one tile that have to be computed, and the ring of their sums.

    Positions are those of the padded volume unless said otherwise.
    """

    options: SlidingWindow
    volume: np.ndarray
    occupied: np.ndarray | None
    first: int
    last: int
    starts: list[list[int]] = field(init=False)
    windows: list[tuple[int, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        options, shape = self.options, self.volume.shape
        self._grid = _Grid(options, shape)
        self._pad, self.starts, self.depth = self._grid.pad, self._grid.starts, self._grid.depth
        low, high = self.first + self._pad[1], self.last + self._pad[1]
        self._rows = (low, high)
        self.windows = options.windows(shape, (self.first, self.last), self.occupied)
        self._fill = float(self.volume.min(initial=np.inf)) if self.volume.size else 0.0
        self._weights = blending_weights(options.window, options.blend).to(options.device)
        ring = (options.window[0], high - low, self._grid.width)
        # classes last, as the network's scores lie: summed the other way round, 118 classes take 20 times as long
        self._sums = torch.zeros((*ring, options.classes), device=options.device)
        self._totals = torch.zeros(ring, device=options.device)

    def add(self, windows: list[tuple[int, int, int]], predict: Predict) -> None:
        """Computes windows that begin at the same z and adds their weighted scores to the ring."""
        patches = np.full((len(windows), 1, *self.options.window), self._fill, np.float32)
        for patch, at in zip(patches, windows, strict=True):
            source, target = self._grid.inside(at)
            patch[0][target] = self.volume[source]
        found = predict(torch.from_numpy(patches))
        found = found if isinstance(found, Unclassified) else Unclassified(found, lambda scores: scores)
        for features, at in zip(found.features, windows, strict=True):
            self._accumulate(features.permute(1, 2, 3, 0), found.classify, at)

    def _accumulate(
        self, features: Tensor, classify: Callable[[Tensor], Tensor], at: tuple[int, int, int]
    ) -> None:
        start, y, x = at
        depth, side, width = self.options.window
        low, high = max(y, self._rows[0]), min(y + side, self._rows[1])
        in_window = (slice(low - y, high - y), slice(None))
        in_ring = (slice(low - self._rows[0], high - self._rows[0]), slice(x, x + width))
        for begin, stop, slot in self._ring_pieces(start, start + depth):
            piece = (slice(begin - start, stop - start), *in_window)
            place = (slice(slot, slot + stop - begin), *in_ring)
            weights = self._weights[piece]
            self._totals[place] += weights
            # row by row: a 32-bit copy of all would take as much memory as the scores
            for row, voxels, weight in zip(self._sums[place], features[piece], weights, strict=True):
                row.addcmul_(classify(voxels).to(row.device, torch.float32), weight[..., None])

    def _ring_pieces(self, begin: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Splits rows ``begin`` … ``stop`` where the ring wraps: ``(begin, stop, slot in the ring)``."""
        depth = self.options.window[0]
        while begin < stop:
            slot = begin % depth
            piece = min(stop, begin + depth - slot)
            yield begin, piece, slot
            begin = piece

    def finish(self, begin: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        """Yields the finished rows of the unpadded volume and clears their place in the ring."""
        pad_z, _, pad_x = self._pad
        inside = slice(pad_x, pad_x + self.volume.shape[2])
        for low, high, slot in self._ring_pieces(begin, stop):
            ring = slice(slot, slot + high - low)
            totals, sums = self._totals[ring], self._sums[ring]
            empty = totals == 0
            sums[..., 0][empty] = 1.0
            sums /= totals.masked_fill_(empty, 1.0)[..., None]
            keep_low, keep_high = max(low, pad_z), min(high, pad_z + self.volume.shape[0])
            if keep_low < keep_high:
                kept = sums[keep_low - low : keep_high - low, :, inside]
                yield keep_low - pad_z, kept.permute(3, 0, 1, 2)
            sums.zero_()
            totals.zero_()


def even_ranges(length: int, count: int) -> list[tuple[int, int]]:
    """``count`` ranges that cover ``length`` evenly."""
    return list(itertools.pairwise(round(index * length / count) for index in range(count + 1)))
