"""SCDL's losses between token embeddings and class proxies (`docs/scdl.md` §3). All in the precision they are given.

l are the tokens of a batch's images, c the classes, background included; w_lc is how much of token l is of class c.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ranks import sum_over_ranks

Axis = Literal["token", "class"]
TINY = 1e-6
FLOOR = 1e-8


def assignment(cosines: Tensor, temperature: float, axis: Axis = "class") -> Tensor:
    """Log-probabilities like ``cosines`` ``(batch, token, class)``: of the classes for a token (``class``), or of an
    image's tokens for a class (``token``)."""
    return F.log_softmax(cosines / temperature, 1 if axis == "token" else 2)


def own_targets(log_e2p: Tensor, log_p2e: Tensor, axis: Axis) -> Tensor:
    """w of tokens whose classes nobody told: p·q / (Σ_c p·q + 1e-6), no gradient.

    Args:
        log_e2p, log_p2e: log p and log q ``(batch, token, class)``.
        axis: of q. Over tokens it is taken relative to the mean token, so that 1e-6 stays as small beside it.
    """
    both = (log_e2p + log_p2e).detach().exp()
    if axis == "token":
        both = both * log_p2e.shape[1]
    return both / (both.sum(-1, keepdim=True) + TINY)


def known_targets(shares: Tensor, annotated: Tensor, own: Tensor) -> Tensor:
    """w of tokens of labelled images: the classes' shares of the token's voxels.

    A class that was not annotated may be anywhere in what the label map calls background. So background's share is
    divided between background and those classes as the token's ``own`` targets stand to each other there.

    Args:
        shares: ``(batch, token, class)``.
        annotated: bool ``(batch, class)``, column 0 true.
        own: see `own_targets`.
    """
    if bool(annotated.all()):
        return shares
    open_ = ~annotated
    open_[:, 0] = True
    among = own * open_[:, None] + FLOOR * open_[:, None]
    divided = shares[..., :1] * among / among.sum(-1, keepdim=True)
    return torch.where(open_[:, None], divided, shares)


def proxy_to_embedding(targets: Tensor, cosines: Tensor, *, expected: bool = False) -> Tensor:
    """L_P2E = mean over classes, images and tokens of exp(−(2w − 1)·a).

    Args:
        targets: w ``(batch, token, class)``.
        cosines: a, to the proxies' samples.
        expected: take the mean over images and tokens within exp, as the paper writes it.
    """
    margin = (2 * targets - 1) * cosines
    if not expected:
        return torch.exp(-margin).mean()
    tokens = margin.new_tensor(float(margin.shape[0] * margin.shape[1]))
    return torch.exp(-sum_over_ranks(margin.sum((0, 1))) / sum_over_ranks(tokens)).mean()


def embedding_to_proxy(targets: Tensor, cosines: Tensor) -> Tensor:
    """L_E2P = mean over images and tokens of Σ_c w (1 − a)."""
    return (targets * (1 - cosines)).sum(-1).mean()


def divergence_over_classes(log_e2p: Tensor, log_p2e: Tensor) -> Tensor:
    """KL(q‖p) + KL(p‖q) summed over tokens and classes, mean over images: as published.

    With equal temperatures p and q are the same softmax of the same numbers: it is 0, and so is its gradient.
    """
    p, q = log_e2p.exp().clamp_min(FLOOR), log_p2e.exp().clamp_min(FLOOR)
    return ((q - p) * (q.log() - p.log())).sum() / len(p)


def divergence_over_tokens(log_e2p: Tensor, log_p2e: Tensor) -> Tensor:
    """KL both ways between two answers to "which tokens of this image are of class c?", mean over images and classes.

    One is q, the softmax over tokens. The other follows from p by Bayes' rule with all tokens alike: p_lc / Σ_l p_lc.
    """
    inverted = log_e2p - torch.logsumexp(log_e2p, 1, keepdim=True)
    difference = log_p2e - inverted
    return ((log_p2e.exp() - inverted.exp()) * difference).sum(1).mean()


def anchor_loss(means: Tensor, embeddings: Tensor, present: Tensor) -> Tensor:
    """L_SAC = mean over the classes present of 1 − cos(μ_c, anchor of c); 0 where no class is.

    A class's anchor is the mean over images, on all ranks, of the directions of its embeddings.

    Args:
        means: μ ``(class, width)``; the only ones to get a gradient.
        embeddings: of each image's tokens of each class, ``(batch, class, width)``.
        present: bool ``(batch, class)``: which of them there are.
    """
    directions = F.normalize(embeddings.detach(), dim=-1) * present[..., None]
    anchors = sum_over_ranks(directions.sum(0))
    counts = sum_over_ranks(present.sum(0).to(anchors.dtype))
    distances = 1 - F.cosine_similarity(means, anchors / counts.clamp_min(1)[:, None], dim=-1)
    seen = (counts > 0).to(distances.dtype)
    return (distances * seen).sum() / seen.sum().clamp_min(1)
