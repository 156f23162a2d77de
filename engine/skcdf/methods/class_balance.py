"""How often each class keeps its voxels in a balanced mask (`docs/methods.md` §4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import SkcdfError

FIRST = 4
"""The published program counts in as many entries of its labelled list, cycling through a shorter one."""


def annotated_counts(voxel_counts: np.ndarray) -> np.ndarray:
    """Mean voxels of each class over the cases in which it was annotated; 0 where it is in none of them.

    Args:
        voxel_counts: ``(case, class)``; nan where the class was not annotated.
    """
    known = np.isfinite(voxel_counts)
    return np.where(known, voxel_counts, 0).sum(0) / np.maximum(known.sum(0), 1)


def first_four_counts(voxel_counts: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Voxels of each class in the first four cases by name, as published.

    Raises:
        SkcdfError: a class is in none of them, which the published program turns into NaN.
    """
    chosen = voxel_counts[np.arange(FIRST) % len(voxel_counts)]
    counts = np.nan_to_num(chosen).sum(0)
    absent = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if absent:
        raise SkcdfError(
            f"The first {FIRST} labelled cases hold no {absent[0]}: the published class counts do not exist.",
            "Take --option class_counts=annotated, or another order of cases.",
        )
    return counts


def weights_against_background(counts: np.ndarray, power: float) -> tuple[float, ...]:
    """(n_0 / n_k)^power for every class; 1 for classes that do not occur.

    Args:
        counts: voxels of each class, background first.
        power: 1 makes all classes count alike, 0 all voxels.
    """
    ratios = np.where(counts > 0, counts[0] / np.maximum(counts, 1e-12), 1.0)
    return tuple(float(value) for value in ratios**power)


def keep_probabilities(counts: np.ndarray) -> Tensor:
    """r_k = min_j n_j / n_k over the classes that occur; 1 for the others. Float64 ``(class,)``."""
    occurs = counts > 0
    if not occurs.any():
        return torch.ones(len(counts), dtype=torch.float64)
    ratios = np.where(occurs, counts[occurs].min() / np.maximum(counts, 1e-12), 1.0)
    return torch.from_numpy(ratios)


def draw_mask(classes: Tensor, probabilities: Tensor) -> Tensor:
    """Keeps each voxel with its class's probability: bool like ``classes``.

    Args:
        classes: class values ``(batch, z, y, x)``.
        probabilities: ``(class,)``.
    """
    table = probabilities.to(classes.device, torch.float32)
    return torch.rand(classes.shape, device=classes.device) < table[classes.long()]
