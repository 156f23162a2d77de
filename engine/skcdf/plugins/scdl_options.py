"""SCDL's settings: every point that its authors leave open is one (`docs/scdl.md` §5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..methods.options import repair
from ..networks.scdl import Parts, TokenSource
from ..records import FieldError

AMOS: dict[str, Any] = {"inject": "bottleneck", "parts": "center_and_samples", "prior_at_inference": False}
PAPER: dict[str, Any] = {
    "tokens": "encoder",
    "e2p_weight": 1.0,
    "e2p_distance": "means",
    "p2e_expectation": True,
    "anchors": "images",
    "inject": "stages",
    "parts": "all",
}
"""What the paper says where the released program does otherwise."""


@dataclass(frozen=True)
class ScdlOptions:
    """Settings of `ScdlPlugin`; the defaults are the corrected face.

    Attributes:
        tokens: of the decoder's last features, or of the encoder's features at an eighth of the patch.
        stride: voxels of the patch along an axis that share a token.
        companions: ``each`` network has embeddings and proxies of its own, or they are ``shared``.
        unlabelled: tokens of unlabelled images take the classes that they are assigned to (``own``), or no part.
        p2e_weight, e2p_weight, anchor_weight, alignment_weight: of the four losses.
        ramp: the weights are ``constant``, or grow with exp(−5 (1 − t)²) as those of pseudo-labels do.
        detach: keep the losses' and the prior's gradient by way of the tokens out of the network.
        anchors: of the mean token of each class, or of the tokens of the image with all but the class masked.
        background: background has an anchor, too.
        inject: where the prior enters the network; ``auto``: at the head, for CPS nowhere.
        parts: what the prior is made of.
        prior_at_inference: whether the prior enters in segmentation, too.
        zero_start: the prior begins without effect.
        p2e_axis: the softmax from proxy to embedding runs over the tokens of an image, or over classes.
        e2p_distance: to the proxies' samples, or to their means.
        p2e_expectation: the mean over tokens is taken within exp.
        e2p_temperature, p2e_temperature: of the two softmaxes.
        width: of embeddings. samples: drawn from a proxy. token_samples: drawn around a token.
        learning_rate, weight_decay: of SCDL's own parameters.
        noise: drawn afresh at every step, or fixed.
    """

    tokens: TokenSource = "decoder"
    stride: int = 8
    companions: Literal["each", "shared"] = "each"
    unlabelled: Literal["own", "none"] = "own"
    p2e_weight: float = 1.0
    e2p_weight: float = 0.1
    anchor_weight: float = 1.0
    alignment_weight: float = 1.0
    ramp: Literal["constant", "consistency"] = "constant"
    detach: bool = False
    anchors: Literal["tokens", "images"] = "tokens"
    background: bool = True
    inject: Literal["auto", "head", "stages", "bottleneck", "none"] = "auto"
    parts: Parts = "center"
    prior_at_inference: bool = True
    zero_start: bool = repair(True, False, "a network that carries over must find at first what it found")
    p2e_axis: Literal["token", "class"] = repair(
        "token", "class", "over classes both directions are one, and aligning them is nothing"
    )
    e2p_distance: Literal["samples", "means"] = "samples"
    p2e_expectation: bool = False
    e2p_temperature: float = 0.2
    p2e_temperature: float = 0.2
    width: int = 256
    samples: int = 50
    token_samples: int = 2
    learning_rate: float = 0.01
    weight_decay: float = 1e-4
    noise: Literal["fresh", "fixed"] = "fresh"

    def __post_init__(self) -> None:
        for name in ("stride", "width", "samples", "token_samples"):
            if getattr(self, name) < 1:
                raise FieldError(name, f"must be at least 1, is {getattr(self, name)}")
        weights = ("p2e_weight", "e2p_weight", "anchor_weight", "alignment_weight")
        for name in (*weights, "learning_rate", "weight_decay"):
            if getattr(self, name) < 0:
                raise FieldError(name, f"must not be negative, is {getattr(self, name):g}")
        for name in ("e2p_temperature", "p2e_temperature"):
            if getattr(self, name) <= 0:
                raise FieldError(name, f"must be above 0, is {getattr(self, name):g}")
        if self.companions == "shared" and self.inject not in ("auto", "none"):
            raise FieldError(
                "companions", "can be shared only where the prior enters no network (inject=none)"
            )
