"""Metrics against hand-computed cases and against MONAI as an independent oracle."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.metrics import (
    OrganScore,
    average_surface_distance,
    dice,
    evaluate_case,
    hausdorff95,
    normalized_surface_dice,
    summarize,
)

ORGANS = LabelSet.from_names("three", ["alpha", "beta", "gamma"])
ISOTROPIC = (1.0, 1.0, 1.0)


def cube(
    start: tuple[int, int, int], side: int = 6, shape: tuple[int, int, int] = (24, 24, 24)
) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(first, first + side) for first in start)] = True
    return mask


def label_map(**cubes: tuple[int, int, int]) -> np.ndarray:
    array = np.zeros((24, 24, 24), np.uint8)
    for name, start in cubes.items():
        array[cube(start)] = ORGANS.value_of(name)
    return array


def score(organ: str, scores: tuple[OrganScore, ...]) -> OrganScore:
    return next(each for each in scores if each.organ == organ)


class TestHandComputedCases:
    def test_identical_masks_agree_perfectly(self) -> None:
        mask = cube((3, 3, 3))
        assert dice(mask, mask) == 1.0
        assert average_surface_distance(mask, mask, ISOTROPIC) == 0.0
        assert hausdorff95(mask, mask, ISOTROPIC) == 0.0
        assert normalized_surface_dice(mask, mask, ISOTROPIC, 0.0) == 1.0

    def test_dice_of_a_cube_shifted_by_half_its_side_is_one_half(self) -> None:
        assert dice(cube((3, 3, 3)), cube((6, 3, 3))) == 0.5

    def test_single_voxels_lie_apart_by_their_distance_in_mm_along_each_axis(self) -> None:
        spacing = (5.0, 2.0, 0.5)
        for axis in range(3):
            shifted = [4, 4, 4]
            shifted[axis] += 3
            pair = cube((4, 4, 4), side=1), cube(tuple(shifted), side=1)
            assert average_surface_distance(*pair, spacing) == pytest.approx(3 * spacing[axis])
            assert hausdorff95(*pair, spacing) == pytest.approx(3 * spacing[axis])

    def test_plates_a_known_distance_apart_have_it_as_every_distance(self) -> None:
        first, second = np.zeros((2, 12, 8, 8), bool)
        first[2], second[7] = True, True
        assert average_surface_distance(first, second, (1.5, 1.0, 1.0)) == pytest.approx(7.5)
        assert normalized_surface_dice(first, second, (1.5, 1.0, 1.0), 7.4) == 0.0
        assert normalized_surface_dice(first, second, (1.5, 1.0, 1.0), 7.5) == 1.0

    def test_hausdorff95_takes_the_worse_direction_not_the_pooled_percentile(self) -> None:
        reference = np.zeros((1, 1, 120), bool)
        reference[0, 0, :100] = True
        prediction = reference.copy()
        prediction[0, 0, 90:100] = False
        # From the reference, 10 of 100 voxels are 1…10 mm away; from the prediction, none is.
        assert hausdorff95(prediction, reference, ISOTROPIC) == pytest.approx(
            np.percentile([0] * 90 + [*range(1, 11)], 95)
        )

    def test_the_tolerance_includes_distances_that_only_rounding_puts_beyond_it(self) -> None:
        pair = cube((4, 4, 4), side=1), cube((7, 4, 4), side=1)
        assert 3 * 0.1 > 0.3
        assert normalized_surface_dice(*pair, (0.1, 0.1, 0.1), 0.3) == 1.0

    def test_masks_at_the_edge_of_the_volume_have_their_surface_there(self) -> None:
        full = np.ones((5, 5, 5), bool)
        middle = cube((2, 2, 2), side=1, shape=(5, 5, 5))
        # The 98 outer voxels of the full volume, not its 27 inner ones, and back from the middle one: 2 mm.
        outer = np.argwhere(~cube((1, 1, 1), side=3, shape=(5, 5, 5))) - 2
        expected = (np.linalg.norm(outer, axis=1).sum() + 2.0) / 99
        assert average_surface_distance(full, middle, ISOTROPIC) == pytest.approx(expected)

    def test_masks_of_different_shape_are_refused(self) -> None:
        with pytest.raises(SkcdfError, match=r"shape \(2, 2, 2\).*\(3, 2, 2\)"):
            dice(np.ones((2, 2, 2), bool), np.ones((3, 2, 2), bool))

    def test_a_zero_spacing_is_refused(self) -> None:
        with pytest.raises(SkcdfError, match="spacing"):
            hausdorff95(cube((1, 1, 1)), cube((2, 1, 1)), (0.0, 1.0, 1.0))


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two blobs or speckles that are not empty, of one random shape."""
    shape = draw(st.tuples(*[st.integers(2, 12)] * 3))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random((2, *shape))
    masks = noise < draw(st.sampled_from([0.02, 0.3, 0.9]))
    if draw(st.booleans()):  # a solid block, as organs are
        masks[:, : shape[0] // 2 + 1, 1:, : shape[2] // 2 + 1] = True
    assume(masks[0].any() and masks[1].any())
    return masks[0], masks[1]


spacings = st.tuples(*[st.floats(0.3, 6.0)] * 3)


@pytest.mark.slow
class TestAgainstMonai:
    # MONAI computes distances in float32. It coincides where both masks have voxels; where one is empty it
    # gives infinite distances (here: nan, not counted) and leaves a spurious organ out of Dice (here: 0).

    @settings(max_examples=60, deadline=None)
    @given(mask_pairs(), spacings, st.floats(0.05, 8.0))
    def test_all_four_metrics_agree(
        self, masks: tuple[np.ndarray, np.ndarray], spacing: tuple[float, float, float], tolerance: float
    ) -> None:
        torch = pytest.importorskip("torch")
        monai = pytest.importorskip("monai.metrics")
        prediction, reference = (torch.from_numpy(mask)[None, None] for mask in masks)
        options = {"include_background": True, "spacing": spacing}
        expected = [
            monai.compute_dice(prediction, reference, include_background=True),
            monai.compute_average_surface_distance(prediction, reference, symmetric=True, **options),
            monai.compute_hausdorff_distance(prediction, reference, percentile=95, **options),
            monai.compute_surface_dice(prediction, reference, [tolerance], **options),
        ]
        ours = [
            dice(*masks),
            average_surface_distance(*masks, spacing),
            hausdorff95(*masks, spacing),
            normalized_surface_dice(*masks, spacing, tolerance),
        ]
        assert ours == pytest.approx([float(value) for value in expected], rel=1e-4, abs=1e-5)

    def test_both_leave_out_a_class_that_is_absent_in_both(self) -> None:
        torch = pytest.importorskip("torch")
        monai = pytest.importorskip("monai.metrics")
        empty = np.zeros((4, 4, 4), bool)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = monai.compute_surface_dice(
                *[torch.from_numpy(empty)[None, None]] * 2, [1.0], include_background=True
            )
        assert math.isnan(float(theirs))
        assert math.isnan(normalized_surface_dice(empty, empty, ISOTROPIC, 1.0))
        assert math.isnan(dice(empty, empty))


class TestAbsentOrgans:
    def test_an_organ_that_both_lack_is_not_counted(self) -> None:
        alpha = score("alpha", evaluate_case(label_map(), label_map(), ORGANS, ISOTROPIC))
        assert alpha.presence == "absent"
        assert math.isnan(alpha.dice)
        assert math.isnan(alpha.normalized_surface_dice)

    @pytest.mark.parametrize(
        ("prediction", "reference", "presence"),
        [({}, {"alpha": (2, 2, 2)}, "missed"), ({"alpha": (2, 2, 2)}, {}, "spurious")],
    )
    def test_an_organ_that_one_lacks_scores_zero_without_distances(
        self, prediction: dict, reference: dict, presence: str
    ) -> None:
        alpha = score(
            "alpha", evaluate_case(label_map(**prediction), label_map(**reference), ORGANS, ISOTROPIC)
        )
        assert alpha.presence == presence
        assert alpha.dice == 0.0
        assert alpha.normalized_surface_dice == 0.0
        assert math.isnan(alpha.average_surface_distance_mm)
        assert math.isnan(alpha.hausdorff95_mm)

    def test_an_organ_that_was_not_annotated_is_unknown_even_where_both_have_it(self) -> None:
        both = label_map(alpha=(2, 2, 2), beta=(12, 12, 12))
        scores = evaluate_case(both, both, ORGANS, ISOTROPIC, annotated=["beta"])
        assert score("alpha", scores).presence == "unknown"
        assert math.isnan(score("alpha", scores).dice)
        assert math.isnan(score("alpha", scores).reference_ml)
        assert score("beta", scores).dice == 1.0


class TestEvaluateCase:
    def test_scores_come_in_the_order_of_the_label_set(self) -> None:
        assert [each.organ for each in evaluate_case(label_map(), label_map(), ORGANS, ISOTROPIC)] == [
            "alpha",
            "beta",
            "gamma",
        ]

    def test_scores_equal_those_of_the_whole_masks(self) -> None:
        prediction = label_map(alpha=(2, 2, 2), beta=(12, 12, 12))
        reference = label_map(alpha=(4, 2, 3), beta=(17, 18, 18))
        spacing = (3.0, 1.0, 0.7)
        scores = evaluate_case(prediction, reference, ORGANS, spacing, tolerance_mm=2.0)
        for organ in ("alpha", "beta"):
            masks = (prediction == ORGANS.value_of(organ), reference == ORGANS.value_of(organ))
            ours = score(organ, scores)
            assert ours.dice == dice(*masks)
            assert ours.average_surface_distance_mm == average_surface_distance(*masks, spacing)
            assert ours.hausdorff95_mm == hausdorff95(*masks, spacing)
            assert ours.normalized_surface_dice == normalized_surface_dice(*masks, spacing, 2.0)

    def test_volumes_are_in_millilitres(self) -> None:
        alpha = score(
            "alpha", evaluate_case(label_map(alpha=(2, 2, 2)), label_map(), ORGANS, (5.0, 2.0, 1.0))
        )
        assert alpha.prediction_ml == pytest.approx(6**3 * 10 / 1000)
        assert alpha.reference_ml == 0.0

    def test_a_value_outside_the_label_set_is_refused(self) -> None:
        with pytest.raises(SkcdfError, match="reference holds values outside 0 to 3"):
            evaluate_case(label_map(), np.full((24, 24, 24), 4, np.uint8), ORGANS, ISOTROPIC)

    def test_scores_instead_of_labels_are_refused(self) -> None:
        with pytest.raises(SkcdfError, match="float32, not a label map"):
            evaluate_case(label_map().astype(np.float32), label_map(), ORGANS, ISOTROPIC)

    def test_a_foreign_organ_in_annotated_is_refused(self) -> None:
        with pytest.raises(SkcdfError, match="no label called spleen"):
            evaluate_case(label_map(), label_map(), ORGANS, ISOTROPIC, annotated=["spleen"])


class TestSummarize:
    def cases(self) -> list[tuple[OrganScore, ...]]:
        reference = label_map(alpha=(2, 2, 2))
        return [
            evaluate_case(reference, reference, ORGANS, ISOTROPIC),
            evaluate_case(label_map(alpha=(5, 2, 2)), reference, ORGANS, ISOTROPIC),
            evaluate_case(label_map(), reference, ORGANS, ISOTROPIC),
            evaluate_case(reference, label_map(), ORGANS, ISOTROPIC),
            evaluate_case(label_map(), label_map(), ORGANS, ISOTROPIC),
            evaluate_case(reference, reference, ORGANS, ISOTROPIC, annotated=["beta"]),
        ]

    def test_every_case_is_counted_once_and_by_its_kind(self) -> None:
        alpha = summarize(self.cases())[0]
        assert (alpha.counted, alpha.missed, alpha.spurious, alpha.absent, alpha.unknown) == (4, 1, 1, 1, 1)

    def test_means_run_over_the_counted_cases_only(self) -> None:
        alpha = summarize(self.cases())[0]
        assert alpha.dice.mean == pytest.approx((1 + 0.5 + 0 + 0) / 4)
        assert alpha.dice.sd == pytest.approx(np.std([1, 0.5, 0, 0], ddof=1))
        assert alpha.dice.n == 4
        assert alpha.hausdorff95_mm.n == 2
        assert alpha.hausdorff95_mm.mean == pytest.approx(1.5)

    def test_an_organ_never_seen_has_no_mean(self) -> None:
        gamma = summarize(self.cases())[2]
        assert gamma.counted == 0
        assert math.isnan(gamma.dice.mean)

    def test_rows_are_strict_json_and_csv(self) -> None:
        for rows in (self.cases()[2], summarize(self.cases())):
            flat = [row.to_json() for row in rows]
            assert json.loads(json.dumps(flat, allow_nan=False)) == flat
            table = io.StringIO()
            writer = csv.DictWriter(table, list(flat[0]))
            writer.writeheader()
            writer.writerows(flat)
            assert "nan" not in table.getvalue()
        assert summarize(self.cases())[0].to_json()["dice_n"] == 4
