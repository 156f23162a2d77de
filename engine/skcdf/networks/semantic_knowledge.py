"""SKC, the semantic knowledge complementarity blocks (`docs/methods.md` §3).

Both blocks turn the features of a cell of voxels into tokens, let the *channels* of labelled and unlabelled images
attend to each other, and map the result back to voxels. The local block's cells are 2×2×2 voxels, the global
block's is the whole bottleneck. Attention between channels over the voxels of a cell is scaled dot-product attention
whose head dimension is the number of voxels; its normalisation follows from two small covariance matrices, so that
the map of channels × channels never exists as a whole.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .companion import without_autocast

HEADS = 2
VARIANCE_EPSILON = 1e-5
LAYER_NORM_EPSILON = 1e-6
CHUNK_ENTRIES = 1 << 22
"""Entries of the attention map that exist at a time where dropout rules out the fused kernel."""

Shape = tuple[int, int, int]


class SemanticKnowledge(nn.Module):
    """One SKC block: y = LN(Attention(LN(A)) + A) with tokens A, then GELU(W y) (§3).

    Args:
        channels: of the features.
        cell: ``(z, y, x)`` voxels that share a map; divides the features' size.
        dropout: of attention probabilities and of the output projection.
        permuted_heads: in unlabelled mode read heads as blocks of channels although they are written interleaved,
            as the published global block does.
        drops_alone: whether the output projection is dropped in unlabelled mode, too.
    """

    def __init__(
        self, channels: int, cell: Shape, dropout: float, *, permuted_heads: bool, drops_alone: bool
    ) -> None:
        super().__init__()
        self.cell = cell
        self.dropout = dropout
        self.permuted_heads = permuted_heads
        self.drops_alone = drops_alone
        positions = math.prod(cell)
        self.tokens = nn.Linear(positions, positions)
        self.token_norm = nn.LayerNorm(channels, LAYER_NORM_EPSILON)
        self.query = nn.Linear(channels, HEADS * channels, bias=False)
        self.key = nn.Linear(channels, HEADS * channels, bias=False)
        self.value = nn.Linear(channels, HEADS * channels, bias=False)
        self.projection = nn.Linear(HEADS * channels, channels, bias=False)
        self.output_norm = nn.LayerNorm(channels, LAYER_NORM_EPSILON)
        self.map_out = nn.Linear(channels, channels)
        self.initialize()

    def initialize(self) -> None:
        """§1.4: Xavier-uniform for linear maps; tokens as Xavier-normal for the convolution they stand for."""
        for linear in (self.query, self.key, self.value, self.projection):
            nn.init.xavier_uniform_(linear.weight)
        positions = math.prod(self.cell)
        nn.init.normal_(self.tokens.weight, std=math.sqrt(2 / (positions + positions**2)))
        nn.init.xavier_normal_(self.map_out.weight)

    def forward(self, features: Tensor, labelled: int | None = None) -> Tensor:
        """Features enriched by what the other images know.

        Args:
            features: ``(batch, channel, z, y, x)``; computed in the parameters' precision.
            labelled: labelled mode: how many images, the first ones, are labelled. Labelled images attend to the
                unlabelled ones and the other way round; no gradient reaches unlabelled images through attention.
                ``None``: unlabelled mode, in which the channels of each image attend to each other.

        Returns:
            Tensor like ``features``.
        """
        # Softmax over a normalised map wants float32; at the bottleneck that costs next to nothing.
        with without_autocast(features.device):
            features = features.to(self.projection.weight.dtype)
            tokens = self.tokens(_cells(features, self.cell)).transpose(2, 3)
            normed = self.token_norm(tokens)
            attended = self._self_attention(normed) if labelled is None else self._exchange(normed, labelled)
            output = F.gelu(self.map_out(self.output_norm(attended + tokens)))
            return _volume(output.transpose(2, 3), self.cell, features)

    def _exchange(self, normed: Tensor, labelled: int) -> Tensor:
        """Labelled mode (§3.2) on ``(batch, cell, position, channel)``."""
        if not 0 < labelled < len(normed):
            raise ValueError("labelled mode needs labelled and unlabelled images")
        known, unknown = normed[:labelled], normed[labelled:].detach()
        attended = torch.cat([self._cross_attention(known, unknown), self._cross_attention(unknown, known)])
        return F.dropout(attended, self.dropout, self.training)

    def _cross_attention(self, queries: Tensor, keys: Tensor) -> Tensor:
        query = self.query(queries).transpose(2, 3)  # image, cell, channel × head, position
        key, value = (_joined(linear(keys), len(queries)) for linear in (self.key, self.value))
        attended: Tensor = self.projection(self._attention(query, key, value).transpose(2, 3))
        return attended

    def _self_attention(self, normed: Tensor) -> Tensor:
        """Unlabelled mode (§3.3): per image, cell and head."""
        channels = normed.shape[3]
        query, key, value = (
            self._split_heads(linear(normed), channels) for linear in (self.query, self.key, self.value)
        )
        attended = self._attention(query, key, value)  # image, cell, head, channel, position
        merged = attended.permute(0, 1, 4, 3, 2).flatten(3)
        dropout = self.dropout if self.drops_alone else 0.0
        return F.dropout(self.projection(merged), dropout, self.training)

    def _split_heads(self, projected: Tensor, channels: int) -> Tensor:
        if self.permuted_heads:
            return projected.unflatten(3, (HEADS, channels)).permute(0, 1, 3, 4, 2)
        return projected.unflatten(3, (channels, HEADS)).permute(0, 1, 4, 3, 2)

    def _attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return channel_attention(query, key, value, self.dropout if self.training else 0.0)


def channel_attention(query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(InstanceNorm(Q Kᵀ)) V, the map of each leading index normalised as a whole (§3.2).

    Args:
        query: ``(…, m, position)``.
        key, value: ``(…, n, position)``.
        dropout: of the attention's probabilities.

    Returns:
        Tensor like ``query``.
    """
    # The mean of the map cancels in the softmax: only its standard deviation is needed.
    query = query / (map_variance(query, key) + VARIANCE_EPSILON).sqrt()[..., None, None]
    shape = query.shape
    # Contiguous, or the fused kernel silently gives way to one that makes the whole map.
    query, key, value = (
        x.expand(*shape[:-2], *x.shape[-2:]).reshape(-1, *x.shape[-2:]).contiguous()
        for x in (query, key, value)
    )
    if dropout == 0 or query.is_cuda:
        attended = F.scaled_dot_product_attention(
            query[:, None], key[:, None], value[:, None], dropout_p=dropout, scale=1.0
        )
        return attended.reshape(shape)
    return _attention_in_chunks(query, key, value, dropout).view(shape)


