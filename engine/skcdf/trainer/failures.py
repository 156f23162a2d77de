"""What a person is told whose training cannot go on."""

from __future__ import annotations

from pathlib import Path

from ..device import Device
from ..errors import SkcdfError
from ..methods import method_class
from .config import TrainingConfig


def too_little_to_train(config: TrainingConfig, device: Device, checkpoint: Path | None = None) -> SkcdfError:
    """For `told_if_short`, with whatever needs less.

    Args:
        config: the settings whose step was too large.
        device: where it was computed.
        checkpoint: of the run, where it has begun.
    """
    unlabelled = config.unlabelled_batch_size if method_class(config.method).uses_unlabelled else 0
    patches, size = config.batch_size + unlabelled, " x ".join(map(str, config.patch_size))
    ways = {
        "Close other programs": True,
        "take --batch-size 1": config.batch_size > 1,
        "take --unlabelled-batch-size 1": unlabelled > 1,
        "take a smaller --patch-size": max(config.patch_size) > 32,
        "take --device cpu": device.name != "cpu",
    }
    hint = f"{', or '.join(way for way, helps in ways.items() if helps)}."
    if checkpoint is not None and checkpoint.exists():
        hint += " The last checkpoint is kept; other sizes need another folder."
    return SkcdfError(
        f"There is too little memory to train with {patches} patch{'es' * (patches != 1)} of {size} voxels at once.",
        hint,
    )


def not_a_number(what: str, iteration: int) -> SkcdfError:
    """Of a training that diverges."""
    return SkcdfError(
        f"The {what} of iteration {iteration} is not a number.",
        "Lower the learning rate, or train with --precision fp32. The last checkpoint is kept.",
    )
