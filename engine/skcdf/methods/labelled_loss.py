"""The loss of labelled patches, the same for every method: ``skcdf train --loss NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from ..ga_losses import GAMMA, ga_loss
from ..losses import cross_entropy_and_dice
from .class_balance import annotated_counts, weights_against_background

LossName = Literal["ce_dice", "ga"]


@dataclass(frozen=True)
class LabelledLoss:
    """What a method computes from the logits and labels of annotated cases.

    Attributes:
        name: ``ce_dice``: cross-entropy plus soft Dice (`docs/methods.md` §4); ``ga``: the gradient-aware losses (§7).
        gamma: balance of the cross-entropy of ``ce_dice``; ``ga`` has its own.
    """

    name: LossName
    gamma: float

    def __call__(self, logits: Tensor, labels: Tensor, annotated: Tensor) -> Tensor:
        """The loss, a float32 scalar.

        Args:
            logits: ``(batch, class, z, y, x)``.
            labels: class values ``(batch, z, y, x)``.
            annotated: bool ``(batch, class)``: what was annotated in each case.
        """
        if self.name == "ga":
            return ga_loss(logits, labels, annotated)
        return cross_entropy_and_dice(logits, labels, annotated, self.gamma)

    def voxel_weights(self, voxel_counts: np.ndarray) -> tuple[float, ...]:
        """See `Method.voxel_weights`: n_k^(γ−1), in a patch like the mean case; ``voxel_counts`` as in `Problem`."""
        if not len(voxel_counts):
            return ()
        gamma = GAMMA if self.name == "ga" else self.gamma
        return weights_against_background(annotated_counts(voxel_counts), 1 - gamma)
