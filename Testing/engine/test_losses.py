"""The losses are the formulas of the method, and what was not annotated is unknown, never background."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from skcdf import ranks
from skcdf.losses import (
    cross_entropy,
    cross_entropy_and_dice,
    loss_of_masked,
    loss_of_selected,
    marginal_log_probabilities,
    soft_dice_loss,
)

SHAPE = (3, 4, 5)
quick = settings(max_examples=40, deadline=None)


def plain_loss(logits: Tensor, target: Tensor, annotated: Tensor, keep: Tensor | None = None) -> Tensor:
    """The definition, case by case with one-hot volumes in float64: no trick, no shortcut."""
    batch, classes = logits.shape[:2]
    keep = torch.ones_like(target, dtype=torch.bool) if keep is None else keep
    entropies, overlap, total = [], logits.new_zeros(classes), logits.new_zeros(classes)
    for case in range(batch):
        p = torch.softmax(logits[case], 0)
        unknown = [k for k in range(1, classes) if not annotated[case, k]]
        merged = [p[0] + sum(p[k] for k in unknown), *p[1:]]
        for k in range(classes):
            one_hot = ((target[case] == k) & keep[case]).to(p)
            if k not in unknown:
                entropies.append(-(one_hot * torch.log(merged[k])).sum())
                overlap[k] = overlap[k] + (merged[k] * one_hot).sum()
                total[k] = total[k] + (merged[k] * keep[case]).sum() + one_hot.sum()
    seen = [k for k in range(1, classes) if annotated[:, k].any()]
    dice = [(2 * overlap[k] + 1) / (total[k] + 1) for k in seen]
    entropy = sum(entropies) / keep.sum().clamp_min(1)
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
    assert torch.allclose(probabilities.sum(1), torch.ones(batch, *SHAPE, dtype=torch.float64), atol=1e-6)
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


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(2, 5), st.sampled_from([0.0, 0.03, 0.5, 1.0]))
@quick
def test_the_loss_of_selected_voxels_is_the_plain_definition_on_those_alone(seed, batch, classes, share):
    logits, target, annotated = draw(seed, batch, classes)
    keep = torch.rand(target.shape, generator=torch.Generator().manual_seed(seed)) < share
    value, gradient = with_gradient(
        lambda z, *more: loss_of_selected(z, target, keep, *more), logits, annotated
    )
    expected, expected_gradient = with_gradient(lambda z: plain_loss(z, target, annotated, keep), logits)
    assert value == pytest.approx(expected, abs=1e-7)
    assert torch.allclose(gradient, expected_gradient, atol=1e-8)
    assert not gradient.movedim(1, -1)[~keep].any()


@pytest.mark.parametrize("known", [None, [[True, True, True], [True, True, False]]])
def test_an_empty_selection_costs_nothing_and_pushes_nowhere(known):
    logits, target, _ = draw(0, 2, 3)
    annotated = None if known is None else torch.tensor(known)
    keep = torch.zeros_like(target, dtype=torch.bool)
    value, gradient = with_gradient(loss_of_selected, logits.float(), 0 * target, keep, annotated)
    assert value == pytest.approx(0, abs=1e-7)
    assert gradient.eq(0).all()  # nan is not 0


def test_a_case_without_a_selected_voxel_changes_nothing():
    logits, target, _ = draw(1, 2, 4)
    keep = torch.ones_like(target, dtype=torch.bool)
    keep[1] = False
    value, gradient = with_gradient(loss_of_selected, logits, target, keep)
    alone, its_gradient = with_gradient(cross_entropy_and_dice, logits[:1], target[:1])
    assert value == pytest.approx(alone)
    assert torch.allclose(gradient[:1], its_gradient)
    assert gradient[1].eq(0).all()


@given(st.integers(0, 10**6), st.integers(2, 6))
@quick
def test_the_masked_loss_counts_dropped_voxels_as_background_of_uniform_probability(seed, classes):
    """The closed form: with D dropped voxels of N, D log K / N in CE, and D / K false positives of every organ."""
    logits, _, _ = draw(seed, 2, classes)
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (2, *SHAPE), generator=generator)
    keep = torch.rand(target.shape, generator=generator) < 0.4

    def closed_form(z: Tensor) -> Tensor:
        kept = torch.softmax(z.movedim(1, -1)[keep], 1)
        one_hot = torch.nn.functional.one_hot(target[keep], classes).to(kept)
        dropped = int((~keep).sum())
        entropy = (dropped * np.log(classes) - (one_hot * kept.log()).sum()) / keep.numel()
        found = (kept * one_hot).sum(0)
        spurious = (kept * (1 - one_hot)).sum(0) + dropped / classes
        missed = ((1 - kept) * one_hot).sum(0)
        dice = (2 * found + 1) / (2 * found + spurious + missed + 1)
        return entropy + 1 - dice[1:].mean()

    value, gradient = with_gradient(loss_of_masked, logits, target, keep)
    expected, expected_gradient = with_gradient(closed_form, logits)
    assert value == pytest.approx(expected, abs=1e-7)
    assert torch.allclose(gradient, expected_gradient, atol=1e-8)
    assert not gradient.movedim(1, -1)[~keep].any()


def test_a_perfect_head_has_the_published_floor_when_masked_and_none_when_selected():
    """In the proportions of Synapse, 570 kept voxels of each of 14 classes in 2 patches of 64 × 128 × 128."""
    target = torch.zeros(2, 16, 32, 32, dtype=torch.int64)
    target.view(-1)[: 14 * 9] = torch.arange(14).repeat(9)
    keep = torch.zeros_like(target, dtype=torch.bool)
    keep.view(-1)[: 14 * 9] = True
    perfect = 50.0 * torch.nn.functional.one_hot(target, 14).movedim(-1, 1).float()
    assert float(loss_of_masked(perfect, target, keep)) == pytest.approx(2.629 + 0.992, abs=2e-3)
    assert float(loss_of_selected(perfect, target, keep)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loss", [loss_of_selected, loss_of_masked])
def test_balanced_losses_of_half_precision_logits_stay_finite(loss, kind):
    logits = 1000 * torch.randn(2, 4, *SHAPE, generator=torch.Generator().manual_seed(0)).to(kind)
    _, target, annotated = draw(1, 2, 4)
    value, gradient = with_gradient(loss, logits, target, target % 2 == 0, annotated)
    assert np.isfinite(value)
    assert gradient.isfinite().all()


def test_gamma_goes_from_the_mean_over_voxels_to_the_sum_of_class_means():
    logits, _, _ = draw(2, 2, 3)
    log_probabilities = logits.log_softmax(1)
    target = torch.zeros(2, *SHAPE, dtype=torch.int64)
    target[0, 0], target[1, 0, 0] = 1, 2
    costs = -log_probabilities.gather(1, target[:, None])[:, 0]
    means = [float(costs[target == k].mean()) for k in range(3)]
    assert float(cross_entropy(log_probabilities, target)) == pytest.approx(float(costs.mean()))
    assert float(cross_entropy(log_probabilities, target, gamma=0.0)) == pytest.approx(sum(means))
    shares = [float((target == k).double().mean()) ** 0.5 for k in range(3)]
    half = sum(mean * share for mean, share in zip(means, shares, strict=True))
    assert float(cross_entropy(log_probabilities, target, gamma=0.5)) == pytest.approx(half)


def test_one_process_alone_sums_nothing():
    values = torch.ones(3, requires_grad=True)
    assert (ranks.world_size(), ranks.rank()) == (1, 0)
    assert ranks.sum_over_ranks(values) is values
