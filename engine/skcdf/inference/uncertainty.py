"""How unsure a model is: entropy of its scores, gathered row by row while they exist (`docs/review.md`).

Scores of all classes never exist for a whole scan. What stays is a byte for each voxel of the model's grid three
times over — entropy, best class, second best class — and six sums for each class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..geometry import Geometry, axis_order_to_lps
from ..labels import LabelSet
from ..models import Expectations
from ..preprocessing import Shape

FULL = 255
"""An entropy of one bit, or more, as a byte."""
RIM = round(0.1 * FULL)
"""From here on a voxel of another label belongs to the rim of the organ that comes second there."""
_SMALLEST_EXTENT = 2 / 3
_VOXELS, _INSIDE, _RIM_VOXELS, _OUTSIDE, _BEST, _SECOND = range(6)


@dataclass(frozen=True)
class OrganUncertainty:
    """What the scores say of one organ.

    Attributes:
        organ: the label's name.
        volume_ml: where it is the best class.
        mean_entropy: over its voxels and its rim, 0 to 1: the voxels outside it where it comes second and the
            entropy is above 0.1.
        entropy_volume_ml: entropy summed over the same voxels.
        doubt: 1 minus the Dice that the model's own probabilities expect; 1 for an organ that was not found.
    """

    organ: str
    volume_ml: float
    mean_entropy: float
    entropy_volume_ml: float
    doubt: float

    @property
    def found(self) -> bool:
        """Whether any voxel got this label."""
        return self.volume_ml > 0


class UncertaintyMap:
    """Takes scores row by row; then knows figures for every organ and where the model is unsure.

    Entropy is in bits and cut off at 1, the entropy of a voxel that may as well be one of two classes: the same
    figure for a model of 2 and of 118 classes.

    Args:
        shape: ``(z, y, x)`` of the model's grid.
        classes: score channels.

    Attributes:
        entropy: ``(z, y, x)``, uint8; `FULL` is 1 bit or more.
        labels: best class, ``(z, y, x)``.
        rivals: second best class, ``(z, y, x)``.
    """

    def __init__(self, shape: Shape, classes: int) -> None:
        kind = np.uint8 if classes <= 256 else np.uint16
        self.entropy = np.zeros(shape, np.uint8)
        self.labels = np.zeros(shape, kind)
        self.rivals = np.zeros(shape, kind)
        self._sums = np.zeros((6, classes))

    def add(self, z: int, y: int, scores: Tensor) -> None:
        """Takes blended scores; each voxel once.

        Args:
            z, y: where they begin in the model's grid.
            scores: ``(class, z, y, x)``, as `SlidingWindow.scan` yields them; left as they are.
        """
        if scores.shape[2] == 0:
            return
        for offset in range(scores.shape[1]):
            self._add_row(z + offset, slice(y, y + scores.shape[2]), scores[:, offset])

    def _add_row(self, z: int, rows: slice, scores: Tensor) -> None:
        """One row along z: temporaries are of a row's size."""
        best, labels = scores.max(0)
        # The best one taken out, and the maximum again: faster than topk over so few entries.
        second, rivals = scores.scatter(0, labels[None], -math.inf).max(0)
        shifted = scores - best
        weights = shifted.exp()
        total = weights.sum(0)
        entropy = (total.log() - weights.mul_(shifted).sum(0) / total) / math.log(2)
        # Windows of air that were not computed score exactly 1 for background: sure, whatever a softmax makes of it.
        skipped = (scores[0] == 1) & (scores[1:] == 0).all(0)
        entropy = entropy.clamp_(0, 1).masked_fill_(skipped, 0)
        likely = (1 / total).masked_fill_(skipped, 1)
        less_likely = ((second - best).exp() / total).masked_fill_(skipped, 0)
        shares, first, runner_up = (each.cpu().numpy() for each in (entropy, labels, rivals))
        level = np.rint(shares * FULL).astype(np.uint8)
        self.entropy[z, rows], self.labels[z, rows], self.rivals[z, rows] = level, first, runner_up
        classes = self._sums.shape[1]
        for row, of, weight in (
            (_VOXELS, first, None),
            (_INSIDE, first, shares),
            (_RIM_VOXELS, runner_up, (level >= RIM).astype(float)),
            (_OUTSIDE, runner_up, np.where(level >= RIM, shares, 0)),
            (_BEST, first, likely.cpu().numpy()),
            (_SECOND, runner_up, less_likely.cpu().numpy()),
        ):
            counted = None if weight is None else weight.ravel()
            self._sums[row] += np.bincount(of.ravel(), counted, minlength=classes)

    def organs(self, label_set: LabelSet, geometry: Geometry) -> tuple[OrganUncertainty, ...]:
        """Figures of every organ, by value.

        Args:
            label_set: what the classes mean.
            geometry: the model's grid.
        """
        return tuple(
            self._organ(label.name, self._sums[:, label.value], geometry.voxel_volume_ml)
            for label in label_set.labels
        )

    def unsure_shares(self, level: int) -> tuple[float | None, ...]:
        """Share of every organ's voxels with an entropy from ``level`` on, by value; ``None`` for one not found."""
        classes = self._sums.shape[1]
        unsure = np.zeros(classes, np.int64)
        for labels, entropy in zip(self.labels, self.entropy, strict=True):
            unsure += np.bincount(labels[entropy >= level], minlength=classes)
        sizes = self._sums[_VOXELS]
        return tuple(
            round(float(part / size), 4) if size else None
            for part, size in zip(unsure[1:], sizes[1:], strict=True)
        )

    @staticmethod
    def _organ(name: str, sums: np.ndarray, voxel_ml: float) -> OrganUncertainty:
        voxels, reach = sums[_VOXELS], sums[_VOXELS] + sums[_RIM_VOXELS]
        entropy = sums[_INSIDE] + sums[_OUTSIDE]
        expected = 2 * sums[_BEST] / (voxels + sums[_BEST] + sums[_SECOND]) if voxels else 0.0
        return OrganUncertainty(
            organ=name,
            volume_ml=round(float(voxels * voxel_ml), 3),
            mean_entropy=round(float(entropy / reach), 4) if reach else 0.0,
            entropy_volume_ml=round(float(entropy * voxel_ml), 3),
            doubt=round(float(min(max(1 - expected, 0.0), 1.0)), 4),
        )


def should_hold_all(geometry: Geometry, expects: Expectations) -> bool:
    """Whether a scan is so large that every organ of the model should be in it.

    It is when no extent is below two thirds of the smallest one in training, where `check_input` warns, too.
    """
    grid = axis_order_to_lps(geometry).apply_to_geometry(geometry)
    extents = (n * s for n, s in zip(grid.shape, grid.array_spacing, strict=True))
    return all(
        extent >= _SMALLEST_EXTENT * low
        for extent, (low, _) in zip(extents, expects.field_of_view_mm, strict=True)
    )
