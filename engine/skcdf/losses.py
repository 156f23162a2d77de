"""Cross-entropy and soft Dice over the classes that were annotated (`docs/methods.md` §4).

A class that was not annotated in a case is unknown there. Its probability is added to that of background (marginal
form), so that "background" in the label map asks for "background or any class that was not annotated", and the
class takes no part in that case's Dice.

Everything that is divided is summed over ranks first (`ranks`).

Computed with the classes last, as heads write them (`networks.vnet.Head`): softmax and sums then read memory from one
end to the other, and need no copy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .ranks import sum_over_ranks

SMOOTH = 1.0


def marginal_log_probabilities(logits: Tensor, annotated: Tensor | None) -> Tensor:
    """Log-probabilities in which background stands for itself and every class that was not annotated.

    Args:
        logits: ``(batch, class, …)``.
        annotated: bool ``(batch, class)``, column 0 true; ``None``: everything was annotated.

    Returns:
        Tensor like ``logits``, at least float32; −inf for classes that were not annotated.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    scores = logits.movedim(1, -1)
    if annotated is not None and not bool(annotated.all()):
        known = annotated.reshape(len(annotated), *[1] * (logits.dim() - 2), -1)
        merged = ~known
        merged[..., 0] = True
        background = torch.logsumexp(scores.masked_fill(~merged, -torch.inf), -1, keepdim=True)
        others = scores[..., 1:].masked_fill(~known[..., 1:], -torch.inf)
        scores = torch.cat([background, others], -1)
    return F.log_softmax(scores, -1).movedim(-1, 1)


def class_last(volumes: Tensor) -> Tensor:
    """``(batch, class, …)`` as ``(batch, voxel, class)``, without a copy."""
    return volumes.movedim(1, -1).flatten(1, -2)


def at_target(volumes: Tensor, target: Tensor) -> Tensor:
    """Of ``(batch, class, …)`` the entries of the class that ``target`` ``(batch, …)`` names: ``(batch, voxel)``."""
    return class_last(volumes).gather(2, target.flatten(1).long()[..., None])[..., 0]


def likeliest(logits: Tensor) -> Tensor:
    """Class values ``(batch, z, y, x)``, without gradient, of ``(batch, class, z, y, x)``."""
    return logits.detach().movedim(1, -1).max(-1).indices  # torch's argmax takes up to four times as long


