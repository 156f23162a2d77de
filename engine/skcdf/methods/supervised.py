"""Plain supervised training: the floor that semi-supervised methods must beat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..networks.vnet import VNet
from .base import Batch, Method, Moment, Problem, require_share
from .labelled_loss import LabelledLoss
from .plugin import Stream


@dataclass(frozen=True)
class SupervisedOptions:
    """Settings of `Supervised`.

    Attributes:
        gamma: balance of the cross-entropy; with the plain mean (1), classes of 1 voxel in 7000 are never found. The
            gradient-aware losses have their own.
        dropout: channel dropout of the V-Net.
    """

    gamma: float = 0.5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_share("gamma", self.gamma)
        require_share("dropout", self.dropout, below_one=True)


class Supervised(Method):
    """The labelled loss of one V-Net on the labelled patches alone; also what the semi-supervised ones start from."""

    Options: ClassVar[type[Any]] = SupervisedOptions
    Network: ClassVar[type[VNet]] = VNet
    """Its tensors hold those of a V-Net, by their names: the one that segments."""

    network: VNet

    def __init__(self, problem: Problem, options: SupervisedOptions) -> None:
        self.options = options
        self.supervised_loss = LabelledLoss(problem.loss, options.gamma)
        self._voxel_counts = problem.voxel_counts
        self._arguments: dict[str, Any] = {
            "channels": problem.channels,
            "classes": problem.classes,
            "filters": problem.filters,
            "dropout": options.dropout,
        }
        self.network = self.Network(**self._arguments)

    def losses(self, batch: Batch, moment: Moment) -> Iterator[dict[str, Tensor]]:
        """See `Method.losses`; one loss called ``supervised``, and the plug-in's."""
        decoded = self.network.decoded(batch.images)
        stream = Stream(batch.images, decoded, self.network.decoded, batch.labels, batch.annotated)
        yield {
            "supervised": self.supervised_loss(decoded.logits["main"], batch.labels, batch.annotated),
            **self.plugin_losses(stream, moment),
        }

    def voxel_weights(self) -> tuple[float, ...]:
        """See `Method.voxel_weights`: those of the labelled loss's cross-entropy."""
        return self.supervised_loss.voxel_weights(self._voxel_counts)

    def inference_network(self) -> tuple[str, dict[str, Any]]:
        """See `Method.inference_network`."""
        return "vnet", {**self._arguments, **self.companion_arguments()}
