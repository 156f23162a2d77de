"""Figures that a training tells while it runs: points of its curves, and how it weighs its classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CurvePoint:
    """One point of the curves.

    Attributes:
        iteration: optimiser steps done.
        loss: mean since the point before; ``None`` where the point tells of a validation alone.
        parts: the loss's parts by name; their sum is ``loss``.
        dice: mean Dice over the organs of the validation cases, if they were segmented now.
        organs: Dice of every organ, ``None`` where it was not counted.
    """

    iteration: int
    loss: float | None = None
    parts: Mapping[str, float] | None = None
    dice: float | None = None
    organs: Mapping[str, float | None] | None = None


@dataclass(frozen=True)
class ClassBalance:
    """How a method makes up for organs of unequal size (`docs/methods.md` §4).

    Attributes:
        names: of the organs, by value.
        voxels: mean voxels of each in the labelled cases, at the training's spacing.
        weights: how much one voxel of it counts against one voxel of background.
    """

    names: Sequence[str]
    voxels: Sequence[float]
    weights: Sequence[float]


TrainingFigures = CurvePoint | ClassBalance
Observer = Callable[[TrainingFigures], None]


def ignore_figures(_figures: TrainingFigures) -> None:
    """Takes figures and does nothing with them."""


def curve_points(history: Sequence[Sequence[Any]], validations: Sequence[Sequence[Any]]) -> list[CurvePoint]:
    """The points of a training that goes on, by iteration; arguments as in `TrainingState`."""
    points = [CurvePoint(int(i), float(loss), dict(parts)) for i, loss, parts in history]
    points += [CurvePoint(int(i), dice=float(dice), organs=dict(organs)) for i, dice, organs in validations]
    return sorted(points, key=lambda point: point.iteration)
