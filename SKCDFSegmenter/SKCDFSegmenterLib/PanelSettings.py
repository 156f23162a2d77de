"""The panel's parameters as what a run takes."""

from __future__ import annotations

from typing import Any

from .ModelCatalogue import ModelChoice
from .Teaching import TrainingSettings
from .VolumeSegmenter import SegmentationSettings


def chosenOrgans(parameters: Any, choice: ModelChoice | None) -> tuple[str, ...] | None:
    """The names of the organs wanted; empty: all; ``None``: a few are wanted, but none that the model knows.

    Args:
        parameters: the parameter node; ``None``: no scene is bound, and nothing chosen.
        choice: the model; ``None``: there is none.
    """
    if parameters is None or parameters.allOrgans:
        return ()
    known = choice.bundle.label_set.names if choice is not None else ()
    wanted = set(parameters.organs)
    chosen = tuple(name for name in known if name in wanted)
    if known and len(chosen) == len(known):
        return ()
    return chosen or None


def segmentationSettings(parameters: Any, choice: ModelChoice) -> SegmentationSettings:
    """How the panel would segment now; without an organ that is ticked, all of them.

    Args:
        parameters: the parameter node.
        choice: the model.
    """
    return SegmentationSettings(
        model=choice.reference,
        store=choice.store,
        organs=chosenOrgans(parameters, choice) or (),
        device=parameters.device,
        overlap=parameters.overlap if parameters.ownOverlap else None,
        memoryMiB=round(parameters.memoryLimitGiB * 1024) or None,
    )


def trainingSettings(parameters: Any) -> TrainingSettings:
    """How the panel would train now."""
    return TrainingSettings(
        startFrom=parameters.startFrom,
        method=parameters.method,
        preset=parameters.preset,
        timeBudgetMinutes=parameters.timeBudgetMinutes,
        device=parameters.device,
    )
