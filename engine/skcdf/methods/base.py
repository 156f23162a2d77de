"""What the training loop and a training method agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One iteration's patches, on the training device.

    Attributes:
        images: labelled patches ``(batch, channel, z, y, x)``, float32.
        labels: their class values ``(batch, z, y, x)``.
        annotated: bool ``(batch, class)``: classes annotated in the case a patch came from.
        unlabelled: patches without labels ``(batch, channel, z, y, x)``; ``None`` for methods that take none.
    """

    images: Tensor
    labels: Tensor
    annotated: Tensor
    unlabelled: Tensor | None = None


class Method(Protocol):
    """A training method: a network and the loss of one iteration.

    Args:
        channels: input channels.
        classes: output classes, background included.
        filters: channels of the network's first stage.

    A method is one file here and one entry in `methods.METHODS`; the loop (`trainer.Trainer`) does the rest:
    sampling, augmentation, precision, optimiser, schedule, checkpoints.
    """

    uses_unlabelled: ClassVar[bool]
    """Whether batches need unlabelled patches."""

    network: nn.Module
    """Everything trainable. Its state dict is what checkpoints and bundles hold."""

    def __init__(self, *, channels: int, classes: int, filters: int) -> None: ...

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Runs the network on ``batch``.

        Args:
            batch: the patches.
            progress: fraction of the training that is done, 0 to 1, for ramps.

        Returns:
            Named scalar losses; the loop minimises their sum.
        """
        ...

    def inference_network(self) -> tuple[str, dict[str, object]]:
        """Registry name and arguments of the network that a bundle needs for inference."""
        ...