def map_variance(query: Tensor, key: Tensor) -> Tensor:
    """Biased variance of all entries of Q Kᵀ, from the covariances of Q's and K's rows.

    With q = q̄ + q̃ and k = k̄ + k̃: Var = tr(C_q C_k) + k̄ᵀ C_q k̄ + q̄ᵀ C_k q̄, a sum of terms that are never
    negative.

    Args:
        query: ``(…, m, position)``.
        key: ``(…, n, position)``.
    """
    centre_q, centre_k = query.mean(-2, keepdim=True), key.mean(-2, keepdim=True)
    spread_q, spread_k = query - centre_q, key - centre_k
    covariance_q, covariance_k = (x.transpose(-1, -2) @ x / x.shape[-2] for x in (spread_q, spread_k))
    mixed = (covariance_q * covariance_k).sum((-1, -2))
    of_query = (centre_k @ covariance_q * centre_k).sum((-1, -2))
    of_key = (centre_q @ covariance_k * centre_q).sum((-1, -2))
    return mixed + of_query + of_key


def _attention_in_chunks(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """The fused kernel of the CPU knows no dropout: a few rows of the map at a time, computed again for backward."""
    level = round(dropout * 2**16)
    value = value * (2**16 / (2**16 - level))

    def attend(query: Tensor, key: Tensor, value: Tensor, seed: int) -> Tensor:
        probabilities = torch.softmax(query @ key.transpose(1, 2), 2)
        return (probabilities * _kept(probabilities.shape, level, seed).to(value.device)) @ value

    rows = max(1, CHUNK_ENTRIES // key.shape[1])
    maps = max(1, rows // query.shape[1])
    parts = []
    for first in range(0, len(query), maps):
        chosen = slice(first, first + maps)
        columns = []
        for part in query[chosen].split(rows, 1):
            seed = int(torch.randint(2**62, ()))
            arguments = (part, key[chosen], value[chosen], seed)
            columns.append(checkpoint(attend, *arguments, use_reentrant=False, preserve_rng_state=False))
        parts.append(torch.cat(columns, 1))
    return torch.cat(parts)


def _kept(shape: torch.Size, level: int, seed: int) -> Tensor:
    """Bool mask, false with probability ``level`` / 2¹⁶: from 16 random bits each, ten times as fast as torch's."""
    noise = np.random.Generator(np.random.SFC64(seed)).bytes(2 * math.prod(shape))
    bits = torch.frombuffer(bytearray(noise), dtype=torch.int16).view(shape)
    return bits >= level - 2**15


def _joined(projected: Tensor, queries: int) -> Tensor:
    """Keys of all images in a row: ``(image, cell, position, m)`` to ``(queries, cell, image·m, position)``."""
    images, cells, positions, width = projected.shape
    joined = projected.permute(1, 0, 3, 2).reshape(cells, images * width, positions)
    return joined.expand(queries, -1, -1, -1)


def _cells(features: Tensor, cell: Shape) -> Tensor:
    """``(batch, channel, z, y, x)`` to ``(batch, cell, channel, position)``."""
    batch, channels, *size = features.shape
    if any(n % side for n, side in zip(size, cell, strict=True)):
        raise ValueError(f"features of {tuple(size)} voxels do not divide into cells of {cell}")
    (d, h, w), (z, y, x) = (n // side for n, side in zip(size, cell, strict=True)), cell
    blocks = features.reshape(batch, channels, d, z, h, y, w, x).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return blocks.reshape(batch, d * h * w, channels, z * y * x)


def _volume(cells: Tensor, cell: Shape, features: Tensor) -> Tensor:
    """Undoes `_cells`, in the memory layout of ``features``.

    The layout matters: batch norm over float32 in channels-last layout is wrong in the fourth digit on the CPU
    (torch 2.13), so what came in contiguous must not leave otherwise.
    """
    batch, channels, *size = features.shape
    (d, h, w), (z, y, x) = (n // side for n, side in zip(size, cell, strict=True)), cell
    blocks = cells.reshape(batch, d, h, w, channels, z, y, x).permute(0, 4, 1, 5, 2, 6, 3, 7)
    last = not features.is_contiguous() and features.is_contiguous(memory_format=torch.channels_last_3d)
    layout = torch.channels_last_3d if last else torch.contiguous_format
    return blocks.reshape(features.shape).contiguous(memory_format=layout)
