"""Data-parallel training in the arithmetic of losses: sums over the processes that ``torchrun`` started.

Losses are quotients of sums. What is divided must first be summed over all ranks, or N processes would optimise the
mean of N quotients, which is another loss. Every rank then holds the same loss; its gradient, averaged over ranks as
DistributedDataParallel does, is that of one process with all patches.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def sum_over_ranks(values: Tensor) -> Tensor:
    """``values`` summed over all ranks, differentiable; ``values`` itself in a single process.

    Every rank must call it in the same order with the same shape.
    """
    if world_size() == 1:
        return values
    summed: Tensor = _Sum.apply(values)
    return summed
