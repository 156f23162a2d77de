"""Batch norm's statistics gathered anew, or left alone, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def gathered_statistics(
    network: nn.Module,
    parts: Iterable[nn.Module],
    forward: Callable[[Tensor], object],
    patches: Iterable[Tensor],
) -> Iterator[None]:
    """Inside it, the batch statistics of ``parts`` are plain means over ``patches``, everything else as in inference.

    Afterwards ``network`` is as before: the training does not notice.

    Args:
        network: the whole.
        parts: of ``network``, whose statistics are gathered.
        forward: runs ``parts`` on one batch ``(batch, channel, z, y, x)``.
        patches: the batches.
    """
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    training = network.training
    try:
        _gather(network, _norms(parts), forward, patches)
        yield
    finally:
        network.load_state_dict(before)
        network.train(training)


@torch.no_grad()
def _gather(
    network: nn.Module,
    norms: list[nn.BatchNorm3d],
    forward: Callable[[Tensor], object],
    patches: Iterable[Tensor],
) -> None:
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        for images in patches:
            forward(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Inside it, passes in training mode leave the running statistics of ``network`` as they are."""
    norms = _norms([network])
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _norms(parts: Iterable[nn.Module]) -> list[nn.BatchNorm3d]:
    return [module for part in parts for module in part.modules() if isinstance(module, nn.BatchNorm3d)]
