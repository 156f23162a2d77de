"""SCDL's losses and prior: gradients where `docs/scdl.md` says, partial labels respected, nothing random in use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from skcdf.errors import SkcdfError
from skcdf.methods import Batch, Method, Moment, Problem, Stream, build_method
from skcdf.networks.class_distribution import ClassDistribution
from skcdf.networks.companion import Borrowed
from skcdf.networks.scdl import Scdl
from skcdf.networks.tokens import class_shares, token_grid
from skcdf.networks.vnet import VNet
from skcdf.plugins import build_plugin, plugin_options
from skcdf.plugins.alignment import (
    anchor_loss,
    assignment,
    divergence_over_classes,
    divergence_over_tokens,
    embedding_to_proxy,
    known_targets,
    own_targets,
    proxy_to_embedding,
)
from skcdf.plugins.scdl import ScdlPlugin

CLASSES, SIDE = 4, 32
PROBLEM = Problem(1, CLASSES, 2, (SIDE, SIDE, SIDE))
MOMENT = Moment(0.5, 0.5)


def make(method: str = "supervised", compat: Any = "corrected", **options: Any) -> Method:
    torch.manual_seed(0)
    method = build_method(method, PROBLEM, compat, plugin=build_plugin("scdl", PROBLEM, compat, options))
    method.network.train()
    return method


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(3, 1, SIDE, SIDE, SIDE, generator=generator)
    labels = torch.zeros(2, SIDE, SIDE, SIDE, dtype=torch.long)
    labels[0, :9, :8, :8], labels[0, 20:, 3:17, :] = 1, 2
    labels[1, 8:16] = 1
    return Batch(images[:2], labels, torch.ones(2, CLASSES, dtype=torch.bool), images[2:])


def compute(method: Method, batch: Batch) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: loss for group in method.losses(batch, MOMENT) for name, loss in group.items()}


@pytest.fixture
def distribution() -> ClassDistribution:
    torch.manual_seed(2)
    return ClassDistribution(6, 5).double().eval()


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(
        2, 40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
    ).requires_grad_()


def size_of(gradient: Tensor | None) -> float:
    return 0.0 if gradient is None else float(gradient.norm())


class TestGradients:
    @staticmethod
    def of(loss: Tensor, distribution: ClassDistribution, tokens: Tensor) -> dict[str, float]:
        """Norms of the gradient by way of everything that could have one."""
        watched = {"tokens": tokens, "mlp": distribution.encoder[0].weight, "sigma": distribution.sigma_emb}
        watched["proxies"] = distribution.proxies
        found = torch.autograd.grad(loss, list(watched.values()), allow_unused=True, retain_graph=True)
        sizes = {name: size_of(each) for name, each in zip(watched, found, strict=True)}
        proxies = found[-1]
        halves = (None, None) if proxies is None else proxies.chunk(2, 1)
        return {**sizes, "means": size_of(halves[0]), "spreads": size_of(halves[1])}

    @pytest.mark.parametrize("axis", ["class", "token"])
    def test_both_directions_reach_tokens_embedding_means_and_spreads(self, distribution, tokens, axis):
        embeddings = distribution.embed(tokens)
        cosines, sampled = distribution.cosines(embeddings), distribution.sampled_cosines(embeddings)
        targets = own_targets(assignment(cosines, 0.2), assignment(cosines, 0.2, axis), axis)
        assert not targets.requires_grad
        for loss in (proxy_to_embedding(targets, sampled), embedding_to_proxy(targets, sampled)):
            sizes = self.of(loss, distribution, tokens)
            assert all(sizes[name] > 1e-8 for name in ("tokens", "mlp", "means", "spreads"))
            assert sizes["sigma"] == 0

    def test_the_published_alignment_is_nothing_and_pulls_at_nothing(self, distribution, tokens):
        cosines = distribution.cosines(distribution.embed(tokens))
        loss = divergence_over_classes(assignment(cosines, 0.2), assignment(cosines, 0.2))
        assert abs(float(loss.detach())) < 1e-14
        assert max(self.of(loss, distribution, tokens).values()) < 1e-14
        other = divergence_over_classes(assignment(cosines, 0.2), assignment(cosines, 0.5))
        assert float(other.detach()) > 0.1 and self.of(other, distribution, tokens)["tokens"] > 0

    def test_the_corrected_alignment_is_not(self, distribution, tokens):
        cosines = distribution.cosines(distribution.embed(tokens))
        loss = divergence_over_tokens(assignment(cosines, 0.2), assignment(cosines, 0.2, "token"))
        sizes = self.of(loss, distribution, tokens)
        assert float(loss.detach()) > 1e-4
        assert all(sizes[name] > 1e-5 for name in ("tokens", "mlp", "means"))
        assert sizes["spreads"] == sizes["sigma"] == 0

    def test_anchors_pull_at_means_alone(self, distribution, tokens):
        focused = distribution.embed(tokens[:, :5])
        loss = anchor_loss(distribution.means, focused, torch.ones(2, 5, dtype=torch.bool))
        sizes = self.of(loss, distribution, tokens)
        assert sizes["means"] > 0.1
        assert sizes["tokens"] == sizes["mlp"] == sizes["spreads"] == sizes["sigma"] == 0

    def test_only_samples_around_tokens_reach_their_spread(self, distribution, tokens):
        samples = distribution.sampled_embeddings(distribution.embed(tokens))
        assert self.of(samples[..., 0].sum(), distribution, tokens)["sigma"] > 0

    @pytest.mark.parametrize("parts", ["center", "center_and_samples", "all"])
    @pytest.mark.parametrize("inject", ["head", "stages", "bottleneck", "none"])
    @pytest.mark.parametrize("tokens", ["decoder", pytest.param("encoder", marks=pytest.mark.slow)])
    def test_every_parameter_that_asks_for_a_gradient_gets_one(self, tokens, inject, parts):
        method = make(tokens=tokens, inject=inject, parts=parts)
        sum(compute(method, make_batch()).values()).backward()
        for name, parameter in method.network.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
        sampled = inject != "none" and parts != "center"
        assert method.network.companion.distribution.sigma_emb.requires_grad == sampled

    def test_of_the_network_can_be_cut(self):
        losses = {"p2e_weight": 1.0, "e2p_weight": 1.0, "inject": "none"}
        reached = []
        for detach in (False, True):
            method = make(detach=detach, **losses)
            found = compute(method, make_batch())
            scdl = sum(loss for name, loss in found.items() if name.startswith("scdl"))
            kernel = method.network.encoder.stages[0][0].weight
            gradient = torch.autograd.grad(scdl, kernel, allow_unused=True)[0]
            reached.append(size_of(gradient) > 0)
        assert reached == [True, False]


class TestTargets:
    def test_of_labelled_tokens_are_their_voxels(self):
        shares = torch.tensor([[[0.75, 0.25, 0.0]]])
        known = torch.ones(1, 3, dtype=torch.bool)
        assert torch.equal(known_targets(shares, known, torch.full((1, 1, 3), 1 / 3)), shares)

    def test_background_is_divided_among_what_it_may_be(self):
        shares, own = torch.tensor([[[0.6, 0.4, 0.0]]]), torch.tensor([[[0.1, 0.6, 0.3]]])
        annotated = torch.tensor([[True, True, False]])
        before = annotated.clone()
        found = known_targets(shares, annotated, own)
        assert torch.allclose(found, torch.tensor([[[0.15, 0.4, 0.45]]]), atol=1e-6)
        assert torch.equal(annotated, before)

    @pytest.mark.parametrize("axis", ["class", "token"])
    def test_of_unlabelled_tokens_are_shares(self, axis):
        cosines = torch.rand(2, 2000, 5) * 2 - 1
        own = own_targets(assignment(cosines, 0.2), assignment(cosines, 0.2, axis), axis)
        assert float(own.min()) >= 0
        assert torch.allclose(own.sum(-1), torch.ones(1), atol=1e-3)

    def test_what_was_not_annotated_is_no_anchor_and_neither_is_background_beside_it(self):
        method, batch = make(), make_batch()
        annotated = batch.annotated.clone()
        annotated[0, 3] = annotated[1, 2] = False
        stream = Stream(
            batch.images,
            method.network.decoded(batch.images),
            method.network.decoded,
            batch.labels,
            annotated,
        )
        shares = class_shares(batch.labels, CLASSES, token_grid((SIDE,) * 3, 8))
        present = method.plugin._present(shares, stream)
        assert present.tolist() == [[False, True, True, False], [False, True, False, False]]

    def test_labels_of_what_was_not_annotated_teach_nothing(self):
        """An organ that a case's labels call background because nobody annotated it leaves no trace."""
        method, batch = make(inject="none"), make_batch()
        partly = batch.annotated.clone()
        partly[:, 2] = False
        hidden = batch.labels.clone()
        hidden[hidden == 2] = 0
        told = compute(method, Batch(batch.images, batch.labels, batch.annotated))
        unknown = compute(method, Batch(batch.images, hidden, partly))
        claimed = compute(method, Batch(batch.images, hidden, batch.annotated))
        anchors, distances = (
            [float(each[f"scdl_{name}"].detach()) for each in (unknown, claimed, told)]
            for name in ("anchor", "e2p")
        )
        assert anchors[0] != anchors[1]
        assert distances[0] not in distances[1:]


