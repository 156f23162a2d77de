"""Cross pseudo-supervision: two networks label for each other (`docs/methods.md` §8.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..losses import cross_entropy, likeliest, marginal_log_probabilities
from ..networks.vnet import VNet
from ..networks.vnet_pair import VNetPair
from ..records import FieldError
from .base import Batch, Method, Moment, Problem
from .batch_statistics import kept_statistics
from .labelled_loss import LabelledLoss
from .plugin import Stream
from .ramp import ramp
from .supervised import SupervisedOptions


@dataclass(frozen=True)
class CpsOptions(SupervisedOptions):
    """Settings of `Cps`; ``gamma`` balances the cross-entropy with pseudo-labels, too.

    Attributes:
        ramp_weight: λ at the end of training.
    """

    ramp_weight: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ramp_weight < 0:
            raise FieldError("ramp_weight", f"must not be negative, is {self.ramp_weight:g}")


class Cps(Method):
    """Each of two V-Nets learns from labels, and from what the other finds in all images."""

    Options = CpsOptions
    uses_unlabelled = True
    refines: ClassVar[bool] = False
    network: VNetPair

    def __init__(self, problem: Problem, options: CpsOptions) -> None:
        self.options = options
        self.supervised_loss = LabelledLoss(problem.loss, options.gamma)
        self._voxel_counts = problem.voxel_counts
        self._arguments: dict[str, Any] = {
            "channels": problem.channels,
            "classes": problem.classes,
            "filters": problem.filters,
            "dropout": options.dropout,
        }
        self.network = VNetPair(**self._arguments)

    def accompanied(self) -> tuple[VNet, ...]:
        """See `Method.accompanied`: both networks."""
        return self.network.first, self.network.second

    def losses(self, batch: Batch, moment: Moment) -> Iterator[dict[str, Tensor]]:
        """See `Method.losses`; a group for each network.

        The second one's pseudo-labels come from a pass of their own without gradient, so that the activations of one
        network alone are in memory.
        """
        assert batch.unlabelled is not None  # the loop insists, since `uses_unlabelled`
        first, second = self.network.first, self.network.second
        images = torch.cat([batch.images, batch.unlabelled])
        weight = ramp(moment.lagging, self.options.ramp_weight)
        labels = pseudo_labels(second, images)
        decoded = first.decoded(images)
        labels_of_first = likeliest(decoded.logits["main"])
        stream = Stream(images, decoded, first.decoded, batch.labels, batch.annotated, weight=0.5)
        yield {**self._losses_of_one("", stream, weight, labels), **self.plugin_losses(stream, moment)}
        del decoded, stream
        decoded = second.decoded(images)
        stream = Stream(
            images, decoded, second.decoded, batch.labels, batch.annotated, weight=0.5, name="second_"
        )
        losses = self._losses_of_one("_second", stream, weight, labels_of_first)
        yield {**losses, **self.plugin_losses(stream, moment)}

    def _losses_of_one(self, suffix: str, stream: Stream, weight: float, pseudo: Tensor) -> dict[str, Tensor]:
        assert stream.labels is not None
        assert stream.annotated is not None
        logits = stream.decoded.logits["main"]
        known = logits[: len(stream.labels)]
        crossed = cross_entropy(marginal_log_probabilities(logits, None), pseudo, self.options.gamma)
        return {
            f"labelled{suffix}": self.supervised_loss(known, stream.labels, stream.annotated),
            f"crossed{suffix}": weight * crossed,
        }

    def voxel_weights(self) -> tuple[float, ...]:
        """See `Method.voxel_weights`: those of the labelled loss's cross-entropy."""
        return self.supervised_loss.voxel_weights(self._voxel_counts)

    def inference_network(self) -> tuple[str, dict[str, Any]]:
        """See `Method.inference_network`: both networks."""
        return "vnet_pair", {**self._arguments, **self.companion_arguments()}


@torch.no_grad()
def pseudo_labels(network: VNet, images: Tensor) -> Tensor:
    """What ``network`` finds in training mode: class values ``(batch, z, y, x)`` of ``(batch, channel, z, y, x)``."""
    with kept_statistics(network):
        labels = likeliest(network(images))
    # Older torch would take this pass's 16-bit copies of the weights, which know no gradient, for the next pass, too
    # (pytorch #112583).
    torch.clear_autocast_cache()
    return labels
