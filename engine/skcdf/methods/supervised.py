"""Plain supervised training: the floor that semi-supervised methods must beat."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from ..losses import cross_entropy_and_dice
from ..networks import build_network
from .base import Batch

GAMMA = 0.5
"""Balance of the cross-entropy: with the plain mean, classes of 1 voxel in 7000 are never found."""


class Supervised:
    """Cross-entropy plus soft Dice of one V-Net on the labelled patches alone.

    Args:
        channels: input channels.
        classes: output classes, background included.
        filters: channels of the V-Net's first stage.
        dropout: channel dropout of the V-Net.
    """

    uses_unlabelled: ClassVar[bool] = False

    def __init__(self, *, channels: int, classes: int, filters: int, dropout: float = 0.0) -> None:
        self._arguments: dict[str, object] = {
            "channels": channels,
            "classes": classes,
            "filters": filters,
            "dropout": dropout,
        }
        self.network: nn.Module = build_network("vnet", self._arguments)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`; one loss called ``supervised``."""
        logits = self.network(batch.images)
        return {"supervised": cross_entropy_and_dice(logits, batch.labels, batch.annotated, GAMMA)}

    def inference_network(self) -> tuple[str, dict[str, object]]:
        """See `Method.inference_network`."""
        return "vnet", self._arguments