class TestAnchors:
    def test_are_means_over_the_images_that_show_a_class(self):
        means, embeddings = torch.randn(3, 8), torch.randn(2, 3, 8)
        present = torch.tensor([[True, True, False], [True, False, False]])
        directions = F.normalize(embeddings, dim=-1)
        expected = [
            1 - F.cosine_similarity(means[0], directions[:, 0].mean(0), dim=0),
            1 - F.cosine_similarity(means[1], directions[0, 1], dim=0),
        ]
        assert torch.allclose(anchor_loss(means, embeddings, present), torch.stack(expected).mean())
        nothing = anchor_loss(means.requires_grad_(), embeddings, torch.zeros(2, 3, dtype=torch.bool))
        assert nothing.item() == 0 and nothing.requires_grad

    def test_of_masked_images_leave_statistics_and_modes_as_they_were(self):
        method, batch = make(anchors="images", inject="none"), make_batch()
        plain = make(anchors="tokens", inject="none")
        found, expected = compute(method, batch), compute(plain, batch)
        assert not torch.equal(found["scdl_anchor"], expected["scdl_anchor"])
        assert method.network.training and method.network.companion.training
        ours, theirs = method.network.state_dict(), plain.network.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    def test_background_can_be_left_out(self):
        batch, method = make_batch(), make(background=False)
        shares = class_shares(batch.labels, CLASSES, token_grid((SIDE,) * 3, 8))
        again = method.network.decoded
        stream = Stream(batch.images, again(batch.images), again, batch.labels, batch.annotated)
        assert not method.plugin._present(shares, stream)[:, 0].any()


