"""From blended scores on the model's grid to labels on the scan's grid, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..preprocessing import Shape
from .sliding_window import even_ranges

POINTS = 1 << 14
"""Voxels whose scores are interpolated at a time."""


def linear_taps(target: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear interpolation between two samplings of one length, outer faces on outer faces.

    Returns:
        For each of ``target`` samples: lower and upper sample of ``source`` and the share of the upper one.
    """
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    lower = position.astype(np.int64)
    return lower, np.ceil(position).astype(np.int64), (position - lower).astype(np.float32)


class ModelRow:
    """One row along z of the model's grid.

    Attributes:
        scores: ``(y, x, class)``, contiguous.
    """

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores.permute(1, 2, 0).contiguous()

    @cached_property
    def best(self) -> np.ndarray:
        """Best class ``(y, x)``."""
        return self.scores.argmax(-1).numpy()

    def kept(self) -> ModelRow:
        """The same in memory of its own."""
        self.scores = self.scores.clone()
        return self


@dataclass
class RowLabeller:
    """Interpolates scores trilinearly to the target grid and keeps the best class of each voxel.

    Scores are interpolated, not labels: labels of a coarse grid would leave staircases. Only a few rows of scores
    exist at a time.

    Attributes:
        shape: ``(z, y, x)`` of the model's grid.
        target: ``(z, y, x)`` of the grid to label, over the same extent.
        rows: range along y of the *target* grid to label.
    """

    shape: Shape
    target: Shape
    rows: tuple[int, int]
    _below: ModelRow | None = field(default=None, init=False)
    _next: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._z = linear_taps(self.target[0], self.shape[0])
        lower, upper, share = (tap[slice(*self.rows)] for tap in linear_taps(self.target[1], self.shape[1]))
        self.needed_rows = (int(lower.min()), int(upper.max()) + 1)
        """Range along y of the model's grid that the scores must cover."""
        self._y = (lower - self.needed_rows[0], upper - self.needed_rows[0], share)
        self._x = linear_taps(self.target[2], self.shape[2])

    def label(self, z: int, scores: Tensor, labels: np.ndarray) -> None:
        """Labels every target row that these scores complete.

        Args:
            z: first row of ``scores`` in the model's grid; calls come in rising order without gaps.
            scores: ``(class, rows, y, x)``, y as `needed_rows`.
            labels: ``target``-shaped array, written in place.
        """
        lower, upper, share = self._z
        available = z + scores.shape[1]
        label = self.at_borders if scores.device.type == "cpu" else self.everywhere
        rows = {z - 1: self._below}
        while self._next < self.target[0] and upper[self._next] < available:
            pair = int(lower[self._next]), int(upper[self._next])
            rows = {index: rows.get(index) or ModelRow(scores[:, index - z]) for index in pair}
            below, above = (rows[index] for index in pair)
            assert below is not None  # target rows come in order
            assert above is not None
            labels[self._next, slice(*self.rows)] = label(below, above, float(share[self._next]))
            self._next += 1
        self._below = (rows.get(available - 1) or ModelRow(scores[:, -1])).kept()

    def everywhere(self, below: ModelRow, above: ModelRow, share: float) -> np.ndarray:
        """Labels ``(y, x)`` of the target row that lies between two of the model's: a GPU does it in no time."""
        row = below.scores if share == 0 else torch.lerp(below.scores, above.scores, share)
        for axis, taps in enumerate((self._y, self._x)):
            lower, upper, shares = (torch.from_numpy(tap).to(row.device) for tap in taps)
            shares = shares.view((-1, 1, 1) if axis == 0 else (-1, 1))
            row = torch.lerp(row.index_select(axis, lower), row.index_select(axis, upper), shares)
        return row.argmax(-1).cpu().numpy()

    def at_borders(self, below: ModelRow, above: ModelRow, share: float) -> np.ndarray:
        """The same with less work: where all eight neighbours have one best class, it is that of their mean, too."""
        fine = np.ix_(self._y[0], self._x[0])
        labels = below.best[fine]
        points = np.flatnonzero(~_agreed(below.best, above.best)[fine])
        for begin in range(0, len(points), POINTS):
            some = points[begin : begin + POINTS]
            corners, weights = self._corners(*np.divmod(some, labels.shape[1]), below.best.shape[1])
            scores = _weighted(below, corners, weights * np.float32(1 - share))
            if share > 0:
                scores += _weighted(above, corners, weights * np.float32(share))
            labels.flat[some] = scores.argmax(1).numpy()
        return labels

    def _corners(self, y: np.ndarray, x: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The four voxels of a row of the model's grid around target points, and their weights: ``(point, 4)``."""
        (south, north, up), (west, east, right) = (
            [tap[at] for tap in taps] for taps, at in ((self._y, y), (self._x, x))
        )
        corners = np.stack([a * width + b for a in (south, north) for b in (west, east)], 1)
        return corners, np.stack([a * b for a in (1 - up, up) for b in (1 - right, right)], 1)


def _agreed(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Where the best classes of both rows agree at ``(y, x)`` and at its next neighbours along both axes."""
    agreed = below == above
    agreed[:-1] &= agreed[1:] & (below[:-1] == below[1:])
    agreed[:, :-1] &= agreed[:, 1:] & (below[:, :-1] == below[:, 1:])
    return agreed


def _weighted(row: ModelRow, corners: np.ndarray, weights: np.ndarray) -> Tensor:
    """Sums of a row's scores at ``(point, corner)`` with their weights, ``(point, class)``."""
    table = row.scores.flatten(0, 1)
    return F.embedding_bag(
        torch.from_numpy(corners), table, per_sample_weights=torch.from_numpy(weights), mode="sum"
    )


@dataclass(frozen=True)
class Tile:
    """A part of the scan along y, labelled by itself.

    Attributes:
        labeller: makes its labels.
        own: rows along y of the model's grid that belong to it alone.
        needed: rows whose scores it takes to know labels and, where wanted, uncertainty.
    """

    labeller: RowLabeller
    own: tuple[int, int]
    needed: tuple[int, int]

    def for_labels(self, scores: Tensor) -> Tensor:
        """Of scores over ``needed`` rows, those that labels are made from."""
        low, high = self.labeller.needed_rows
        return scores[:, :, low - self.needed[0] : high - self.needed[0]]

    def for_own(self, scores: Tensor) -> Tensor:
        """Of scores over ``needed`` rows, its own."""
        low, high = self.own
        return scores[:, :, low - self.needed[0] : high - self.needed[0]]


def make_tiles(shape: Shape, target: Shape, count: int, unsure: bool) -> list[Tile]:
    """Cuts a scan along y.

    Args:
        shape, target: see `RowLabeller`.
        count: how many tiles; fewer where the scan has not so many rows.
        unsure: whether uncertainty is wanted, too: there may be rows that no tile needs for its labels.
    """
    count = min(count, target[1])
    tiles = []
    for rows, own in zip(even_ranges(target[1], count), even_ranges(shape[1], count), strict=True):
        labeller = RowLabeller(shape, target, rows)
        low, high = labeller.needed_rows
        needed = (min(low, own[0]), max(high, own[1])) if unsure else (low, high)
        tiles.append(Tile(labeller, own, needed))
    return tiles
