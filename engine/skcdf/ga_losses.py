"""The gradient-aware losses of GALoss: small and absent classes keep their gradient (`docs/methods.md` §7).

What was not annotated is unknown here, too: see `losses`. Everything that is divided is summed over ranks first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .losses import (
    at_target,
    class_last,
    cross_entropy,
    known_cases,
    marginal_log_probabilities,
    overlap_and_size,
)
from .ranks import sum_over_ranks

EPSILON = 1e-10
GAMMA = 0.5
HARDEST = 10
"""Per cent of the voxels that the labelled loss takes."""


def ga_dice(probabilities: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
    """GADice (§7.1): mean over all classes, background included, sums taken over batch and space.

    Args:
        probabilities: ``(batch, class, …)``.
        target: class values ``(batch, …)``.
        annotated: bool ``(batch, class)``; a case counts only for the classes annotated in it, and a class that was
            annotated in none does not count.
    """
    known = known_cases(probabilities, annotated)
    overlap, size = overlap_and_size(at_target(probabilities, target), target, known)
    squares = (class_last(probabilities).square().sum(1) * known).sum(0)
    sums = torch.stack([overlap, size, squares, known.sum(0) * target[0].numel()])
    overlap, size, squares, voxels = sum_over_ranks(sums)
    present = 1 - (2 * overlap + EPSILON) / (squares + size + EPSILON)
    # Σ sg(p)·p has the value of Σ p² and half its gradient.
    absent = (squares + squares.detach()) / (2 * voxels.clamp_min(1))
    return torch.where(size > 0, present, absent)[voxels > 0].mean()


def ga_cross_entropy(
    log_probabilities: Tensor, target: Tensor, hardest: int = HARDEST, gamma: float = GAMMA
) -> Tensor:
    """GACE (§7.2): Σ_k Σ_{v kept: y_v = k} CE_v / (n_k^(1−γ) M^γ), n_k of the M kept voxels being of class k.

    Kept are the voxels of the highest CE in the batches of all ranks. Where several have the very CE at which the
    last place falls, they share the places that are left.

    Args:
        log_probabilities: ``(batch, class, …)``.
        target: class values ``(batch, …)``.
        hardest: per cent of the voxels to keep, 1 to 100.
        gamma: 1 is the mean over kept voxels, 0 the sum of the classes' own means.
    """
    if hardest == 100:
        return cross_entropy(log_probabilities, target, gamma)
    target = target.long()
    classes = log_probabilities.shape[1]
    costs = -at_target(log_probabilities, target).view_as(target)
    voxels = sum_over_ranks(torch.tensor(costs.numel(), device=costs.device))
    kept = (voxels * hardest // 100).clamp_min(1)
    limit = _largest(costs.detach().abs(), kept)
    bins = target + classes * ((costs >= limit).long() + (costs > limit))  # dropped, at the limit, kept
    counts = torch.bincount(bins.flatten(), minlength=3 * classes).view(3, classes)
    counts, kept = sum_over_ranks(counts).to(costs.dtype), kept.to(costs.dtype)
    shares = torch.ones(3, 1, dtype=costs.dtype, device=costs.device)
    shares[0] = 0
    shares[1] = (kept - counts[2].sum()) / counts[1].sum()
    sizes = (shares * counts).sum(0)
    weights = shares * torch.where(sizes > 0, sizes, 1) ** (gamma - 1) * kept**-gamma
    return sum_over_ranks((costs * weights.flatten()[bins]).sum())


@torch.no_grad()
def _largest(values: Tensor, place: Tensor) -> Tensor:
    """The value in the ``place``-th place, the largest having the first, among those of all ranks.

    Numbers that are not negative are ordered as their bits are, read as integers. So halving the interval of
    integers that holds the value finds it exactly, and ranks tell each other nothing but counts.

    Args:
        values: float32 or float64, none negative.
        place: integer, from 1 to the number of values on all ranks.
    """
    kind = torch.int64 if values.dtype == torch.float64 else torch.int32
    bits = values.contiguous().view(kind)
    low = torch.zeros((), dtype=kind, device=values.device)
    high = torch.full_like(low, torch.iinfo(kind).max)
    for _ in range(torch.iinfo(kind).bits - 1):
        middle = low + (high - low) // 2
        enough = sum_over_ranks((bits >= middle).sum()) >= place
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return low.view(values.dtype)


def ga_loss(logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
    """GACE of the hardest tenth plus GADice: the labelled loss of GALoss, in float32.

    Args:
        logits: ``(batch, class, z, y, x)``.
        target: class values ``(batch, z, y, x)``; classes not annotated do not occur.
        annotated: bool ``(batch, class)``, column 0 true; ``None``: everything was annotated.
    """
    log_probabilities = marginal_log_probabilities(logits, annotated)
    return ga_cross_entropy(log_probabilities, target) + ga_dice(log_probabilities.exp(), target, annotated)
