"""The panel's parameters as what a run takes."""

from __future__ import annotations

from typing import Any

from .ModelCatalogue import ModelChoice
from .Teaching import TrainingSettings
from .VolumeSegmenter import SegmentationSettings


def segmentationSettings(parameters: Any, choice: ModelChoice) -> SegmentationSettings:
    """How the panel would segment now.

    Args:
        parameters: the parameter node.
        choice: the model.
    """
    return SegmentationSettings(
        model=choice.reference,
        store=choice.store,
        organs=() if parameters.allOrgans else tuple(parameters.organs),
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
