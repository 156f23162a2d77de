"""SCDL's module computes the published program's outputs, number for number.

What that program computed is read from a file beside the project. Without the file these tests are skipped. The file
holds a sixth output, the anchors' loss, but not the class tokens that it was computed from: that one is held against
its formula in ``test_scdl.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from skcdf.networks.class_distribution import ClassDistribution
from skcdf.networks.scdl import Scdl
from skcdf.plugins.alignment import (
    assignment,
    divergence_over_classes,
    embedding_to_proxy,
    own_targets,
    proxy_to_embedding,
)
from skcdf.plugins.scdl_options import ScdlOptions

FIXTURE = (Path(__file__).resolve().parents[2] / "../shared/parity/scdl_k14.npz").resolve()
TOLERANCE = 1e-10

pytestmark = pytest.mark.skipif(
    not FIXTURE.is_file(), reason=f"the parity tensors are not here: {FIXTURE.name}"
)


@pytest.fixture(scope="module")
def published() -> Iterator[dict[str, Tensor]]:
    with np.load(FIXTURE) as file:
        yield {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def weights(published) -> dict[str, Tensor]:
    return {name.removeprefix("sd/"): each for name, each in published.items() if name.startswith("sd/")}


@pytest.fixture(scope="module")
def distribution(weights) -> ClassDistribution:
    module = ClassDistribution(16, 14).double().eval()
    module.load_state_dict(weights)
    return module


def agrees(found: Tensor, published: dict[str, Tensor], name: str) -> bool:
    expected = published[f"out/{name}"]
    return found.shape == expected.shape and float((found - expected).abs().max()) < TOLERANCE


def test_the_module_has_the_published_parameters(weights):
    module = ClassDistribution(16, 14)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    assert shapes == {name: each.shape for name, each in weights.items()}
    assert sum(each.numel() for each in module.parameters()) == 410_112


@torch.no_grad()
def test_the_losses_are_the_published_ones(distribution, published):
    embeddings = distribution.embed(published["x"])
    log_p = assignment(distribution.cosines(embeddings), 0.2)
    sampled = distribution.sampled_cosines(embeddings, published["eps_p"])
    assert agrees(log_p.exp(), published, "probs_e2p")
    targets = own_targets(log_p, log_p, "class")
    weight = ScdlOptions().e2p_weight
    proxy_loss = proxy_to_embedding(targets, sampled) + weight * embedding_to_proxy(targets, sampled)
    assert agrees(proxy_loss, published, "proxy_loss")
    assert agrees(divergence_over_classes(log_p, log_p), published, "sym_kl")


@torch.no_grad()
def test_the_samples_are_the_published_ones(distribution, published):
    samples = distribution.sampled_embeddings(distribution.embed(published["x"]), published["eps_e"])
    assert agrees(samples, published, "z_sampled")


def test_noise_is_drawn_in_the_published_order(distribution, published):
    torch.manual_seed(4)
    expected = [torch.randn(each, dtype=torch.float64) for each in ((14, 50, 256), (2, 64, 2, 256))]
    torch.manual_seed(4)
    embeddings = distribution.embed(published["x"])
    first = distribution.sampled_cosines(embeddings)
    second = distribution.sampled_embeddings(embeddings)
    assert torch.equal(first, distribution.sampled_cosines(embeddings, expected[0]))
    assert torch.equal(second, distribution.sampled_embeddings(embeddings, expected[1]))


@torch.no_grad()
def test_the_prior_that_enters_the_network_is_the_published_one(weights, published):
    companion = Scdl(filters=16, classes=14, inject="head").double().eval()
    companion.distribution.load_state_dict(weights)
    prior = companion._prior(companion.distribution.embed(published["x"]))
    assert agrees(prior, published, "prior")
    both = Scdl(filters=16, classes=14, inject="bottleneck", parts="center_and_samples").double().train()
    both.distribution.load_state_dict(weights)
    torch.manual_seed(4)
    embeddings = both.distribution.eval().embed(published["x"])
    torch.manual_seed(4)
    noise = torch.randn(published["eps_e"].shape, dtype=torch.float64)
    expected = torch.cat(
        [published["out/prior"], both.distribution.sampled_embeddings(embeddings, noise).mean(2)], -1
    )
    torch.manual_seed(4)
    assert torch.allclose(both._prior(embeddings), expected, atol=TOLERANCE)
