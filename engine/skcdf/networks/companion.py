"""A module that a plug-in hangs beside a decoder: it sees the decoder's features and may change its logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .vnet import Decoder, Head

PREFIX = "companion."
"""Of a companion's tensors within its network's state dict."""


@dataclass(frozen=True)
class Decoded:
    """What a decoder makes of an encoder's features.

    Attributes:
        features: x1 … x5 as the decoder got them, ``(batch, channel, z, y, x)`` each.
        last: its last feature map x9 ``(batch, filters, z, y, x)``, on which the heads sit.
        logits: by head, ``(batch, class, z, y, x)``; refined where a companion does so.
        noted: what the companion keeps for its losses, by name; the first axis is that of the images.
        companion: who noted it.
    """

    features: Sequence[Tensor]
    last: Tensor
    logits: dict[str, Tensor]
    noted: dict[str, Tensor] = field(default_factory=dict)
    companion: Companion | None = field(default=None, repr=False)

    def of(self, images: slice) -> Decoded:
        """What was made of some of the images."""
        return Decoded(
            [each[images] for each in self.features],
            self.last[images],
            {head: each[images] for head, each in self.logits.items()},
            {name: each[images] for name, each in self.noted.items()},
            self.companion,
        )


class Companion(nn.Module):
    """Decodes in place of the bare decoder. Its tensors are part of the network's state dict, under `PREFIX`."""

    optimizer: Mapping[str, float]
    """``lr`` at the start and ``weight_decay`` of its own parameters; what is missing is the training's."""

    def __init__(self) -> None:
        super().__init__()
        self.optimizer = {}

    def forward(self, decoder: Decoder, features: Sequence[Tensor], heads: Sequence[str] | None) -> Decoded:
        """See `Accompanied.decode`."""
        raise NotImplementedError


class Borrowed(Companion):
    """Another network's companion: used, but neither trained nor kept twice."""

    def __init__(self, companion: Companion) -> None:
        super().__init__()
        self._lender = (companion,)  # a tuple hides it from torch

    def forward(self, decoder: Decoder, features: Sequence[Tensor], heads: Sequence[str] | None) -> Decoded:
        """See `Accompanied.decode`."""
        decoded: Decoded = self._lender[0](decoder, features, heads)
        return decoded


class Accompanied(nn.Module):
    """A network whose decoders a companion may accompany."""

    companion: Companion | None

    def __init__(self) -> None:
        super().__init__()
        self.companion = None

    def path(self, image: Tensor) -> tuple[Decoder, list[Tensor]]:
        """The decoder that segments, and the features x1 … x5 of ``image`` that it is given."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(batch, class, z, y, x)`` of ``image`` ``(batch, channel, z, y, x)``, of the main head."""
        decoder, features = self.path(image)
        if self.training or self.companion is not None or torch.is_grad_enabled():
            return self.decode(decoder, features, ("main",)).logits["main"]
        return decoder.main_head(decoder.used_up(features))

    def unclassified(self, image: Tensor) -> tuple[Tensor, Head] | None:
        """The last feature map and the head that logits are made of, in evaluation and without gradients.

        ``None`` where they are made otherwise: by a companion, or by a network that has a ``forward`` of its own.
        """
        if self.companion is not None or type(self).forward is not Accompanied.forward:
            return None
        decoder, features = self.path(image)
        return decoder.used_up(features), decoder.main_head

    def decode(
        self, decoder: Decoder, features: Sequence[Tensor], heads: Sequence[str] | None = None
    ) -> Decoded:
        """Features x1 … x5 to logits, by way of the companion where there is one.

        Args:
            decoder: one of the network's.
            features: of its encoder.
            heads: whose logits are wanted; ``None``: of every head.
        """
        if self.companion is not None:
            decoded: Decoded = self.companion(decoder, features, heads)
            return decoded
        last = decoder.decode(features)
        return Decoded(features, last, decoder.classify(last, heads))


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Context in which everything is computed in the precision of its inputs."""
    if device.type in ("cpu", "cuda"):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()  # torch 2.2 knows no autocast for other devices, not even a disabled one