class TestPrior:
    @pytest.mark.parametrize("inject", ["head", "stages", "bottleneck"])
    def test_enters_where_it_should_and_begins_as_nothing(self, inject):
        image = torch.randn(1, 1, SIDE, SIDE, SIDE)
        method, plain = make(inject=inject), make(inject="none")
        with torch.inference_mode():
            expected = plain.network.eval()(image)
            network = method.network.eval()
            assert torch.equal(network(image), expected)
            for projection in network.companion.projections:
                projection.weight.normal_(std=100)
            assert not torch.allclose(network(image), expected, atol=1e-3)
        assert len(network.companion.projections) == (4 if inject == "stages" else 1)

    def test_a_patch_of_any_side_is_segmented(self):
        network = make(inject="head").network.eval()
        with torch.inference_mode():
            assert network(torch.randn(1, 1, 16, 48, 80)).shape == (1, CLASSES, 16, 48, 80)

    @pytest.mark.parametrize("parts", ["center", "center_and_samples", "all"])
    def test_a_scan_is_segmented_alike_twice(self, parts):
        network = make(compat="published", inject="head", parts=parts).network.eval()
        image = torch.randn(1, 1, SIDE, SIDE, SIDE)
        with torch.inference_mode():
            assert torch.equal(network(image), network(image))

    def test_is_computed_in_float32_whatever_the_network_is(self):
        network = make(compat="published", inject="head").network.eval()
        image = torch.randn(1, 1, SIDE, SIDE, SIDE)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            decoded = network.decoded(image)
        assert decoded.last.dtype == torch.bfloat16 and decoded.noted["embeddings"].dtype == torch.float32

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["supervised", "skcdf"])
    def test_a_step_in_16_bit_has_finite_gradients(self, method):
        method, batch = make(method, parts="all", anchors="images"), make_batch()
        with torch.autocast("cpu", torch.bfloat16):
            losses = compute(method, batch)
        assert all(loss.dtype == torch.float32 for name, loss in losses.items() if "scdl" in name)
        sum(losses.values()).backward()
        gradients = [each.grad for each in method.network.companion.parameters() if each.grad is not None]
        assert gradients and all(bool(torch.isfinite(each).all()) for each in gradients)

    def test_in_half_precision_follows_the_weights(self):
        network = make(compat="published", inject="head").network.eval()
        image = torch.randn(1, 1, SIDE, SIDE, SIDE)
        with torch.inference_mode():
            exact = network(image)
            halved = network.bfloat16()(image.bfloat16())
        assert halved.dtype == torch.bfloat16
        assert float((halved.float() - exact).abs().max()) < 0.1 * float(exact.abs().max())


