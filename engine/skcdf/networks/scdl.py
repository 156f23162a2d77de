"""SCDL beside a decoder: tokens of its features, their embeddings, the prior's way back (`docs/scdl.md` §1, §4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .class_distribution import ClassDistribution
from .companion import Companion, Decoded, without_autocast
from .tokens import Grid, pooled_tokens, token_grid, token_map
from .vnet import STRIDE

if TYPE_CHECKING:
    from .vnet import Decoder

TokenSource = Literal["decoder", "encoder"]
Point = Literal["head", "stages", "bottleneck", "none"]
Parts = Literal["center", "center_and_samples", "all"]
PARTS = {"center": 1, "center_and_samples": 2, "all": 3}
ENCODER_STAGE = 3
"""x4, an eighth of the patch: the published grid without pooling."""


class Scdl(Companion):
    """Keeps class proxies near the tokens of a decoder, and may add what they say to its features.

    Args:
        filters: channels of the network's first stage.
        classes: background included.
        tokens: of the decoder's last features x9, or of the encoder's x4.
        stride: voxels of the patch along an axis that share a token.
        detach: keep the plug-in's gradient out of the network.
        inject: where the prior enters: before the ``head``, after the skip connection of each of the decoder's
            ``stages``, at the ``bottleneck``, or nowhere.
        parts: what it is made of; see `_prior`.
        temperature: of the prior's softmax over classes.
        zero_start: the prior's projections begin as zero, so that the network finds at first what it found without.
        width, samples, token_samples, fixed_noise: see `ClassDistribution`.
    """

    def __init__(
        self,
        filters: int,
        classes: int,
        tokens: TokenSource = "decoder",
        stride: int = 8,
        detach: bool = False,
        inject: Point = "head",
        parts: Parts = "center",
        temperature: float = 0.2,
        zero_start: bool = True,
        width: int = 256,
        samples: int = 50,
        token_samples: int = 2,
        fixed_noise: bool = False,
    ) -> None:
        super().__init__()
        for value, kind in ((tokens, TokenSource), (inject, Point), (parts, Parts)):
            if value not in get_args(kind):
                raise ValueError(f"{value!r} is none of {', '.join(get_args(kind))}")
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f"stride must be a whole number of at least 1, is {stride!r}")
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be above 0, is {temperature!r}")
        self.tokens, self.stride, self.detach = tokens, stride, detach
        self.inject, self.parts, self.temperature = inject, parts, temperature
        self.distribution = ClassDistribution(filters, classes, width, samples, token_samples, fixed_noise)
        sampled = inject != "none" and parts != "center"
        self.distribution.sigma_emb.requires_grad_(sampled)  # nothing else gives it a gradient
        if tokens == "encoder":
            self.source = nn.Conv3d(filters * 2**ENCODER_STAGE, filters, 1)
        widths = {
            "head": [filters],
            "stages": [filters * 2**stage for stage in (3, 2, 1, 0)],
            "bottleneck": [filters * STRIDE],
            "none": [],
        }[inject]
        projections = [nn.Conv3d(PARTS[parts] * width, each, 1, bias=False) for each in widths]
        if zero_start:
            for projection in projections:
                nn.init.zeros_(projection.weight)
        self.projections = nn.ModuleList(projections)

    def forward(self, decoder: Decoder, features: Sequence[Tensor], heads: Sequence[str] | None) -> Decoded:
        """See `Accompanied.decode`; notes ``tokens`` and ``embeddings``, ``(batch, token, channel)`` in float32."""
        grid = token_grid(features[0].shape[2:], self.stride)
        last = None
        if self.tokens == "decoder" or self.inject in ("head", "none"):
            last = decoder.decode(features)
        with without_autocast(features[0].device):
            tokens = self._tokens(features, last, grid)
            embeddings = self.distribution.embed(tokens)
            prior = None if self.inject == "none" else token_map(self._prior(embeddings), grid)
            added = [self._brought(prior, index, like) for index, like in enumerate(self._places(features))]
        if self.inject == "stages":
            last = decoder.decode(features, added)
        elif self.inject == "bottleneck":
            last = decoder.decode([*features[:-1], features[-1] + added[0]])
        assert last is not None
        refined = last + added[0] if self.inject == "head" else last
        logits = decoder.classify(refined, heads)
        return Decoded(features, last, logits, {"tokens": tokens, "embeddings": embeddings}, self)

    def _tokens(self, features: Sequence[Tensor], last: Tensor | None, grid: Grid) -> Tensor:
        source = features[ENCODER_STAGE] if self.tokens == "encoder" else last
        assert source is not None
        source = (source.detach() if self.detach else source).to(self.distribution.proxies.dtype)
        return pooled_tokens(self.source(source) if self.tokens == "encoder" else source, grid)

    def _prior(self, embeddings: Tensor) -> Tensor:
        """What the proxies say of each token, ``(batch, token, parts × width)``.

        ``center``: norm(Σ_c q_lc μ̂_c) with q the softmax over classes; ``samples``: the mean of the embeddings drawn
        around the token, in inference the embedding itself, so that a scan is segmented alike twice; ``distribution``:
        as ``center``, weighted by the mean cosines to the proxies' samples, in inference to their means.
        """
        distribution = self.distribution
        directions, cosines = distribution.directions, distribution.cosines(embeddings)
        parts = [F.normalize(F.softmax(cosines / self.temperature, -1) @ directions, dim=-1)]
        if self.parts != "center":
            parts.append(
                distribution.sampled_embeddings(embeddings).mean(2)
                if self.training
                else F.normalize(embeddings, dim=-1)
            )
        if self.parts == "all":
            weights = distribution.sampled_cosines(embeddings) if self.training else cosines
            parts.append(F.normalize(weights @ directions, dim=-1))
        return torch.cat(parts, -1)

    def _places(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features of the sizes at which the prior enters, in the order of the projections."""
        return {
            "head": [features[0]],
            "stages": list(features[-2::-1]),
            "bottleneck": [features[-1]],
            "none": [],
        }[self.inject]

    def _brought(self, prior: Tensor | None, index: int, like: Tensor) -> Tensor:
        """The prior in the channels, size and precision of a place: projected first, where it is small."""
        assert prior is not None
        projected = self.projections[index](prior)
        resized = F.interpolate(projected, like.shape[2:], mode="trilinear", align_corners=False)
        return resized.to(like.dtype)
