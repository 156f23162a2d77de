"""From blended scores on the model's grid to labels on the scan's grid, row by row."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..preprocessing import Shape


def linear_taps(target: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear interpolation between two samplings of one length, outer faces on outer faces.

    Returns:
        For each of ``target`` samples: lower and upper sample of ``source`` and the share of the upper one.
    """
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    lower = position.astype(np.int64)
    return lower, np.ceil(position).astype(np.int64), (position - lower).astype(np.float32)


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
    _below: Tensor | None = field(default=None, init=False)
    _next: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._z = linear_taps(self.target[0], self.shape[0])
        lower, upper, share = (tap[slice(*self.rows)] for tap in linear_taps(self.target[1], self.shape[1]))
        self.needed_rows = (int(lower.min()), int(upper.max()) + 1)
        """Range along y of the model's grid that the scores must cover."""
        self._y = (lower - self.needed_rows[0], upper - self.needed_rows[0], share)

    def label(self, z: int, scores: Tensor, labels: np.ndarray) -> None:
        """Labels every target row that these scores complete.

        Args:
            z: first row of ``scores`` in the model's grid; calls come in rising order without gaps.
            scores: ``(class, rows, y, x)``, y as `needed_rows`.
            labels: ``target``-shaped array, written in place.
        """
        lower, upper, share = self._z
        available = z + scores.shape[1]
        while self._next < self.target[0] and upper[self._next] < available:
            row = self._next
            below = self._row(int(lower[row]), z, scores)
            mixed = below
            if share[row] > 0:
                mixed = torch.lerp(below, self._row(int(upper[row]), z, scores), float(share[row]))
            labels[row, slice(*self.rows)] = self._classes(mixed)
            self._next += 1
        self._below = scores[:, -1].clone()

    def _row(self, index: int, z: int, scores: Tensor) -> Tensor:
        if index >= z:
            return scores[:, index - z]
        assert self._below is not None  # rows come in order, and the two taps are neighbours
        return self._below

    def _classes(self, row: Tensor) -> np.ndarray:
        lower, upper, share = self._y
        if self.target[1] != self.shape[1]:
            device = row.device
            weights = torch.from_numpy(share).to(device)[:, None]
            low, high = (row[:, torch.from_numpy(tap).to(device)] for tap in (lower, upper))
            row = torch.lerp(low, high, weights)
        if self.target[2] != self.shape[2]:
            size = (row.shape[1], self.target[2])
            row = F.interpolate(row[None], size, mode="bilinear", align_corners=False)[0]
        return row.argmax(0).cpu().numpy()


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


def even_ranges(length: int, count: int) -> list[tuple[int, int]]:
    """``count`` ranges that cover ``length`` evenly."""
    return list(itertools.pairwise(round(index * length / count) for index in range(count + 1)))
