"""Convolution, batch norm and ReLU in one, for networks that are done with training (`docs/inference.md`).

With its statistics fixed, batch norm is a factor and an offset for each channel: w' = w·γ/√(σ² + ε) and
b' = (b − μ)·γ/√(σ² + ε) + β. So it costs nothing, and the volume is not gone over once more.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY_TYPES = (torch.float32, torch.bfloat16)
"""In which oneDNN's own convolution is called; older torch knows no float16 on a processor."""


class FoldedConvolution(nn.Module):
    """What a convolution, a batch norm in evaluation and a ReLU do one after the other, to rounding.

    Args:
        convolution: plain or transposed, with a bias and without dilation and groups.
        norm: after it.

    Attributes:
        by_library: the type in which to call oneDNN's convolution itself, on the CPU; ``None``: torch's. oneDNN's
            knows ReLU and keeps the kernel as it reads it, and where ``channels × z × y`` of a single window is at
            most 20480 torch would take a slow one of its own in fp32.
    """

    def __init__(self, convolution: nn.Conv3d | nn.ConvTranspose3d, norm: nn.BatchNorm3d) -> None:
        super().__init__()
        self.transposed = isinstance(convolution, nn.ConvTranspose3d)
        self.stride = list(convolution.stride)
        self.padding = [int(side) for side in convolution.padding]
        self.by_library: torch.dtype | None = None
        self._packed: tuple[Tensor, Tensor] | None = None
        mean, variance, offset = norm.running_mean, norm.running_var, convolution.bias
        assert mean is not None
        assert variance is not None
        assert offset is not None
        with torch.no_grad():
            factor = norm.weight.double() / (variance.double() + norm.eps).sqrt()
            along = (1, -1, 1, 1, 1) if self.transposed else (-1, 1, 1, 1, 1)
            weight = convolution.weight.double() * factor.view(along)
            bias = (offset.double() - mean.double()) * factor + norm.bias.double()
        self.weight = nn.Parameter(weight.to(convolution.weight.dtype), requires_grad=False)
        self.bias = nn.Parameter(bias.to(convolution.weight.dtype), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        """``(batch, channel, z, y, x)`` to the same of the convolution's output."""
        if self.transposed:
            return F.conv_transpose3d(image, self.weight, self.bias, self.stride, self.padding).relu_()
        if self.by_library:
            image = image.to(self.by_library)
            if self._packed is None:
                weight, bias = (each.detach().to(self.by_library) for each in (self.weight, self.bias))
                self._packed = _packed(weight, image, self.stride, self.padding), bias
            return _library_convolution(image, *self._packed, self.stride, self.padding)
        return F.conv3d(image, self.weight, self.bias, self.stride, self.padding).relu_()


def fold(network: nn.Module) -> None:
    """Replaces every [convolution, batch norm, ReLU] within ``network``, which can only segment afterwards."""
    for module in [each for each in network.modules() if isinstance(each, nn.Sequential)]:
        layers, folded = list(module), []
        while layers:
            one = _folded(*layers[:3])
            folded.append(one or layers[0])
            layers = layers[3 if one else 1 :]
        del module[:]
        module.extend(folded)


def _folded(
    convolution: nn.Module, norm: nn.Module | None = None, activation: nn.Module | None = None
) -> FoldedConvolution | None:
    """These layers in one; ``None`` for any others than a `FoldedConvolution` can be."""
    if not (
        isinstance(convolution, nn.Conv3d | nn.ConvTranspose3d)
        and isinstance(norm, nn.BatchNorm3d)
        and isinstance(activation, nn.ReLU)
    ):
        return None
    dense = {*convolution.dilation, convolution.groups} == {1} and not any(convolution.output_padding)
    bordered = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    complete = convolution.bias is not None and norm.affine and norm.track_running_stats
    return FoldedConvolution(convolution, norm) if dense and bordered and complete else None


def set_library(network: nn.Module, precision: torch.dtype | None) -> None:
    """Lets the folded convolutions of ``network`` call oneDNN itself, in ``precision``, where that works here.

    Args:
        network: folded.
        precision: what the network computes in; with ``None``, and with another than `LIBRARY_TYPES`, convolutions are
            torch's own, as autocast has them.
    """
    taken = precision if precision in LIBRARY_TYPES and library_works(precision) else None
    for module in network.modules():
        if isinstance(module, FoldedConvolution):
            module.by_library = taken
            module._packed = None


@lru_cache(maxsize=2)
def library_works(precision: torch.dtype) -> bool:
    """Whether this torch has oneDNN's convolution under the names that are used here, and it is right."""
    image = torch.linspace(0, 99, 8 * 4**3).sin().view(1, 8, 4, 4, 4)
    weight = torch.linspace(0, 99, 8 * 8 * 3**3).cos().view(8, 8, 3, 3, 3)
    bias, sides = torch.linspace(-1, 1, 8), [1, 1, 1]
    expected = F.conv3d(image, weight, bias, padding=1).relu()
    given = [each.to(precision) for each in (image, weight, bias)]
    try:
        found = _library_convolution(
            given[0], _packed(given[1], given[0], sides, sides), given[2], sides, sides
        )
    except (RuntimeError, AttributeError):  # torch was built without oneDNN, or calls it otherwise
        return False
    tolerance = 1e-4 if precision is torch.float32 else 0.02 * float(expected.max())
    return torch.allclose(found.float(), expected, atol=tolerance)


def _packed(weight: Tensor, image: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    """A kernel laid out as oneDNN reads it for images like ``image``."""
    operation: Any = torch.ops.mkldnn._reorder_convolution_weight
    packed: Tensor = operation(weight, padding, stride, [1, 1, 1], 1, list(image.shape))
    return packed


def _library_convolution(
    image: Tensor, weight: Tensor, bias: Tensor, stride: list[int], padding: list[int]
) -> Tensor:
    operation: Any = torch.ops.mkldnn._convolution_pointwise
    convolved: Tensor = operation(image, weight, bias, padding, stride, [1, 1, 1], 1, "relu", [], "")
    return convolved
