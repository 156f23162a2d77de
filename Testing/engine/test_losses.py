"""The losses are the formulas of the method, and what was not annotated is unknown, never background."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from skcdf.losses import cross_entropy_and_dice, marginal_log_probabilities, soft_dice_loss

SHAPE = (3, 4, 5)
quick = settings(max_examples=40, deadline=None)


def plain_loss(logits: Tensor, target: Tensor, annotated: Tensor) -> Tensor:
    """The definition, case by case with one-hot volumes in float64: no trick, no shortcut."""
    batch, classes = logits.shape[:2]
    entropies, overlap, total = [], logits.new_zeros(classes), logits.new_zeros(classes)
    for case in range(batch):
        p = torch.softmax(logits[case], 0)
        unknown = [k for k in range(1, classes) if not annotated[case, k]]
        merged = [p[0] + sum(p[k] for k in unknown), *p[1:]]
        for k in range(classes):
            one_hot = (target[case] == k).to(p)
            if k not in unknown:
                entropies.append(-(one_hot * torch.log(merged[k])).sum())
                overlap[k] = overlap[k] + (merged[k] * one_hot).sum()
                total[k] = total[k] + merged[k].sum() + one_hot.sum()
    seen = [k for k in range(1, classes) if annotated[:, k].any()]
    dice = [(2 * overlap[k] + 1) / (total[k] + 1) for k in seen]
    entropy = sum(entropies) / target.numel()
    return entropy + (1 - sum(dice) / len(dice) if dice else 0)


def draw(seed: int, batch: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random logits, annotated classes, and labels that keep to them."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, *SHAPE, generator=generator, dtype=torch.float64)
    annotated = torch.rand(batch, classes, generator=generator) < 0.6
    annotated[:, 0] = True
    target = torch.randint(classes, (batch, *SHAPE), generator=generator)
    known = annotated[torch.arange(batch)[:, None], target.flatten(1)].view_as(target)
    return logits, target * known, annotated


def with_gradient(loss, logits: Tensor, *arguments: Tensor | None) -> tuple[float, Tensor]:
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, *arguments)
    value.backward()
    return float(value.detach()), logits.grad


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 6))
@quick
def test_value_and_gradient_are_those_of_the_plain_definition(seed, batch, classes):
    logits, target, annotated = draw(seed, batch, classes)
    value, gradient = with_gradient(cross_entropy_and_dice, logits, target, annotated)
    expected, expected_gradient = with_gradient(plain_loss, logits, target, annotated)
    assert value == pytest.approx(expected, abs=1e-5)
    assert torch.allclose(gradient, expected_gradient, atol=1e-6)


@given(st.integers(0, 10**6))
@quick
def test_all_annotated_is_plain_cross_entropy_plus_dice(seed):
    logits, _, _ = draw(seed, 2, 4)
    target = torch.randint(4, (2, *SHAPE), generator=torch.Generator().manual_seed(seed))
    everything = torch.ones(2, 4, dtype=torch.bool)
    entropy = torch.nn.functional.cross_entropy(logits, target)
    dice = soft_dice_loss(torch.softmax(logits, 1), target)
    value = cross_entropy_and_dice(logits, target, everything)
    assert float(value) == pytest.approx(float(entropy + dice), abs=1e-5)
    assert torch.equal(value, cross_entropy_and_dice(logits, target))


def test_gradients_pass_the_finite_difference_check():
    _, target, annotated = draw(3, 2, 3)
    probabilities = torch.rand(2, 3, *SHAPE, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda p: soft_dice_loss(p, target, annotated), probabilities)


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(2, 6))
@quick
def test_marginal_probabilities_sum_to_one_over_what_was_annotated(seed, batch, classes):
    logits, _, annotated = draw(seed, batch, classes)
    probabilities = marginal_log_probabilities(logits, annotated).exp()
    assert torch.allclose(probabilities.sum(1), torch.ones(batch, *SHAPE), atol=1e-6)
    assert not probabilities[~annotated].any()


def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_much():
    target = torch.arange(60).view(1, *SHAPE) % 3
    right = 50.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert float(cross_entropy_and_dice(right, target)) == pytest.approx(0, abs=1e-5)
    assert float(cross_entropy_and_dice(right.roll(1, 1), target)) > 10


def test_an_organ_that_was_not_annotated_is_not_pushed_towards_background():
    logits = torch.zeros(1, 3, *SHAPE)
    logits[:, 2] = 12.0  # sure of organ 2, which nobody drew in this case
    target = torch.zeros(1, *SHAPE, dtype=torch.int64)
    annotated = torch.tensor([[True, True, False]])
    _, gradient = with_gradient(cross_entropy_and_dice, logits, target, annotated)
    _, naive = with_gradient(cross_entropy_and_dice, logits, target, None)
    assert gradient[:, 2].max() < 1e-9
    assert naive[:, 2].min() > 0.01


def test_training_keeps_an_organ_that_most_cases_did_not_annotate():
    """Voxels of three intensities; organ 2 is everywhere and annotated in one case of four."""
    tissue = torch.arange(60).view(1, *SHAPE).repeat(4, 1, 1, 1) % 3
    annotated = torch.ones(4, 3, dtype=torch.bool)
    annotated[1:, 2] = False
    target = torch.where((tissue == 2) & ~annotated[:, 2, None, None, None], 0, tissue)
    image = torch.nn.functional.one_hot(tissue, 3).movedim(-1, 1).float()

    def learnt(known: Tensor | None) -> list[int]:
        weights = torch.zeros(3, 3, requires_grad=True)
        optimizer = torch.optim.SGD([weights], lr=2.0)
        for _ in range(60):
            optimizer.zero_grad()
            cross_entropy_and_dice(torch.einsum("ck,bkzyx->bczyx", weights, image), target, known).backward()
            optimizer.step()
        return weights.argmax(0).tolist()

    assert learnt(annotated) == [0, 1, 2]
    assert learnt(None) == [0, 1, 0]  # what taking "not annotated" for "background" teaches


def test_a_case_without_any_annotation_gives_no_gradient():
    logits, target, annotated = draw(0, 2, 4)
    annotated[:, 1:] = False
    value, gradient = with_gradient(cross_entropy_and_dice, logits, 0 * target, annotated)
    assert value == pytest.approx(0, abs=1e-6)
    assert gradient.abs().max() < 1e-6


def test_dice_counts_a_class_only_in_cases_that_annotate_it():
    probabilities = torch.full((2, 2, *SHAPE), 0.5)
    target = torch.zeros(2, *SHAPE, dtype=torch.int64)
    target[0] = 1
    annotated = torch.tensor([[True, True], [True, False]])
    n = np.prod(SHAPE)
    expected = 1 - (2 * 0.5 * n + 1) / (0.5 * n + n + 1)
    assert float(soft_dice_loss(probabilities, target, annotated)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_logits_and_extreme_ones_stay_finite(kind):
    logits = 1000 * torch.randn(2, 4, *SHAPE, generator=torch.Generator().manual_seed(0)).to(kind)
    _, target, annotated = draw(1, 2, 4)
    value, gradient = with_gradient(cross_entropy_and_dice, logits, target, annotated)
    assert np.isfinite(value)
    assert gradient.isfinite().all()
