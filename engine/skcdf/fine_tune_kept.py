"""What a fine-tuning kept: weights of a step of it, or those of its start, where no step was better on validation.

Importable without torch: the panel reads from a run's files what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .fine_tune_start import Parent
    from .trainer import Trainer

Kept = Literal["training", "start", "converted start"]
"""``training``: weights that were trained. ``start``: the parent itself, which makes no new model. ``converted
start``: the parent as another method has it, untrained."""


def what_was_kept(trainer: Trainer) -> Kept:
    """What a training that has ended kept.

    Args:
        trainer: after its run. One that starts from a model validates the start before its first step
            (`docs/fine-tuning.md` §2), so that the best validation may be that one.
    """
    start, best = trainer.start, trainer.state.best
    if start is None or best is None or best[0] > 0:
        return "training"
    return "start" if start.faithful else "converted start"


def nothing_gained(kept: Kept, trainer: Trainer, parent: Parent) -> str:
    """What a user must know of a training that kept its start: why, what the outcome is, and what to do.

    Args:
        kept: not ``training``.
        trainer: after its run.
        parent: what it started from.
    """
    first, *later = (f"{dice:.3f}" for _, dice, _ in trainer.state.validations)
    figures = f"mean Dice {first}" + (f", later {max(later)} at best" if later else "")
    outcome = f"{parent.title} itself"
    if kept == "converted start":
        before, now = parent.bundle.training.method, trainer.config.method
        change = "with other parts" if before == now else f"changed from method {before} to {now}"
        outcome = f"{parent.title}, {change} and not trained"
    return (
        f"NOTHING GAINED: no step of this training ({trainer.state.iteration} in all) was better on the validation "
        f"cases than its start ({figures}), so the start was kept: {outcome}. Keep the old model. A model gets worse "
        "at first while it learns: more corrected cases and a longer training may help."
    )
