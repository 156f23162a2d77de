"""SCDL as a plug-in: class proxies that tokens of every network are drawn to, and that are held by anchors.

The equations and where they come from: `docs/scdl.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..methods import Moment, Plugin, Problem, Stream
from ..networks.companion import Accompanied, Borrowed, without_autocast
from ..networks.scdl import Scdl
from ..networks.tokens import class_shares, token_grid
from ..ranks import sum_over_ranks, world_size
from .alignment import (
    anchor_loss,
    assignment,
    divergence_over_classes,
    divergence_over_tokens,
    embedding_to_proxy,
    known_targets,
    own_targets,
    proxy_to_embedding,
)
from .scdl_options import AMOS, PAPER, ScdlOptions


class ScdlPlugin(Plugin):
    """Class distribution bidirectional alignment and semantic anchor constraints."""

    Options = ScdlOptions
    Presets = {"amos": AMOS, "paper": PAPER}  # noqa: RUF012

    def __init__(self, problem: Problem, options: ScdlOptions) -> None:
        self.options = options
        self.classes = problem.classes
        self._networks: Sequence[Accompanied] = ()
        self._arguments: dict[str, Any] = {
            "filters": problem.filters,
            "classes": problem.classes,
            "tokens": options.tokens,
            "stride": options.stride,
            "inject": options.inject,
            "parts": options.parts,
            "temperature": options.p2e_temperature,
            "width": options.width,
            "samples": options.samples,
            "token_samples": options.token_samples,
        }

    def accompany(self, networks: Sequence[Accompanied], refines: bool) -> None:
        """See `Plugin.accompany`."""
        self._networks = networks
        options = self.options
        if options.inject == "auto":
            alone = options.companions == "shared" or not refines
            self._arguments["inject"] = "none" if alone else "head"
        if options.companions == "shared":
            first = self._companion()
            networks[0].companion = first
            for network in networks[1:]:
                network.companion = Borrowed(first)
        else:
            for network in networks:
                network.companion = self._companion()

    def _companion(self) -> Scdl:
        options = self.options
        companion = Scdl(
            **self._arguments,
            detach=options.detach,
            zero_start=options.zero_start,
            fixed_noise=options.noise == "fixed",
        )
        companion.optimizer = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
        return companion

    def inference_arguments(self) -> dict[str, Any] | None:
        """See `Plugin.inference_arguments`."""
        if self._arguments["inject"] == "none" or not self.options.prior_at_inference:
            return None
        return {"name": "scdl", **self._arguments}

    @classmethod
    def options_of(cls, companion: Mapping[str, Any]) -> dict[str, Any]:
        """See `Plugin.options_of`."""
        return {**super().options_of(companion), "p2e_temperature": companion["temperature"]}

    def losses(self, stream: Stream, moment: Moment) -> dict[str, Tensor]:
        """See `Plugin.losses`; ``scdl_p2e``, ``scdl_e2p``, ``scdl_alignment``, and with labels ``scdl_anchor``."""
        options, known = self.options, 0 if stream.labels is None else len(stream.labels)
        decoded, share = stream.decoded, stream.share
        if options.unlabelled == "none":
            if not known:
                return {}
            decoded, share = decoded.of(slice(known)), 1.0
        shares = present = focused = None
        if stream.labels is not None:
            grid = token_grid(stream.images.shape[2:], options.stride)
            shares = class_shares(stream.labels, self.classes, grid)
            present = self._present(shares, stream)
            focused = self._focused(stream, shares, present)
        with without_autocast(stream.images.device):
            losses = self._alignment(decoded, shares, stream.annotated)
            shared = sum_over_ranks(torch.stack(list(losses.values()))) / world_size()
            losses = {name: share * loss for name, loss in zip(losses, shared, strict=True)}
            if present is not None and focused is not None:
                means = _scdl(decoded.companion).distribution.means
                losses["anchor"] = anchor_loss(means, focused, present)
        weights = {name: stream.weight * self._weight(name, moment) for name in losses}
        return {f"{stream.name}scdl_{name}": weights[name] * loss for name, loss in losses.items()}

    def _weight(self, name: str, moment: Moment) -> float:
        weight: float = getattr(self.options, f"{name}_weight")
        return (
            weight if self.options.ramp == "constant" else weight * math.exp(-5 * (1 - moment.lagging) ** 2)
        )

    def _alignment(self, decoded: Any, shares: Tensor | None, annotated: Tensor | None) -> dict[str, Tensor]:
        """L_P2E, L_E2P and the divergence of both directions."""
        options, distribution = self.options, _scdl(decoded.companion).distribution
        embeddings = decoded.noted["embeddings"]
        cosines, sampled = distribution.cosines(embeddings), distribution.sampled_cosines(embeddings)
        log_e2p = assignment(cosines, options.e2p_temperature)
        log_p2e = assignment(cosines, options.p2e_temperature, options.p2e_axis)
        targets = own_targets(log_e2p, log_p2e, options.p2e_axis)
        if shares is not None and annotated is not None:
            known = len(shares)
            targets = torch.cat(
                [known_targets(shares.to(targets), annotated, targets[:known]), targets[known:]]
            )
        diverge = divergence_over_tokens if options.p2e_axis == "token" else divergence_over_classes
        return {
            "p2e": proxy_to_embedding(targets, sampled, expected=options.p2e_expectation),
            "e2p": embedding_to_proxy(targets, sampled if options.e2p_distance == "samples" else cosines),
            "alignment": diverge(log_e2p, log_p2e),
        }

    def _present(self, shares: Tensor, stream: Stream) -> Tensor:
        """Bool ``(labelled, class)``: the classes of which an image holds voxels that are surely theirs.

        What is not annotated may be anywhere in background, so only images with all classes annotated show background.
        """
        assert stream.annotated is not None
        present = (shares.sum(1) > 0) & stream.annotated
        present[:, 0] &= stream.annotated.all(1) & self.options.background
        return present

    @torch.no_grad()
    def _focused(self, stream: Stream, shares: Tensor, present: Tensor) -> Tensor:
        """Embeddings ``(labelled, class, width)`` of each class's own tokens; where it is not present, of anything."""
        scdl = _scdl(stream.decoded.companion)
        tokens = stream.decoded.noted["tokens"][: len(shares)]
        masked = (
            self._tokens_of_masked(stream, present).to(tokens) if self.options.anchors == "images" else None
        )
        with without_autocast(stream.images.device):  # autocast would take the sums over all tokens in 16 bit
            if masked is not None:
                return scdl.distribution.embed(masked)
            sizes = shares.sum(1).clamp_min(1e-6)[..., None]
            return scdl.distribution.embed(shares.to(tokens).transpose(1, 2) @ tokens / sizes)

    def _tokens_of_masked(self, stream: Stream, present: Tensor) -> Tensor:
        """Mean tokens ``(labelled, class, channel)`` of each image with all but one class set to 0; one at a time."""
        assert stream.labels is not None
        width = stream.decoded.noted["tokens"].shape[-1]
        means = torch.zeros((*present.shape, width), device=present.device)
        with _at_rest(self._networks):
            for image, value in present.nonzero().tolist():
                masked = stream.images[image] * (stream.labels[image] == value)
                means[image, value] = stream.again(masked[None]).noted["tokens"][0].mean(0)
        return means


def _scdl(companion: Any) -> Scdl:
    assert isinstance(companion, Scdl)
    return companion


@contextmanager
def _at_rest(networks: Sequence[Accompanied]) -> Iterator[None]:
    """Without dropout and batch statistics, which masked images must not enter."""
    before = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, training in zip(networks, before, strict=True):
            network.train(training)
