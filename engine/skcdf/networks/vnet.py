"""The V-Net without residuals that both methods are built on (`docs/methods.md` §1).

Encoder and decoder are separate so that SKCDF can hang two decoders on one encoder, and a decoder may carry several
heads on the same last feature map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .companion import Accompanied, Decoded, without_autocast

STRIDE = 16
"""The encoder halves its input four times."""


class _Convolution(nn.Conv3d):
    """A 3×3×3 convolution that keeps its size, and keeps clear of a fault of torch's CPU library.

    Over exactly two planes, in bfloat16, oneDNN's weight gradient holds memory that nobody wrote (torch 2.13 on a
    processor with AVX-512 BF16: NaN or 1e37 now and then). So small a volume is computed in the weights' precision.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[2] != 2 or image.device.type != "cpu":
            return super().forward(image)
        with without_autocast(image.device):
            return super().forward(image.to(self.weight.dtype))


class Head(nn.Conv3d):
    """A 1×1×1 convolution, computed as the matrix product that it is, with the classes last in memory.

    With one thread torch's own takes six times as long on a processor (32 filters, 14 classes, there and back). Where
    labels are read off the scores, these are in the weights' precision: rounded to bfloat16, the best two are often
    equal, and the first of equal ones wins (`docs/inference.md`).
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(batch, class, z, y, x)`` of features ``(batch, channel, z, y, x)``."""
        voxels = image.movedim(1, -1)
        if torch.is_grad_enabled():
            return self._product(voxels).movedim(-1, 1)
        return self.scores(voxels).movedim(-1, 1)

    @torch.no_grad()
    def scores(self, voxels: Tensor) -> Tensor:
        """Logits ``(…, class)`` of features ``(…, channel)``, in the weights' precision."""
        with without_autocast(voxels.device):
            return self._product(voxels.to(self.weight.dtype))

    def _product(self, voxels: Tensor) -> Tensor:
        return F.linear(voxels, self.weight.flatten(1), self.bias)


def _convolutions(count: int, channels_in: int, channels_out: int) -> nn.Sequential:
    """``count`` × [3×3×3 convolution, batch norm, ReLU]."""
    layers: list[nn.Module] = []
    for index in range(count):
        layers += [
            _Convolution(channels_in if index == 0 else channels_out, channels_out),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _down(channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.Conv3d(channels_in, channels_out, 2, stride=2)
    return nn.Sequential(convolution, nn.BatchNorm3d(channels_out), nn.ReLU(inplace=True))


def _up(channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.ConvTranspose3d(channels_in, channels_out, 2, stride=2)
    return nn.Sequential(convolution, nn.BatchNorm3d(channels_out), nn.ReLU(inplace=True))


class Encoder(nn.Module):
    """Five stages; stage ``i`` has ``2**i × filters`` channels at ``1 / 2**i`` of the input's size.

    Args:
        channels: input channels.
        filters: channels of the first stage.
        dropout: probability of dropping a whole channel of the deepest features in training.
    """

    def __init__(self, channels: int, filters: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.stages = nn.ModuleList([_convolutions(1, channels, filters)])
        for index, count in enumerate((2, 3, 3, 3)):
            width = filters * 2**index
            self.stages.append(
                nn.Sequential(_down(width, 2 * width), _convolutions(count, 2 * width, 2 * width))
            )
        self.dropout = nn.Dropout3d(dropout)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features x1 … x5 of ``image`` ``(batch, channel, z, y, x)``, whose sides are multiples of 16."""
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        features[-1] = self.dropout(features[-1])
        return features


class Decoder(nn.Module):
    """From features x1 … x5 to the logits of one or more heads.

    Args:
        classes: output classes, background included.
        filters: channels of the first stage, as in the encoder.
        heads: names of the 1×1×1 heads, all on the same last feature map.
        dropout: probability of dropping a whole channel of that map in training.
    """

    def __init__(
        self, classes: int, filters: int, heads: Sequence[str] = ("main",), dropout: float = 0.5
    ) -> None:
        super().__init__()
        widths = [filters * 2**index for index in (3, 2, 1, 0)]
        self.ups = nn.ModuleList([_up(2 * width, width) for width in widths])
        self.convolutions = nn.ModuleList(
            [_convolutions(count, width, width) for count, width in zip((3, 3, 2, 1), widths, strict=True)]
        )
        self.dropout = nn.Dropout3d(dropout)
        self.heads = nn.ModuleDict({name: Head(filters, classes) for name in heads})

    def forward(self, features: Sequence[Tensor], heads: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Logits ``(batch, class, z, y, x)`` at full resolution by head name (default: of every head)."""
        return self.classify(self.decode(features), heads)

    def decode(self, features: Sequence[Tensor], added: Sequence[Tensor] = ()) -> Tensor:
        """The last feature map x9, ``(batch, filters, z, y, x)``.

        Args:
            features: x1 … x5.
            added: what is added after the skip connection of each stage, the deepest first; empty: nothing.
        """
        *skips, image = features
        for stage, (up, convolutions) in enumerate(zip(self.ups, self.convolutions, strict=True)):
            image = up(image) + skips[-1 - stage]
            image = convolutions(image + added[stage] if added else image)
        last: Tensor = self.dropout(image)
        return last

    @property
    def main_head(self) -> Head:
        """The one that segments."""
        head = self.heads["main"]
        assert isinstance(head, Head)
        return head

    def used_up(self, features: list[Tensor]) -> Tensor:
        """What `decode` gives, in evaluation and without gradients, in the memory of ``features``.

        Args:
            features: x1 … x5; taken out of the list, so that each is let go as soon as it has been used.
        """
        image = features.pop()
        for up, convolutions in zip(self.ups, self.convolutions, strict=True):
            image = convolutions(features.pop().add_(up(image)))
        return image

    def classify(self, last: Tensor, heads: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Logits by head name (default: of every head) from the last feature map."""
        return {name: self.heads[name](last) for name in heads or self.heads}


class VNet(Accompanied):
    """One encoder, one decoder, one head.

    Args:
        channels: input channels.
        classes: output classes, background included.
        filters: channels of the first stage (the published networks have 32).
        dropout: channel dropout at both ends of the decoder.
    """

    def __init__(self, channels: int, classes: int, filters: int = 16, dropout: float = 0.5) -> None:
        super().__init__()
        if min(channels, classes, filters) < 1:
            raise ValueError("channels, classes and filters must be at least 1")
        self.encoder = Encoder(channels, filters, dropout)
        self.decoder = Decoder(classes, filters, dropout=dropout)
        initialize_convolutions(self)

    def path(self, image: Tensor) -> tuple[Decoder, list[Tensor]]:
        """See `Accompanied.path`."""
        return self.decoder, self.encoder(image)

    def decoded(self, image: Tensor) -> Decoded:
        """The same with the features that lead there."""
        return self.decode(self.decoder, self.encoder(image))


def initialize_convolutions(network: nn.Module) -> None:
    """Xavier-normal weights for every ``Conv3d``, transposed ones left as PyTorch made them (§1.4)."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.xavier_normal_(module.weight)