class TestOptions:
    def test_the_faces_differ_in_what_was_repaired(self):
        corrected, published = plugin_options("scdl"), plugin_options("scdl", "published")
        assert (corrected.p2e_axis, published.p2e_axis) == ("token", "class")
        assert corrected.zero_start and not published.zero_start

    def test_the_papers_weights_are_a_preset(self):
        paper = plugin_options("scdl", chosen={"preset": "paper"})
        assert (paper.p2e_weight, paper.e2p_weight, paper.anchor_weight) == (1, 1, 1)
        assert paper.p2e_axis == "token" and paper.anchors == "images"

    def test_the_ramp_is_that_of_pseudo_labels(self):
        constant, ramped = compute(make(), make_batch()), compute(make(ramp="consistency"), make_batch())
        for name in constant:
            factor = math.exp(-5 * 0.5**2) if name.startswith("scdl") else 1.0
            assert float(ramped[name].detach()) == pytest.approx(factor * float(constant[name].detach()))

    @pytest.mark.parametrize("name", ["p2e", "e2p", "anchor", "alignment"])
    def test_each_loss_has_its_weight(self, name):
        once, twice = (compute(make(**{f"{name}_weight": weight}), make_batch()) for weight in (1.0, 2.0))
        for key in once:
            factor = 2 if key == f"scdl_{name}" else 1
            assert float(twice[key].detach()) == pytest.approx(factor * float(once[key].detach())), key

    def test_unlabelled_tokens_can_be_left_out(self):
        names = set(compute(make("skcdf", unlabelled="none"), make_batch()))
        assert names < set(compute(make("skcdf"), make_batch()))
        assert not any(name.startswith("unlabelled_scdl") for name in names)

    def test_noise_can_be_fixed(self):
        distribution = ClassDistribution(3, 4, fixed_noise=True).eval()
        embeddings = distribution.embed(torch.randn(1, 6, 3))
        first, second = (distribution.sampled_cosines(embeddings) for _ in range(2))
        assert torch.equal(first, second)

    def test_two_networks_can_share_their_proxies(self):
        networks = [VNet(1, CLASSES, 2), VNet(1, CLASSES, 2)]
        ScdlPlugin(PROBLEM, plugin_options("scdl", chosen={"companions": "shared"})).accompany(networks, True)
        assert isinstance(networks[0].companion, Scdl) and isinstance(networks[1].companion, Borrowed)
        assert not list(networks[1].companion.parameters())
        decoded = networks[1].decoded(torch.randn(1, 1, 32, 32, 32))
        assert decoded.companion is networks[0].companion

    @pytest.mark.parametrize(
        ("chosen", "message"),
        [
            ({"tokens": "skin"}, "tokens must be 'decoder' or 'encoder'"),
            ({"stride": 0}, "stride must be at least 1"),
            ({"e2p_temperature": 0}, "e2p_temperature must be above 0"),
            ({"anchor_weight": -1}, "anchor_weight must not be negative"),
            ({"companions": "shared", "inject": "head"}, "companions can be shared only"),
            ({"axis": "token"}, "option axis is not known. Its options are preset, tokens, stride"),
            ({"preset": ["paper"]}, "no preset called .'paper'.. Known are amos, paper"),
        ],
    )
    def test_mistakes_are_told_in_one_line(self, chosen, message):
        with pytest.raises(SkcdfError, match=message) as error:
            plugin_options("scdl", chosen=chosen)
        assert "\n" not in str(error.value)


