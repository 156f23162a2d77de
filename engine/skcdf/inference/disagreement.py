"""Disagreement of a network's decoders and heads, window by window, in one pass of its encoder (`docs/review.md`)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


class Disagreement:
    """1 minus the Dice between the labels of the head that segments and those of every other one.

    Scores of the other heads are not blended: that would take a ring of sums for each. Labels are compared inside
    every window, weighted as windows are blended, and only sums for each class are kept.

    Args:
        classes: score channels.
        weights: ``(z, y, x)`` of a window.
    """

    def __init__(self, classes: int, weights: Tensor) -> None:
        self._weights = weights.double().cpu().numpy().ravel()
        self._classes = classes
        self._common: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []

    def add(self, main: Tensor, others: Iterable[Tensor]) -> None:
        """Takes one batch of windows.

        Args:
            main: logits ``(batch, class, z, y, x)`` of the head that segments.
            others: the same of the other heads, always in the same order; taken one at a time.
        """
        reference = _labels(main)
        for index, scores in enumerate(others):
            if index == len(self._common):
                self._common.append(np.zeros(self._classes))
                self._sizes.append(np.zeros(self._classes))
            for one, other in zip(reference, _labels(scores), strict=True):
                same = one == other
                self._common[index] += self._sum(one[same], self._weights[same])
                self._sizes[index] += self._sum(one, self._weights) + self._sum(other, self._weights)

    def _sum(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.bincount(labels, weights, minlength=self._classes)

    def values(self) -> np.ndarray:
        """Mean over the other heads for each class ``(class,)``, 0 to 1; nan for one that no head saw anywhere."""
        if not self._common:
            return np.full(self._classes, np.nan)
        sizes = np.array(self._sizes)
        dice = 2 * np.array(self._common) / np.where(sizes > 0, sizes, np.nan)
        seen = np.isfinite(dice)
        return np.where(
            seen.any(0), 1 - np.where(seen, dice, 0).sum(0) / np.maximum(seen.sum(0), 1), np.nan
        ).clip(0, 1)


def _labels(scores: Tensor) -> np.ndarray:
    """Best classes ``(batch, voxels)``; on the CPU, where sums do not depend on the order of threads."""
    best = scores.argmax(1).flatten(1)
    return best.to(torch.int32).cpu().numpy()