def soft_dice_loss(probabilities: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
    """1 − mean over foreground classes of the soft Dice, sums taken over batch and space.

    dc_k = (2 TP_k + 1) / (2 TP_k + FP_k + FN_k + 1): the denominator is Σp_k + Σt_k + 1.

    Args:
        probabilities: ``(batch, class, …)``.
        target: class values ``(batch, …)``.
        annotated: bool ``(batch, class)``; a case counts only for the classes annotated in it.
    """
    hits = at_target(probabilities, target)
    return _dice_loss(sum_over_ranks(_dice_sums(probabilities, hits, target, annotated)))


def _dice_sums(probabilities: Tensor, hits: Tensor, target: Tensor, annotated: Tensor | None) -> Tensor:
    """Rows Σ p·t, Σ p + Σ t, and how many cases know the class: ``(3, class)``; ``hits`` from `at_target`."""
    known = known_cases(probabilities, annotated)
    overlap, size = overlap_and_size(hits, target, known)
    return torch.stack([overlap, (class_last(probabilities).sum(1) * known).sum(0) + size, known.sum(0)])


def known_cases(probabilities: Tensor, annotated: Tensor | None) -> Tensor:
    """1 where a case counts for a class, else 0: ``(batch, class)`` of the type of ``probabilities``."""
    if annotated is None:
        return probabilities.new_ones(probabilities.shape[:2])
    return annotated.to(probabilities.dtype)


def overlap_and_size(hits: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Σ p·t and Σ t of every class ``(class,)`` on this rank, without one-hot volumes.

    Args:
        hits: p at the target, ``(batch, voxel)``; see `at_target`.
        target: class values ``(batch, …)``.
        known: see `known_cases`.
    """
    batch, classes = known.shape
    # One bin per (case, class) instead of one-hot volumes: the peak stays at one copy of the probabilities.
    bins = target.flatten(1).long() + classes * torch.arange(batch, device=target.device)[:, None]
    # A million float32 additions one after the other lose the fifth digit; Apple's GPUs know no float64.
    exact = torch.float32 if hits.device.type == "mps" else torch.float64
    overlap = hits.new_zeros(batch * classes, dtype=exact).index_add(
        0, bins.flatten(), hits.flatten().to(exact)
    )
    size = torch.bincount(bins.flatten(), minlength=batch * classes).to(hits.dtype)
    overlap, size = ((x.view(batch, classes) * known).sum(0) for x in (overlap.to(hits.dtype), size))
    return overlap, size


def _dice_loss(sums: Tensor) -> Tensor:
    overlap, total, cases = sums
    dice = (2 * overlap + SMOOTH) / (total + SMOOTH + 1e-8)
    seen = cases > 0
    seen[0] = False
    return 1 - dice[seen].mean() if bool(seen.any()) else sums.sum() * 0


def cross_entropy(log_probabilities: Tensor, target: Tensor, gamma: float = 1.0) -> Tensor:
    """Σ_k Σ_{v: y_v = k} CE_v / (n_k^(1−γ) M^γ), with n_k voxels of class k among M in all (`docs/methods.md` §4).

    Args:
        log_probabilities: ``(batch, class, …)``.
        target: class values ``(batch, …)``.
        gamma: 1 is the mean over voxels, 0 the sum of the classes' own means.
    """
    return _cross_entropy(at_target(log_probabilities, target), target, log_probabilities.shape[1], gamma)


def _cross_entropy(hits: Tensor, target: Tensor, classes: int, gamma: float) -> Tensor:
    """`cross_entropy` from log-probabilities at the target (`at_target`)."""
    target = target.flatten(1).long()
    counts = sum_over_ranks(torch.bincount(target.flatten(), minlength=classes).to(hits.dtype))
    voxels = counts.sum().clamp_min(1)
    weights = counts.clamp_min(1) ** (gamma - 1) * voxels**-gamma
    return sum_over_ranks(-(weights[target] * hits).sum())


def cross_entropy_and_dice(
    logits: Tensor, target: Tensor, annotated: Tensor | None = None, gamma: float = 1.0
) -> Tensor:
    """ℓ(z, y) of `docs/methods.md` §4: voxel cross-entropy plus soft Dice, in float32.

    Args:
        logits: ``(batch, class, z, y, x)``.
        target: class values ``(batch, z, y, x)``; classes not annotated do not occur.
        annotated: bool ``(batch, class)``, column 0 true; ``None``: everything was annotated.
        gamma: balance of the cross-entropy between classes; 1: none.
    """
    log_probabilities = marginal_log_probabilities(logits, annotated)
    hits = at_target(log_probabilities, target)
    entropy = _cross_entropy(hits, target, logits.shape[1], gamma)
    dice = _dice_sums(log_probabilities.exp(), hits.exp(), target, annotated)
    return entropy + _dice_loss(sum_over_ranks(dice))


def loss_of_selected(logits: Tensor, target: Tensor, keep: Tensor, annotated: Tensor | None = None) -> Tensor:
    """ℓ over the voxels that ``keep`` selects, and no others; 0 where it selects none.

    Args:
        logits: ``(batch, class, z, y, x)``.
        target: class values ``(batch, z, y, x)``.
        keep: bool like ``target``.
        annotated: bool ``(batch, class)``, column 0 true; ``None``: everything was annotated.
    """
    entropy = logits.new_zeros((), dtype=torch.float32)
    dice = entropy.new_zeros(3, logits.shape[1])
    counts = keep.flatten(1).sum(1).tolist()
    kept = class_last(logits).flatten(0, 1).index_select(0, keep.flatten().nonzero()[:, 0])  # voxel, class
    for index, (scores, values) in enumerate(
        zip(kept.split(counts), target[keep].split(counts), strict=True)
    ):
        known = None if annotated is None else annotated[index, None]
        log_probabilities = marginal_log_probabilities(scores.t()[None], known)
        hits = at_target(log_probabilities, values[None])
        entropy = entropy - hits.sum()
        dice = dice + _dice_sums(log_probabilities.exp(), hits.exp(), values[None], known)
    voxels = sum_over_ranks(keep.sum().to(entropy.dtype))
    return sum_over_ranks(entropy) / voxels.clamp_min(1) + _dice_loss(sum_over_ranks(dice))


def loss_of_masked(logits: Tensor, target: Tensor, keep: Tensor, annotated: Tensor | None = None) -> Tensor:
    """ℓ(m·z, m·y): the published form, in which dropped voxels count as background of uniform probability.

    Args:
        logits, target, keep, annotated: as in `loss_of_selected`.
    """
    return cross_entropy_and_dice(logits * keep[:, None], target * keep, annotated)
