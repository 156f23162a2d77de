"""The gradient-aware losses are their equations, transcribed in numpy with one-hot volumes, in value and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from skcdf.ga_losses import _largest, ga_cross_entropy, ga_dice, ga_loss
from skcdf.losses import cross_entropy

SHAPE = (3, 4, 5)
quick = settings(max_examples=60, deadline=None)


def drawn(seed: int, batch: int, classes: int, partial: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Random logits, labels in which classes may be absent, and what was annotated; labels keep to that."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((batch, classes, *SHAPE))
    present = np.flatnonzero(rng.random(classes) < 0.6)
    target = rng.choice(present if present.size else [0], (batch, *SHAPE))
    annotated = rng.random((batch, classes)) < (0.6 if partial else 2.0)
    annotated[:, 0] = True
    for case in range(batch):
        target[case][~annotated[case][target[case]]] = 0
    return torch.from_numpy(logits), torch.from_numpy(target), torch.from_numpy(annotated)


def merged(logits: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Softmax, the probability of what was not annotated in a case given to background there."""
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    for case, known in enumerate(annotated):
        p[case, 0] += p[case, ~known].sum(0)
        p[case, ~known] = 0
    return p


def plain_dice(p: np.ndarray, target: np.ndarray, annotated: np.ndarray) -> tuple[float, np.ndarray]:
    """GADice and dL/dp by the letter: sg(·) is a constant for the derivative."""
    losses, slopes, epsilon = [], np.zeros_like(p), 1e-10
    for c in range(p.shape[1]):
        cases = annotated[:, c]
        if not cases.any():
            continue
        one, t = p[cases, c], (target[cases] == c).astype(float)
        if t.sum() > 0:
            above, below = 2 * (one * t).sum() + epsilon, (one**2).sum() + (t**2).sum() + epsilon
            losses.append(1 - above / below)
            slopes[cases, c] = -2 * t / below + 2 * one * above / below**2
        else:
            beta = one / (1 - t).sum()
            losses.append((beta * one).sum())
            slopes[cases, c] = beta
    return float(np.mean(losses)), slopes / len(losses)


def plain_entropy(p: np.ndarray, target: np.ndarray, k: int, gamma: float) -> float:
    values = target.ravel()
    costs = -np.log(np.moveaxis(p, 1, -1).reshape(len(values), -1)[np.arange(len(values)), values])
    count = max(1, len(costs) * k // 100)
    kept = np.argsort(costs)[::-1][:count]
    total = 0.0
    for c in np.unique(values[kept]):
        own = kept[values[kept] == c]
        total += costs[own].sum() / (len(own) ** (1 - gamma) * count**gamma)
    return total


CASES = (st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 6), st.booleans())


@given(*CASES)
@quick
def test_ga_dice_is_its_equation_in_value_and_gradient(seed, batch, classes, partial):
    logits, target, annotated = drawn(seed, batch, classes, partial)
    p = torch.from_numpy(merged(logits.numpy(), annotated.numpy())).requires_grad_()
    value = ga_dice(p, target, annotated)
    value.backward()
    expected, slopes = plain_dice(p.detach().numpy(), target.numpy(), annotated.numpy())
    assert value.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert np.abs(p.grad.numpy() - slopes).max() < 1e-12


@given(*CASES, st.sampled_from([1, 10, 33, 100]), st.sampled_from([0.0, 0.5, 1.0]))
@quick
def test_ga_cross_entropy_is_its_equation(seed, batch, classes, partial, k, gamma):
    logits, target, annotated = drawn(seed, batch, classes, partial)
    p = merged(logits.numpy(), annotated.numpy())
    with np.errstate(divide="ignore"):
        value = ga_cross_entropy(torch.from_numpy(np.log(p)), target, k, gamma)
    assert value.item() == pytest.approx(plain_entropy(p, target.numpy(), k, gamma), rel=1e-12)


