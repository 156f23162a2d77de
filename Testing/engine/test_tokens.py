"""Feature maps and label maps of any size become tokens on a coarse grid, and tokens become maps again."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from skcdf.networks.tokens import class_shares, pooled_tokens, token_grid, token_map


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.integers(1, 21)] * 3), st.integers(1, 9))
def test_any_size_becomes_tokens_whose_shares_are_those_of_their_voxels(size, stride):
    labels = torch.randint(3, (2, *size), generator=torch.Generator().manual_seed(sum(size)))
    grid = token_grid(size, stride)
    assert grid == tuple(max(1, math.ceil(side / stride)) for side in size)
    shares = class_shares(labels, 3, grid)
    one_hot = F.one_hot(labels, 3).movedim(-1, 1).double()
    tokens = pooled_tokens(one_hot, grid)
    assert tokens.shape == (2, math.prod(grid), 3)
    assert torch.allclose(shares.double(), tokens, atol=1e-6)
    assert torch.allclose(shares.sum(-1), torch.ones(1), atol=1e-5)
    laid = token_map(tokens, grid)
    assert torch.equal(pooled_tokens(laid, grid), tokens)
    z, y, x = (index // 2 for index in grid)
    bounds = [
        slice(index * side // cells, -(-(index + 1) * side // cells))
        for index, side, cells in zip((z, y, x), size, grid, strict=True)
    ]
    assert torch.allclose(laid[:, :, z, y, x], one_hot[(..., *bounds)].mean((2, 3, 4)))
