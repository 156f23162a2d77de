"""Random changes of patches: sides are never mixed up, image and label move together, every draw can be replayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from skcdf.labels import LabelSet
from skcdf.trainer.augment import (
    ROTATION_DEGREES,
    Change,
    apply_changes,
    draw_changes,
    mirror_annotated,
)
from skcdf.trainer.config import Augmentation

SPACING = (1.0, 1.0, 1.0)
UNCHANGED = Change(np.eye(3), False, (False, False), 1.0, 0.0, 0.0, 0)
MIRROR = replace(UNCHANGED, mirror=True)
SYNAPSE = LabelSet.load("synapse13")
quick = settings(max_examples=20, deadline=None)


def draw(seed: int, count: int, *, mirror: bool, augmentation: Augmentation = "standard") -> list[Change]:
    """Changes of the first slots of a batch."""
    return draw_changes(((seed, slot) for slot in range(count)), mirror=mirror, augmentation=augmentation)


def patches(batch: int = 1, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(SYNAPSE.number_of_classes, (batch, side, side, side), generator=generator)
    return torch.randn(batch, 1, side, side, side, generator=generator), labels.to(torch.uint8)


def test_a_mirrored_left_kidney_is_a_right_kidney_on_the_other_side(label_set):
    left, right = label_set.value_of("left_kidney"), label_set.value_of("right_kidney")
    image, labels = torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    image[0, 0, 2, 3, 6] = 1.0  # x rises towards the patient's left
    labels[0, 2, 3, 6] = left
    image, labels = apply_changes(image, labels, [MIRROR], SPACING, label_set)
    assert image.nonzero().tolist() == [[0, 0, 2, 3, 1]]
    assert labels.nonzero().tolist() == [[0, 2, 3, 1]]
    assert labels[0, 2, 3, 1] == right


@pytest.mark.parametrize("name", ["synapse13", "amos15", "openkbp7", "hippocampus2"])
def test_a_mirror_exchanges_partners_and_nothing_else(name):
    label_set = LabelSet.load(name)
    labels = torch.arange(label_set.number_of_classes, dtype=torch.uint8).view(1, -1, 1, 1).repeat(1, 1, 2, 2)
    _, mirrored = apply_changes(labels[:, None].float(), labels, [MIRROR], SPACING, label_set)
    for label in label_set.labels:
        other = label_set.labels[int(mirrored[0, label.value, 0, 0]) - 1]
        assert other.value == (label.partner or label.value)
        assert ("left" in label.name) == ("right" in other.name)
    assert not mirrored[0, 0].any()


def test_a_mirror_twice_changes_nothing():
    image, labels = patches(2)
    once = apply_changes(image, labels, [MIRROR, UNCHANGED], SPACING, SYNAPSE)
    assert torch.equal(once[1][1], labels[1])
    assert not torch.equal(once[1][0], labels[0])
    twice = apply_changes(*once, [MIRROR, UNCHANGED], SPACING, SYNAPSE)
    assert torch.equal(twice[0], image)
    assert torch.equal(twice[1], labels)


def test_the_annotated_side_is_mirrored_too(label_set):
    left = label_set.value_of("left_kidney")
    annotated = torch.zeros(2, 4, dtype=torch.bool)
    annotated[:, [0, left]] = True
    moved = mirror_annotated(annotated, [MIRROR, UNCHANGED], label_set)
    assert moved[0].nonzero().flatten().tolist() == [0, label_set.value_of("right_kidney")]
    assert torch.equal(moved[1], annotated[1])


@given(st.integers(0, 2**31), st.integers(0, 10**6), st.integers(1, 4))
@quick
def test_a_slots_change_depends_on_its_seed_alone(seed, iteration, count):
    first, again, fewer = (
        draw_changes([(seed, iteration, slot) for slot in range(n)], mirror=True, augmentation="standard")
        for n in (count, count, 1)
    )
    image, labels = patches(count, 8)
    results = [apply_changes(image, labels, changes, SPACING, SYNAPSE) for changes in (first, again)]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert np.array_equal(first[0].matrix, fewer[0].matrix)
    assert first[0].noise_seed == fewer[0].noise_seed


def test_slots_and_iterations_differ():
    drawn = [change for i in range(20) for change in draw(i, 3, mirror=True)]
    assert len({change.brightness for change in drawn}) == 60
    assert 15 < sum(change.mirror for change in drawn) < 45


def test_what_is_not_wanted_is_not_drawn():
    for change in draw(0, 20, mirror=False, augmentation="none"):
        assert change == replace(UNCHANGED, matrix=change.matrix, noise_seed=change.noise_seed)
        assert np.array_equal(change.matrix, np.eye(3))
    assert any(change.mirror for change in draw(0, 20, mirror=True, augmentation="none"))
    assert not any(change.mirror for change in draw(0, 20, mirror=False))
    assert not any(any(change.blind_flips) for change in draw(0, 20, mirror=True))


def test_the_published_flips_are_of_y_and_x_each_half_of_the_time_and_mix_up_sides():
    image, labels = patches(1, 8)
    drawn = draw(0, 200, mirror=False, augmentation="published")
    for change in drawn:
        expected = replace(UNCHANGED, blind_flips=change.blind_flips)
        assert replace(change, matrix=UNCHANGED.matrix, noise_seed=0) == expected
        assert np.array_equal(change.matrix, np.eye(3))
    for axis in (0, 1):
        assert 80 < sum(change.blind_flips[axis] for change in drawn) < 120
    kinds = {change.blind_flips: change for change in drawn}
    assert len(kinds) == 4
    for (along_y, along_x), change in kinds.items():
        axes = [-2] * along_y + [-1] * along_x
        flipped, moved = apply_changes(image, labels, [change], SPACING, SYNAPSE)
        assert torch.equal(flipped, image.flip(axes))
        assert torch.equal(moved, labels.flip(axes))  # a left kidney on the right stays a left one
        annotated = torch.arange(14)[None] < 4
        assert torch.equal(mirror_annotated(annotated, [change], SYNAPSE), annotated)


def test_turns_and_scales_keep_within_their_limits():
    for change in draw(3, 100, mirror=True):
        scale = np.cbrt(np.linalg.det(change.matrix))
        assert 1 / 1.2 <= scale <= 1.2
        turn = change.matrix / scale
        assert np.allclose(turn @ turn.T, np.eye(3))
        assert np.rad2deg(Rotation.from_matrix(turn).magnitude()) <= np.sqrt(3) * ROTATION_DEGREES


@given(st.integers(0, 10**6), st.sampled_from([(1, 1, 1), (4, 1, 1), (1, 2, 3)]))
@quick
def test_image_and_label_move_together(seed, spacing):
    labels = torch.zeros(1, 24, 24, 24, dtype=torch.uint8)
    labels[0, 6:14, 8:20, 10:15] = 6  # the liver
    change = replace(draw(seed, 1, mirror=True)[0], contrast=1.0, brightness=0.0, noise=0.0)
    image, moved = apply_changes((labels == 6)[:, None].float(), labels, [change], spacing, SYNAPSE)
    assert set(moved.unique().tolist()) <= {0, 6}
    assert moved.dtype == torch.uint8
    disagreement = ((image[:, 0] > 0.5) != (moved == 6)).sum()
    assert disagreement < 0.12 * (moved == 6).sum()


def test_the_matrix_takes_output_positions_in_mm_to_input_positions():
    spacing = (4.0, 1.0, 2.0)
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    middle = np.array([15.5, 15.5, 15.5])
    point = np.array([6.0, 5.0, 12.0])  # x, y, z in mm from the patch's middle
    grid = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), -1)
    offset = ((grid - middle) * spacing)[..., ::-1] - point
    image = torch.from_numpy(np.exp(-0.5 * (offset**2).sum(-1) / 36)).float()[None, None]
    labels = torch.zeros(1, 32, 32, 32, dtype=torch.uint8)
    moved, _ = apply_changes(image, labels, [replace(UNCHANGED, matrix=turn)], spacing, SYNAPSE)
    weights = moved[0, 0].numpy() * (moved[0, 0].numpy() > 0.05)
    centre = np.array([(axis * weights).sum() / weights.sum() for axis in np.indices(weights.shape)])
    found = ((centre - middle) * spacing)[::-1]
    assert turn @ found == pytest.approx(point, abs=0.3)


def test_intensities_change_as_drawn_and_labels_do_not():
    image, labels = patches(1, 24)
    change = replace(UNCHANGED, contrast=1.1, brightness=-0.3, noise=0.2, noise_seed=5)
    changed, same = apply_changes(image, labels, [change], SPACING, SYNAPSE)
    residue = changed - (1.1 * image - 0.3)
    assert float(residue.std()) == pytest.approx(0.2, rel=0.05)
    assert torch.equal(same, labels)
    assert torch.equal(*(apply_changes(image, labels, [change], SPACING, SYNAPSE)[0] for _ in range(2)))


def test_what_was_given_is_left_alone():
    image, labels = patches()
    before = image.clone(), labels.clone()
    flips = replace(UNCHANGED, blind_flips=(True, True))
    apply_changes(image, labels, draw(1, 1, mirror=True), SPACING, SYNAPSE)
    apply_changes(image, labels, [flips], SPACING, SYNAPSE)
    apply_changes(image, labels, [MIRROR], SPACING, SYNAPSE)
    assert torch.equal(image, before[0])
    assert torch.equal(labels, before[1])
