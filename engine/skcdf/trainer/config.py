"""Everything that decides a training's outcome, beside the data: one frozen, JSON-able object."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..errors import SkcdfError
from ..methods import Compat, LossName, Method, Moment, Problem, build_method, method_options
from ..plugins import NONE, build_plugin, plugin_options
from ..preprocessing import PreprocessingPlan, Shape
from ..records import FieldError, plain_record, record_from_plain

Sampling = Literal["balanced", "published"]
Augmentation = Literal["standard", "published", "none"]


@dataclass(frozen=True)
class TrainingConfig:
    """A training's settings.

    Attributes:
        preprocessing: from scan to network input.
        patch_size: ``(z, y, x)`` voxels of a training patch, multiples of 32.
        method: a name of `methods.METHODS`.
        compat: which face of the method: ``corrected``, or ``published`` as the authors' program computes it.
        method_options: the method's own settings that differ from that face's, by name.
        loss: of labelled patches: ``ce_dice``, cross-entropy plus Dice, or ``ga``, the gradient-aware losses.
        plugin: a name of `plugins.PLUGINS`, or ``none``; it has the same face as the method.
        plugin_options: as ``method_options``, of the plug-in; ``preset`` chooses several together.
        filters: channels of the network's first stage.
        batch_size: labelled patches a step and process.
        unlabelled_batch_size: unlabelled patches a step and process, for methods that use them.
        accumulate: a step's gradient is the mean over this many such batches.
        iterations: optimiser steps.
        warm_up: during so many steps the learning rate of weights that carry over from another model rises from 0,
            while fresh parts have all of it (`docs/fine-tuning.md`); without such weights it changes nothing.
        epoch_length: learning rate and ramps change only so often, one epoch late, as in the published programs
            (`docs/methods.md` §5); ``None``: at every step.
        optimizer: ``sgd`` (Nesterov) or ``adamw``.
        learning_rate: at the start; it falls as (1 − t/T)^0.9.
        momentum: of SGD.
        weight_decay: L2 penalty.
        gradient_limit: largest norm of the gradient; ``None``: any.
        sampling: ``balanced``: see ``foreground_fraction``; ``published``: every case once an epoch, anywhere in it.
        foreground_fraction: share of patches centred on a voxel of a class drawn evenly from all classes.
        augmentation: ``standard``: rotation, scaling and intensity changes; ``published``: flips of both axes
            across the body with labels left as they are, so that sides are mixed up; ``none``.
        mirror: left–right flips, with side-specific labels exchanged.
        surroundings: paint couch, head-rest and air noise round the body in every training patch of a CT whose
            outside is one value (`trainer/surroundings.py`); labels stay, and validation cases are never changed.
        validations: how often the validation cases are segmented on the way, evenly spread; the best weights are
            kept. 0: never, the last weights are kept.
        patience: end the training after so many validations without a better one; ``None``: never.
        seed: of every random draw.
    """

    preprocessing: PreprocessingPlan
    patch_size: Shape = (64, 64, 64)
    method: str = "supervised"
    compat: Compat = "corrected"
    method_options: dict[str, Any] = field(default_factory=dict)
    loss: LossName = "ce_dice"
    plugin: str = NONE
    plugin_options: dict[str, Any] = field(default_factory=dict)
    filters: int = 16
    batch_size: int = 2
    unlabelled_batch_size: int = 2
    accumulate: int = 1
    iterations: int = 1000
    warm_up: int = 0
    epoch_length: int | None = None
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 3e-5
    gradient_limit: float | None = 12.0
    sampling: Sampling = "balanced"
    foreground_fraction: float = 0.75
    augmentation: Augmentation = "standard"
    mirror: bool = False
    surroundings: bool = False
    validations: int = 10
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if any(side < 32 or side % 32 for side in self.patch_size):
            raise SkcdfError(
                f"Patch size {self.patch_size} does not suit the network.", "Take multiples of 32 voxels."
            )
        if self.optimizer not in ("sgd", "adamw"):
            raise SkcdfError(f"There is no optimizer called {self.optimizer}.", "Take sgd or adamw.")
        counts = (self.iterations, self.batch_size, self.unlabelled_batch_size, self.accumulate, self.filters)
        if min(*counts, 1 if self.epoch_length is None else self.epoch_length) < 1:
            raise SkcdfError(
                "Iterations, batch sizes, accumulation, epoch length and filters must be at least 1.",
                "Give larger numbers.",
            )
        if self.warm_up < 0:
            raise SkcdfError(f"A warm-up of {self.warm_up} steps cannot be.", "Take 0, or a positive number.")
        if self.validations < 0 or (self.patience is not None and self.patience < 1):
            raise SkcdfError(
                "The number of validations must not be negative, and patience at least 1.",
                "Give larger numbers.",
            )
        rates = (
            self.learning_rate,
            self.momentum,
            1 - self.momentum,
            self.weight_decay,
            self.gradient_limit or 0.0,
            self.foreground_fraction,
        )
        if not all(0 <= rate < math.inf for rate in rates) or not 0 <= self.foreground_fraction <= 1:
            raise SkcdfError(
                "Learning rate, momentum, weight decay, gradient limit or foreground fraction is out of range.",
                "Give numbers of at least 0; momentum and foreground fraction of at most 1.",
            )
        if self.mirror and self.augmentation == "published":
            raise SkcdfError(
                "Side-aware flips and the published flips exclude each other.", "Leave out --mirror."
            )
        if self.surroundings and self.preprocessing.intensity.kind != "window":
            raise SkcdfError(
                "A couch can be painted only into CT scans whose intensities keep their meaning in HU.",
                "Leave out --surroundings: it is neither for MR nor for the published recipe.",
            )
        if not 0 <= self.seed < 2**63:
            raise SkcdfError(f"Seed {self.seed} is negative or too large.", "Take 0, 1, 2 …")
        if self.loss not in get_args(LossName):
            names = ", ".join(get_args(LossName))
            raise SkcdfError(f"There is no loss called {self.loss}.", f"Take one of {names}.")
        method_options(self.method, self.compat, self.method_options)
        plugin_options(self.plugin, self.compat, self.plugin_options)

    def build_method(self, problem: Problem) -> Method:
        """The method with its plug-in, freshly initialised."""
        plugin = build_plugin(self.plugin, problem, self.compat, self.plugin_options)
        return build_method(self.method, problem, self.compat, self.method_options, plugin)

    def moment(self, iteration: int) -> Moment:
        """Where the training stands before optimiser step ``iteration``, counted from 0."""
        if self.epoch_length is None:
            return Moment(iteration / self.iterations, iteration / self.iterations)
        epoch = iteration // self.epoch_length
        last = max(1, math.ceil(self.iterations / self.epoch_length) - 1)
        return Moment(epoch / last, max(0, epoch - 1) / last)

    def is_validated(self, iteration: int) -> bool:
        """Whether the validation cases are segmented after ``iteration`` steps."""
        done, before = (each * self.validations // self.iterations for each in (iteration, iteration - 1))
        return iteration > 0 and done > before

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
