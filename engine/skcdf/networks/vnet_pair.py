"""Two V-Nets that learnt from each other and segment together (`docs/methods.md` §8.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .vnet import VNet


class VNetPair(nn.Module):
    """Two V-Nets of the same shape and different initial weights.

    Args:
        channels, classes, filters, dropout: of both; see `VNet`.
    """

    def __init__(self, channels: int, classes: int, filters: int = 16, dropout: float = 0.5) -> None:
        super().__init__()
        self.first = VNet(channels, classes, filters, dropout)
        self.second = VNet(channels, classes, filters, dropout)
        _initialize_otherwise(self.first)

    def forward(self, image: Tensor) -> Tensor:
        """The mean of both logits ``(batch, class, z, y, x)`` of ``image`` ``(batch, channel, z, y, x)``."""
        logits: Tensor = self.first(image)
        return (logits + self.second(image)) / 2


def _initialize_otherwise(network: nn.Module) -> None:
    """Kaiming-normal weights for every ``Conv3d``, where a V-Net has Xavier-normal ones."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight)
