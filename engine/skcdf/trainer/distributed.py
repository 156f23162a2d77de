"""A training step by several processes: shared batch statistics, all losses in one forward (`docs/distributed.md`)."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..device import Device
from ..methods import Batch, Method, Moment
from ..ranks import sum_over_ranks

SPACE = (0, 2, 3, 4)


class GpuBatchNorm3d(nn.SyncBatchNorm, nn.BatchNorm3d):
    """Torch's own; a `BatchNorm3d` as well, so that methods which look for those find it."""


class CpuBatchNorm3d(nn.BatchNorm3d):
    """What `nn.SyncBatchNorm` is on GPUs: in training mode, mean and variance are those of all ranks' patches."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalised ``images`` ``(batch, channel, z, y, x)``, in their own precision."""
        if not self.training:
            return super().forward(images)
        self._check_input_dim(images)
        values = images if images.dtype == torch.float64 else images.float()
        shape = (1, -1, 1, 1, 1)
        count = sum_over_ranks(values.new_tensor(values.numel() // values.shape[1]))
        mean = sum_over_ranks(values.sum(SPACE)) / count
        centred = values - mean.view(shape)
        variance = sum_over_ranks(centred.square().sum(SPACE)) / count
        self._update(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(images.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        step = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, step)
        self.running_var.lerp_(variance, step)


def share_batch_statistics(network: nn.Module, device: Device) -> None:
    """Replaces every batch norm of ``network``, in place, by one of the same tensors that all ranks compute together.

    Args:
        network: not yet on ``device``; its state dict stays as it is.
        device: decides the kind.
    """
    kind = GpuBatchNorm3d if device.name == "cuda" else CpuBatchNorm3d
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm3d:
                norm = kind(child.num_features, child.eps, child.momentum)
                norm.load_state_dict(child.state_dict(), assign=True)
                norm.requires_grad_(child.weight.requires_grad)  # a teacher is not trained
                module.register_module(name, norm.train(child.training))


class SharedLosses:
    """A method's losses over the patches of all ranks; their gradients are averaged in the backward pass.

    Args:
        method: its network on ``device``, its batch statistics shared. Rank 0's weights become everyone's.
        device: where to compute.
    """

    def __init__(self, method: Method, device: Device) -> None:
        # No unused parameters to look for: every loss is summed in one backward pass, even those that are zero.
        known = inspect.signature(DistributedDataParallel).parameters
        buffers = (
            "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        )  # torch < 2.13
        options: dict[str, Any] = {buffers: False}
        self._parallel = DistributedDataParallel(_Step(method, device), **options)
        # Of kernels of one voxel, which have no strides to speak of.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")

    def __call__(self, batch: Batch, moment: Moment, last: bool) -> Iterator[dict[str, Tensor]]:
        """Yields all losses of ``batch`` as one group, to be backpropagated before the next value is asked for.

        Args:
            batch: this rank's patches.
            moment: see `Method.losses`.
            last: the last batch of an optimiser step: its backward pass averages what the step has gathered.
        """
        with nullcontext() if last else self._parallel.no_sync():
            yield self._parallel(batch, moment)


class _Step(nn.Module):
    """All passes of a method as the one forward that `DistributedDataParallel` asks for."""

    def __init__(self, method: Method, device: Device) -> None:
        super().__init__()
        self.network = method.network
        self._method, self._device = method, device

    def forward(self, batch: Batch, moment: Moment) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        with self._device.autocast():
            for group in self._method.losses(batch, moment):
                losses.update(group)
        return losses
