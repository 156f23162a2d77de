"""Plain supervised training: the floor that semi-supervised methods must beat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..losses import cross_entropy_and_dice
from ..networks import build_network
from .base import Batch, Method, Moment, Problem, require_share
from .class_balance import annotated_counts, weights_against_background


@dataclass(frozen=True)
class SupervisedOptions:
    """Settings of `Supervised`.

    Attributes:
        gamma: balance of the cross-entropy; with the plain mean (1), classes of 1 voxel in 7000 are never found.
        dropout: channel dropout of the V-Net.
    """

    gamma: float = 0.5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_share("gamma", self.gamma)
        require_share("dropout", self.dropout, below_one=True)


class Supervised(Method):
    """Cross-entropy plus soft Dice of one V-Net on the labelled patches alone."""

    Options = SupervisedOptions

    def __init__(self, problem: Problem, options: SupervisedOptions) -> None:
        self.options = options
        self._voxel_counts = problem.voxel_counts
        self._arguments: dict[str, Any] = {
            "channels": problem.channels,
            "classes": problem.classes,
            "filters": problem.filters,
            "dropout": options.dropout,
        }
        self.network = build_network("vnet", self._arguments)

    def losses(self, batch: Batch, moment: Moment) -> Iterator[dict[str, Tensor]]:
        """See `Method.losses`; one loss called ``supervised``."""
        logits = self.network(batch.images)
        yield {
            "supervised": cross_entropy_and_dice(logits, batch.labels, batch.annotated, self.options.gamma)
        }

    def voxel_weights(self) -> tuple[float, ...]:
        """See `Method.voxel_weights`: those of the cross-entropy, n_k^(γ−1), in a patch like the mean case."""
        if not len(self._voxel_counts):
            return ()
        return weights_against_background(annotated_counts(self._voxel_counts), 1 - self.options.gamma)

    def inference_network(self) -> tuple[str, dict[str, Any]]:
        """See `Method.inference_network`."""
        return "vnet", self._arguments
