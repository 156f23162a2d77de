"""How long a training's steps and validations take here, measured on its own data."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..device import told_if_short
from ..progress import Progress
from ..ranks import from_first, stop_together
from .failures import too_little_to_train
from .trainer import Trainer
from .validation import validate

STEPS = 4
PATIENCE_S = 20.0
"""Steps that take longer than this together are measured no further."""
PHASE = "measure speed"


@dataclass(frozen=True)
class Rehearsal:
    """Measured times in seconds.

    Attributes:
        step: of an optimiser step, patches and augmentation included.
        validation: of all validation cases; 0 where there are none.
    """

    step: float
    validation: float


def rehearse(trainer: Trainer) -> Rehearsal:
    """Does some steps and the validation of one case for their time alone; ``trainer`` is spent afterwards.

    The steps are the training's last one, since a method may do more as it goes: half-way, pseudo-labels begin.
    All processes must call this, and all have the first one's times.

    Raises:
        Cancelled: the trainer's token was raised.
        SkcdfError: there is too little memory.
    """
    with told_if_short(lambda: too_little_to_train(trainer.config, trainer.device)):
        return _rehearsed(trainer)


def _rehearsed(trainer: Trainer) -> Rehearsal:
    trainer.method.network.train()
    validates = bool(trainer.validation and trainer.config.validations)
    total = STEPS + 1 + validates
    times: list[float] = []
    last = trainer.config.iterations - 1
    while len(times) <= STEPS and sum(times) < PATIENCE_S:
        trainer.progress(Progress(PHASE, len(times), total))
        stop_together(trainer.cancel)
        times.append(from_first(_timed(lambda: trainer.step(last, trainer.draw(last)))))
    validation = 0.0
    if validates:
        trainer.progress(Progress(PHASE, total - 1, total))
        validation = from_first(_timed(lambda: _validate_one(trainer)))
        voxels = [volume.image.size for volume in trainer.validation]
        validation *= sum(voxels) / voxels[0]
    trainer.progress(Progress(PHASE, total, total))
    return Rehearsal(float(np.median(times[1:] or times)), validation)


def _validate_one(trainer: Trainer) -> None:
    network = trainer.inference_network(trainer.current_weights())
    config = trainer.config
    validate(
        network,
        trainer.validation[:1],
        trainer.label_set,
        config.patch_size,
        trainer.device,
        cancel=trainer.cancel,
    )


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
