"""Feature maps as tokens on a coarse grid, and back (`docs/scdl.md` §1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int, int]


def token_grid(size: Sequence[int], stride: int) -> Grid:
    """How many tokens ``(z, y, x)`` a patch of ``size`` has: one for ``stride`` voxels, or fewer at the end."""
    z, y, x = (max(1, math.ceil(side / stride)) for side in size)
    return z, y, x


def pooled_tokens(features: Tensor, grid: Grid) -> Tensor:
    """Means of a feature map over the cells of a grid.

    Args:
        features: ``(batch, channel, z, y, x)`` of any size; the cells of a size that the grid does not divide overlap.
        grid: from `token_grid`.

    Returns:
        ``(batch, token, channel)``, tokens in the order of z, y, x.
    """
    if tuple(features.shape[2:]) != grid:
        features = F.adaptive_avg_pool3d(features, grid)
    return features.flatten(2).transpose(1, 2)


def token_map(tokens: Tensor, grid: Grid) -> Tensor:
    """Tokens ``(batch, token, channel)`` laid out as a map ``(batch, channel, z, y, x)``; undoes the order above."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def class_shares(labels: Tensor, classes: int, grid: Grid) -> Tensor:
    """How much of each cell belongs to each class.

    Args:
        labels: class values ``(batch, z, y, x)``.
        classes: background included.
        grid: from `token_grid`.

    Returns:
        ``(batch, token, class)``, float32, sum 1 over classes.
    """
    shares = torch.zeros((len(labels), math.prod(grid), classes), device=labels.device)
    for value in labels.unique().tolist():  # class by class: no one-hot volume
        shares[..., int(value)] = pooled_tokens((labels == value)[:, None].float(), grid)[..., 0]
    return shares
