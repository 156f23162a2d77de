"""The processes that ``torchrun`` started: joining them, sums over them, agreement (`docs/distributed.md`).

Losses are quotients of sums. What is divided must first be summed over all ranks, or N processes would optimise the
mean of N quotients, which is another loss. Every rank then holds the same loss; its gradient, averaged over ranks as
DistributedDataParallel does, is that of one process with all patches.

Every function that talks to the other ranks must be called by all of them, in the same order. In a single process
they all do nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from .errors import Cancelled, SkcdfError
from .launch import Launch, launched
from .progress import CancelToken

Value = TypeVar("Value")
PATIENCE = timedelta(hours=1)
"""How long a rank waits for another that neither comes nor ends: longer than planning on a large data set."""


def world_size() -> int:
    """Number of processes that have joined."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@contextmanager
def joined(device: str, precision: str, advice: str, patience: timedelta = PATIENCE) -> Iterator[None]:
    """Inside it, the processes that ``torchrun`` started work together.

    Args:
        device: where this process computes: ``cpu`` or ``cuda``.
        precision: in which precision; all ranks must have the same.
        advice: what the user can do when a process has ended.
        patience: how long to wait for a rank that neither comes nor ends. One that ends is noticed at once.

    Raises:
        SkcdfError: ``device`` cannot be used by several processes, or another process ended or cannot be reached.
    """
    launch = launched()
    if launch.processes == 1:
        yield
        return
    backend = _backend(device, launch)
    try:
        dist.init_process_group(backend, timeout=patience)
        require_same("device or precision", (device, precision), "Give --device and --precision.")
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise SkcdfError(
            f"Process {launch.rank} of {launch.processes} lost the others: one ended or cannot be reached.",
            f"Look above for that one's own message. {advice}",
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _backend(device: str, launch: Launch) -> str:
    if not dist.is_available() or not dist.is_gloo_available():
        raise SkcdfError("This torch cannot connect processes.", "Start the command without torchrun.")
    if device == "cpu":
        return "gloo"
    if device != "cuda":
        raise SkcdfError(f"Several processes cannot share device {device}.", "Give --device cpu.")
    if launch.local_processes > torch.cuda.device_count():
        raise SkcdfError(
            f"{launch.local_processes} processes train here, and there are {torch.cuda.device_count()} GPUs.",
            "Start one process for each GPU, or give --device cpu.",
        )
    return "cpu:gloo,cuda:nccl"


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

    Every rank must give the same shape.
    """
    if world_size() == 1:
        return values
    summed: Tensor = _Sum.apply(values)
    return summed


def gathered(value: Value) -> list[Value]:
    """What every rank gave, by rank; any object that can be pickled."""
    values = [value] * world_size()
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def from_first(value: Value) -> Value:
    """What rank 0 gave."""
    box = [value]
    if world_size() > 1:
        dist.broadcast_object_list(box)
    return box[0]


def require_same(what: str, value: object, hint: str) -> None:
    """Raises `SkcdfError` on every rank unless all gave an equal ``value``."""
    values = gathered(value)
    other = next((index for index, each in enumerate(values) if each != values[0]), None)
    if other is not None:
        raise SkcdfError(f"Process {other} of {len(values)} has another {what} than process 0.", hint)


def stop_together(cancel: CancelToken) -> None:
    """Raises `Cancelled` on every rank when the token of any was raised."""
    try:
        cancel.raise_if_cancelled()
        stopped = False
    except Cancelled:
        stopped = True
    if any_rank(stopped):
        raise Cancelled


def any_rank(flag: bool) -> bool:
    """Whether any rank's ``flag`` is true."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags)
