"""The opponent of `benchmarks/training.py` computes what the engine computes: only so can seconds be compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reference.skcdf_plain import PlainSkcdf
from skcdf.methods import Batch, Moment, Problem, build_method
from skcdf.methods.ramp import ramp

PATCH, CLASSES, FILTERS = (32, 32, 32), 4, 2
MOMENT = Moment(0.6, 0.55)


@pytest.fixture(scope="module", params=["published", "corrected"])
def both(request):
    """The engine's method and the plain network with its weights, in float64."""
    counts = np.array([[900.0, 60.0, 30.0, 10.0], [800.0, 100.0, 50.0, 50.0]])
    problem = Problem(
        1, CLASSES, FILTERS, PATCH, class_names=("background", "a", "b", "c"), voxel_counts=counts
    )
    torch.manual_seed(1)
    method = build_method("skcdf", problem, request.param, {"dropout": 0.0, "attention_dropout": 0.0})
    method.network.double()
    plain = PlainSkcdf(
        1,
        CLASSES,
        PATCH,
        FILTERS,
        published=request.param == "published",
        dropout=0.0,
        attention_dropout=0.0,
    ).double()
    plain.load_state_dict(method.network.state_dict())
    return method, plain


@pytest.fixture(scope="module")
def batch() -> Batch:
    torch.manual_seed(2)
    images, unlabelled = torch.randn(1, 1, *PATCH).double(), torch.randn(2, 1, *PATCH).double()
    return Batch(
        images,
        torch.randint(CLASSES, (1, *PATCH)),
        torch.ones(1, CLASSES, dtype=torch.bool),
        unlabelled,
    )


@pytest.mark.slow
def test_copies_parameters_alike(both):
    method, plain = both
    method.begin_step(MOMENT)
    plain.copy_parameters()
    for name, expected in method.network.state_dict().items():
        torch.testing.assert_close(plain.state_dict()[name], expected, rtol=1e-12, atol=1e-12)


def test_has_the_same_loss_and_the_same_gradients(both, batch):
    method, plain = both
    method.network.zero_grad()
    torch.manual_seed(3)
    ours = 0.0
    for losses in method.losses(batch, MOMENT):
        loss = torch.stack(list(losses.values())).sum()
        loss.backward()
        ours += loss.item()
    plain.zero_grad()
    torch.manual_seed(3)
    weight = ramp(MOMENT.lagging, method.options.ramp_weight)
    keep = method.keep_probabilities.float()
    theirs = plain.loss(batch.images, batch.labels, batch.unlabelled, keep, MOMENT.progress, weight)
    theirs.backward()
    assert theirs.item() == pytest.approx(ours, rel=1e-7)  # sums of the Dice terms are kept in float32
    for name, parameter in method.network.named_parameters():
        expected = parameter.grad
        scale = max(expected.abs().max().item(), 1e-3)
        difference = (dict(plain.named_parameters())[name].grad - expected).abs().max().item()
        assert difference < 1e-6 * scale, name