def test_losses_do_not_depend_on_how_a_step_is_divided_into_passes():
    """One pass over three images, or one over two and one over the third, weighted by their shares."""
    torch.manual_seed(0)
    plugin = build_plugin("scdl", PROBLEM, "published", {"inject": "none", "noise": "fixed"})
    network = VNet(1, CLASSES, 2, dropout=0.0)
    plugin.accompany([network], True)
    network.eval()
    batch = make_batch()
    images = torch.cat([batch.images, batch.unlabelled])
    whole = plugin.losses(
        Stream(images, network.decoded(images), network.decoded, batch.labels, batch.annotated), MOMENT
    )
    first, second = network.decoded(images).of(slice(2)), network.decoded(images).of(slice(2, 3))
    known = Stream(images[:2], first, network.decoded, batch.labels, batch.annotated, share=2 / 3)
    unknown = Stream(images[2:], second, network.decoded, share=1 / 3)
    parts = [plugin.losses(stream, MOMENT) for stream in (known, unknown)]
    for name, loss in whole.items():
        divided = sum(float(part[name]) for part in parts if name in part)
        assert float(loss) == pytest.approx(divided, rel=1e-5, abs=1e-6), name


@pytest.mark.slow
def test_clusters_of_tokens_find_their_proxies():
    """What the losses are for: labelled tokens of a class come to lie nearest to its proxy."""
    torch.manual_seed(0)
    distribution = ClassDistribution(6, 3, samples=20)
    optimizer = torch.optim.SGD(distribution.parameters(), 0.1, momentum=0.9)
    centres, labels = torch.randn(3, 6), torch.arange(60) % 3
    targets = F.one_hot(labels, 3).float()[None]
    for _ in range(150):
        tokens = (centres[labels] + 0.3 * torch.randn(60, 6))[None]
        embeddings = distribution.embed(tokens)
        sampled = distribution.sampled_cosines(embeddings)
        focused = distribution.embed(targets.transpose(1, 2) @ tokens / 20)
        loss = proxy_to_embedding(targets, sampled) + 0.1 * embedding_to_proxy(targets, sampled)
        loss = loss + anchor_loss(distribution.means, focused, torch.ones(1, 3, dtype=torch.bool))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = distribution.eval().cosines(distribution.embed(centres[labels][None])).argmax(-1)[0]
    assert np.array_equal(found.numpy(), labels.numpy())
