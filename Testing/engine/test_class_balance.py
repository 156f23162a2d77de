"""Balanced masks: rare classes keep their voxels, common ones few; and the ramps that let the masks in."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skcdf.errors import SkcdfError
from skcdf.methods.class_balance import annotated_counts, draw_mask, first_four_counts, keep_probabilities
from skcdf.methods.skcdf import ramp, unlabelled_probabilities
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.recipes import published_recipe
from skcdf.trainer import TrainingConfig
from skcdf.trainer.schedule import build_optimizer, set_learning_rate

NAN = math.nan
NAMES = ("background", "spleen", "liver")


class TestCounts:
    def test_are_means_over_the_cases_that_annotate_a_class(self):
        counts = np.array([[100, 10, NAN, 0], [300, NAN, NAN, 0], [200, 30, NAN, 0]])
        assert annotated_counts(counts).tolist() == [200, 20, 0, 0]

    @pytest.mark.parametrize(("cases", "expected"), [(1, 4), (2, 22), (3, 112), (4, 1111), (6, 1111)])
    def test_as_published_are_of_four_cases_cycling_through_fewer(self, cases, expected):
        counts = np.array([[1.0, 2.0] for _ in range(cases)]) * 10.0 ** np.arange(cases)[:, None]
        assert first_four_counts(counts, NAMES[:2]).tolist() == [expected, 2 * expected]

    @pytest.mark.parametrize("value", [0, NAN])
    def test_as_published_need_every_class_and_name_the_one_that_is_absent(self, value):
        counts = np.array([[100, 5, value]] * 4 + [[100, 5, 50]])
        with pytest.raises(SkcdfError, match="first 4 labelled cases hold no liver") as refused:
            first_four_counts(counts, NAMES)
        assert "class_counts=annotated" in refused.value.hint
        expected = [0.05, 1.0, 0.1] if math.isnan(value) else [0.05, 1.0, 0.5]  # of means 50 and 10
        assert keep_probabilities(annotated_counts(counts)).tolist() == pytest.approx(expected)


class TestKeepProbabilities:
    def test_are_the_rarest_class_over_each(self):
        assert keep_probabilities(np.array([1000.0, 10.0, 40.0])).tolist() == [0.01, 1.0, 0.25]

    def test_of_absent_classes_are_one_and_set_no_measure(self):
        assert keep_probabilities(np.array([1000.0, 0.0, 40.0])).tolist() == [0.04, 1.0, 1.0]
        assert keep_probabilities(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]

    @given(st.lists(st.just(0.0) | st.floats(1, 1e9), min_size=1, max_size=20))
    def test_lie_between_zero_and_one_and_equalise_the_expected_counts(self, counts):
        kept = keep_probabilities(np.array(counts))
        assert kept.dtype == torch.float64
        assert bool(((kept >= 0) & (kept <= 1)).all())
        rarest = min((n for n in counts if n), default=0.0)
        expected = [float(r) * n for r, n in zip(kept, counts, strict=True) if n]
        assert expected == pytest.approx([rarest] * len(expected))

    def test_are_looked_up_also_where_background_is_the_smallest_class(self):
        """The published program maps values one after the other in place: r of background, 1, is then class 1."""
        kept = keep_probabilities(np.array([5.0, 50.0, 500.0]))
        torch.manual_seed(0)
        classes = torch.arange(3).repeat_interleave(30_000)
        mask = draw_mask(classes, kept)
        shares = [float(mask[classes == k].double().mean()) for k in range(3)]
        assert shares == pytest.approx([1.0, 0.1, 0.01], abs=6e-3)
        assert shares[0] == 1.0


class TestMask:
    @pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
    def test_keeps_each_class_with_its_probability(self, kind):
        probabilities = torch.tensor([0.02, 1.0, 0.3, 0.0], dtype=torch.float64)
        classes = torch.arange(4).repeat(40_000).view(2, 20, 40, 100).to(kind)
        torch.manual_seed(1)
        mask = draw_mask(classes, probabilities)
        assert mask.dtype == torch.bool and mask.shape == classes.shape
        for value, probability in enumerate(probabilities.tolist()):
            deviation = math.sqrt(probability * (1 - probability) / 40_000)
            share = float(mask[classes == value].double().mean())
            assert share == pytest.approx(probability, abs=4 * deviation)

    def test_is_that_of_torchs_seed(self):
        classes, probabilities = torch.zeros(2, 8, 8, 8, dtype=torch.uint8), torch.tensor([0.5])
        masks = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            masks.append(draw_mask(classes, probabilities))
        assert torch.equal(masks[0], masks[1])
        assert not torch.equal(masks[0], masks[2])


class TestRamps:
    EPOCHS, LENGTH = 1501, 8

    @pytest.fixture
    def config(self) -> TrainingConfig:
        """The published training on Synapse at 20 %: epochs 0 to 1500 of 8 steps."""
        preprocessing = PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1))
        steps = self.EPOCHS * self.LENGTH
        return TrainingConfig(preprocessing, iterations=steps, epoch_length=self.LENGTH, learning_rate=0.3)

    def test_masks_of_unlabelled_images_go_from_none_to_those_of_labelled_ones(self):
        labelled = torch.tensor([0.01, 1.0, 0.2], dtype=torch.float64)
        assert unlabelled_probabilities(labelled, 0.0).tolist() == [1, 1, 1]
        assert torch.allclose(unlabelled_probabilities(labelled, 1.0), labelled)
        assert unlabelled_probabilities(labelled, 0.5).tolist() == pytest.approx([0.505, 1.0, 0.6])

    @pytest.mark.parametrize(("epoch", "expected"), [(0, 0.0674), (1, 0.0674), (50, 0.0929), (1500, 9.99998)])
    def test_the_unlabelled_weight_is_that_of_the_published_log(self, config, epoch, expected):
        for step in (0, self.LENGTH - 1):
            moment = config.moment(epoch * self.LENGTH + step)
            assert ramp(moment.lagging, 10.0) == pytest.approx(expected, rel=6e-4 if expected < 1 else 1e-6)
            assert moment.progress == epoch / 1500

    @pytest.mark.parametrize("epoch", [0, 1, 2, 700, 1500])
    def test_the_learning_rate_is_the_published_one_an_epoch_late(self, config, epoch):
        optimizer = build_optimizer(torch.nn.Linear(1, 1), config)
        expected = 0.3 * (1 - max(0, epoch - 1) / 1500) ** 0.9
        assert set_learning_rate(optimizer, config, epoch * self.LENGTH + 3) == pytest.approx(expected)

    def test_without_epochs_both_change_at_every_step_and_nothing_lags(self, config):
        moment = TrainingConfig(config.preprocessing, iterations=10).moment(3)
        assert (moment.progress, moment.lagging) == (0.3, 0.3)

    @pytest.mark.parametrize(("unlabelled", "epoch_length"), [(16, 8), (18, 9), (1, 1)])
    def test_the_published_recipe_has_1501_epochs_over_the_unlabelled_scans(self, unlabelled, epoch_length):
        config = TrainingConfig(**published_recipe(unlabelled))
        assert (config.epoch_length, config.iterations) == (epoch_length, 1501 * epoch_length)
        assert config.moment(config.iterations - 1).progress == 1
        assert config.gradient_limit is None
