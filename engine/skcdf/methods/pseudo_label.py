"""One round of pseudo-labels: half-way, the network labels the unlabelled images for good (`docs/methods.md` §8.3)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..losses import cross_entropy_and_dice, likeliest
from ..networks.vnet import VNet
from ..records import FieldError
from .base import Batch, Moment, require_share
from .plugin import Plugin, Stream
from .ramp import ramp
from .supervised import Supervised, SupervisedOptions


@dataclass(frozen=True)
class PseudoLabelOptions(SupervisedOptions):
    """Settings of `PseudoLabel`; ``gamma`` balances the cross-entropy with pseudo-labels, too.

    Attributes:
        start: when the network is copied and its copy begins to label, as a share of the training.
        ramp_weight: λ at the end of training.
    """

    start: float = 0.5
    ramp_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("start", self.start, below_one=True)
        if self.ramp_weight < 0:
            raise FieldError("ramp_weight", f"must not be negative, is {self.ramp_weight:g}")


class VNetWithLabeller(VNet):
    """The network that learns, and beside it what it once was, which labels.

    Args:
        arguments: of both V-Nets; see `VNet`.
    """

    frozen: Tensor

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.labeller = VNet(**arguments).requires_grad_(False)
        self.register_buffer("frozen", torch.zeros((), dtype=torch.int64))
        self.train(self.training)

    def train(self, mode: bool = True) -> VNetWithLabeller:
        """The labeller is always as in inference, so that what it finds depends on no other image."""
        super().train(mode)
        self.labeller.eval()
        return self

    def copy_companion(self) -> None:
        """Gives the labeller a companion like the network's, to be frozen with the rest."""
        self.labeller.companion = copy.deepcopy(self.companion)
        self.labeller.requires_grad_(False).eval()

    @torch.no_grad()
    def freeze(self) -> None:
        """Makes the labeller what the network is now, if that was not done before."""
        if not int(self.frozen):
            own = self.state_dict()
            self.labeller.load_state_dict({name: own[name] for name in self.labeller.state_dict()})
            self.frozen.fill_(1)

    @torch.no_grad()
    def labels(self, images: Tensor) -> Tensor:
        """What the labeller finds: class values ``(batch, z, y, x)`` in ``images`` ``(batch, channel, z, y, x)``."""
        return likeliest(self.labeller(images))


class PseudoLabel(Supervised):
    """Supervised to begin with; then the network goes on with the labels of its copy as well."""

    Options: ClassVar[type[Any]] = PseudoLabelOptions
    Network: ClassVar[type[VNet]] = VNetWithLabeller
    uses_unlabelled = True
    options: PseudoLabelOptions
    network: VNetWithLabeller

    def plug(self, plugin: Plugin) -> None:
        """See `Method.plug`; the labeller gets a companion, too, if it has a say in the logits."""
        super().plug(plugin)
        if self.companion_arguments():
            self.network.copy_companion()

    def losses(self, batch: Batch, moment: Moment) -> Iterator[dict[str, Tensor]]:
        """See `Method.losses`; both by name from the first step on, the unlabelled one 0 at first."""
        start, early = self.options.start, moment.progress < self.options.start
        assert batch.unlabelled is not None  # the loop insists, since `uses_unlabelled`
        images = batch.images if early else torch.cat([batch.images, batch.unlabelled])
        labels = None if early else self._labels(batch.unlabelled)
        decoded = self.network.decoded(images)
        known, unknown = decoded.logits["main"].tensor_split([len(batch.images)])
        labelled = self.supervised_loss(known, batch.labels, batch.annotated)
        unlabelled = torch.zeros_like(labelled)
        if labels is not None:
            weight = ramp((moment.progress - start) / (1 - start), self.options.ramp_weight)
            unlabelled = weight * cross_entropy_and_dice(unknown, labels, gamma=self.options.gamma)
        stream = Stream(images, decoded, self.network.decoded, batch.labels, batch.annotated)
        yield {"labelled": labelled, "unlabelled": unlabelled, **self.plugin_losses(stream, moment)}

    def _labels(self, images: Tensor) -> Tensor:
        self.network.freeze()
        return self.network.labels(images)

    def inference_keys(self) -> tuple[str, ...]:
        """See `Method.inference_keys`: the network without the one that labels."""
        unneeded = {"frozen"} if self.companion_arguments() else {"frozen", *self.companion_keys()}
        names = self.network.state_dict()
        return tuple(name for name in names if not name.startswith("labeller.") and name not in unneeded)

    def kept(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Method.kept`: not those of the network that labels."""
        return {name: weights[name] for name in self.inference_keys()}
