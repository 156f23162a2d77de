"""Everything that decides a training's outcome, beside the data: one frozen, JSON-able object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..errors import SkcdfError
from ..preprocessing import PreprocessingPlan, Shape
from ..records import FieldError, plain_record, record_from_plain


@dataclass(frozen=True)
class TrainingConfig:
    """A training's settings.

    Attributes:
        preprocessing: from scan to network input.
        patch_size: ``(z, y, x)`` voxels of a training patch, multiples of 32.
        method: a name of `methods.METHODS`.
        filters: channels of the network's first stage.
        batch_size: labelled patches an iteration; methods that use unlabelled ones take as many of those.
        iterations: optimiser steps.
        optimizer: ``sgd`` (Nesterov) or ``adamw``.
        learning_rate: at the start; it falls as (1 − t/T)^0.9.
        momentum: of SGD.
        weight_decay: L2 penalty.
        foreground_fraction: share of patches centred on a voxel of a class drawn evenly from all classes.
        mirror: left–right flips, with side-specific labels exchanged.
        augment: rotation, scaling and intensity changes.
        seed: of every random draw.
    """

    preprocessing: PreprocessingPlan
    patch_size: Shape = (64, 64, 64)
    method: str = "supervised"
    filters: int = 16
    batch_size: int = 2
    iterations: int = 1000
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 3e-5
    foreground_fraction: float = 0.75
    mirror: bool = False
    augment: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if any(side < 32 or side % 32 for side in self.patch_size):
            raise SkcdfError(
                f"Patch size {self.patch_size} does not suit the network.", "Take multiples of 32 voxels."
            )
        if self.optimizer not in ("sgd", "adamw"):
            raise SkcdfError(f"There is no optimizer called {self.optimizer}.", "Take sgd or adamw.")
        if min(self.iterations, self.batch_size, self.filters) < 1:
            raise SkcdfError("Iterations, batch size and filters must be at least 1.", "Give larger numbers.")
        rates = (
            self.learning_rate,
            self.momentum,
            1 - self.momentum,
            self.weight_decay,
            self.foreground_fraction,
        )
        if not all(0 <= rate < math.inf for rate in rates) or not 0 <= self.foreground_fraction <= 1:
            raise SkcdfError(
                "Learning rate, momentum, weight decay or foreground fraction is out of range.",
                "Give numbers of at least 0; momentum and foreground fraction of at most 1.",
            )
        if self.seed < 0:
            raise SkcdfError(f"Seed {self.seed} is negative.", "Take 0, 1, 2 …")

    def to_json(self) -> dict[str, Any]:
        """For checkpoints and bundles."""
        return plain_record(self)

    @classmethod
    def from_json(cls, content: Any, source: str) -> TrainingConfig:
        """Reads what `to_json` wrote.

        Raises:
            SkcdfError: ``content`` holds no valid settings; the message names ``source``.
        """
        try:
            return record_from_plain(cls, content, source)
        except FieldError as error:
            raise SkcdfError(
                f"{source}: not valid training settings: {error.field} {error.problem}.", "Start a new run."
            ) from error