@given(*CASES)
@quick
def test_the_labelled_loss_is_the_sum_of_both_and_its_gradient_finite(seed, batch, classes, partial):
    logits, target, annotated = drawn(seed, batch, classes, partial)
    p = merged(logits.numpy(), annotated.numpy())
    expected = plain_dice(p, target.numpy(), annotated.numpy())[0] + plain_entropy(p, target.numpy(), 10, 0.5)
    value = ga_loss(logits.requires_grad_(), target, annotated)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    value.backward()
    assert logits.grad.isfinite().all()


def test_the_gradient_is_that_of_the_kept_voxels_alone():
    logits, target, _ = drawn(3, 2, 4, False)
    log_p = logits.log_softmax(1).requires_grad_()
    ga_cross_entropy(log_p, target, 10, 1.0).backward()
    costs = -log_p.detach().gather(1, target[:, None])[:, 0]
    kept = costs >= costs.flatten().topk(12).values.min()
    expected = torch.zeros_like(log_p).scatter_(1, target[:, None], (-kept.double() / 12)[:, None])
    assert torch.allclose(log_p.grad, expected, rtol=1e-12, atol=0)


def test_all_voxels_kept_is_the_balanced_cross_entropy():
    logits, target, _ = drawn(4, 2, 4, False)
    log_p = logits.log_softmax(1)
    assert torch.equal(ga_cross_entropy(log_p, target, 100, 0.5), cross_entropy(log_p, target, 0.5))


def test_voxels_of_the_same_cost_share_the_places_that_are_left():
    """120 voxels, 12 places: 4 of the hardest, and 40 that are alike, half of them of either class."""
    target = torch.zeros(2, *SHAPE, dtype=torch.int64)
    log_p = torch.full((2, 2, *SHAPE), -1.0, dtype=torch.float64)
    hard, alike = log_p[0, :, 0].reshape(2, -1), log_p[1, :, :2].reshape(2, -1)
    hard[:, :4], alike[:] = -5.0, -3.0
    log_p[0, :, 0], log_p[1, :, :2] = hard.view(2, 4, 5), alike.view(2, 2, 4, 5)
    target[1, 1] = 1
    counts = 4 + 8 / 2, 8 / 2
    expected = (4 * 5 + 4 * 3) / (counts[0] * 12) ** 0.5 + 4 * 3 / (counts[1] * 12) ** 0.5
    assert ga_cross_entropy(log_p, target).item() == pytest.approx(expected, rel=1e-12)


def test_a_perfect_prediction_costs_nothing_however_many_voxels_are_alike():
    target = torch.arange(60).view(1, *SHAPE) % 3
    right = 50.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    logits = right.requires_grad_()
    value = ga_loss(logits, target)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad.isfinite().all()


@given(st.lists(st.floats(0, allow_nan=False, width=32), min_size=1, max_size=30), st.data())
@quick
def test_the_value_in_a_place_is_found_exactly(values, data):
    place = data.draw(st.integers(1, len(values)))
    for kind in (torch.float32, torch.float64):
        found = _largest(torch.tensor(values, dtype=kind).abs(), torch.tensor(place))
        assert found.item() == sorted(values, reverse=True)[place - 1]


def test_an_organ_that_was_not_annotated_is_not_pushed_towards_background():
    logits = torch.zeros(1, 3, *SHAPE)
    logits[:, 2] = 12.0  # sure of organ 2, which nobody drew in this case
    target = torch.zeros(1, *SHAPE, dtype=torch.int64)

    def push(annotated: Tensor | None) -> float:
        given = logits.clone().requires_grad_()
        ga_loss(given, target, annotated).backward()
        return float(given.grad[:, 2].max())

    assert push(torch.tensor([[True, True, False]])) < 1e-9
    assert push(None) > 0.01


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_logits_and_extreme_ones_stay_finite(kind):
    logits = 1000 * torch.randn(2, 4, *SHAPE, generator=torch.Generator().manual_seed(0)).to(kind)
    _, target, annotated = drawn(1, 2, 4, True)
    logits.requires_grad_()
    value = ga_loss(logits, target, annotated)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()
