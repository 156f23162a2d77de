"""A fine-tuning with a time budget ends within it, with the best so far."""

from __future__ import annotations

import pytest
import toy_fine_tuning
from hypothesis import given
from hypothesis import strategies as st

from skcdf.errors import SkcdfError
from skcdf.fine_tune_settings import few_steps_notes, within_time
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import Progress
from skcdf.trainer import TrainingConfig
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.rehearsal import Rehearsal

# the fixtures of this file
quick, cases, workplace, pool, tune = (
    toy_fine_tuning.quick,
    toy_fine_tuning.cases,
    toy_fine_tuning.workplace,
    toy_fine_tuning.pool,
    toy_fine_tuning.tune,
)


class TestTimeBudget:
    CONFIG = TrainingConfig(
        PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1)), iterations=600, validations=6, warm_up=60
    )

    @given(
        step=st.floats(0.001, 20),
        validation=st.floats(0, 300),
        budget=st.floats(1, 20_000),
        spent=st.floats(0, 500),
    )
    def test_holds_for_training_validations_and_comparison(self, step, validation, budget, spent):
        if budget < spent + 2 + 8 * validation + 2 * step:
            return  # maybe too short
        plan = within_time(self.CONFIG, Rehearsal(step, validation), budget, spent)
        config = plan.config
        passes = (config.validations + 1) * (validation > 0)
        planned = config.iterations * step + passes * validation
        assert planned <= plan.stop_after_s + 1e-6
        assert spent + plan.stop_after_s + 3 * validation <= budget + 1e-6
        assert 1 <= config.iterations <= 600 and 1 <= config.validations <= 6
        assert abs(config.warm_up - 0.1 * config.iterations) <= 0.5
        if planned < 0.5 * plan.stop_after_s and step < 0.1 * plan.stop_after_s:
            assert config.iterations == 600

    @pytest.mark.parametrize(("budget", "said"), [(60.0, ["ONLY 10 STEPS FIT"]), (600.0, [])])
    def test_that_has_hardly_time_to_train_is_told(self, budget, said):
        plan = within_time(self.CONFIG, Rehearsal(4.0, 1.0), budget, 2.0)
        found = few_steps_notes(plan)
        assert [each in note for each, note in zip(said, found, strict=True)] == [True] * len(said)

    def test_too_short_for_a_step_says_how_much_is_needed(self, pool, tune):
        with pytest.raises(SkcdfError, match="time budget of 1 s is too short") as refusal:
            tune(pool, time_budget_s=1.0)
        assert "Give at least" in refusal.value.hint

    @pytest.mark.slow
    def test_is_measured_and_the_start_is_validated_under_names_of_their_own(self, pool, tune):
        told: list[Progress] = []
        tune(pool, time_budget_s=600.0, progress=told.append)
        phases = list(dict.fromkeys(report.phase for report in told))
        at = phases.index("load validation cases")
        assert phases[at + 1 : at + 5] == ["measure speed", "validate the start", "train", "validate"]
        for phase in ("measure speed", "validate the start", "train"):
            shares = [report.done / report.total for report in told if report.phase == phase]
            assert shares[0] == 0 and shares[-1] == 1 and shares == sorted(shares)

    @pytest.mark.slow
    def test_ends_a_training_on_a_machine_that_got_slower_with_the_best_so_far(self, pool, tune, monkeypatch):
        plain, lost = trainer_module.time.monotonic, [0.0]
        monkeypatch.setattr(trainer_module.time, "monotonic", lambda: plain() + lost[0])
        step = trainer_module.Trainer.step

        def slowed(self, iteration, batches):
            if iteration < self.config.iterations - 1:  # a rehearsal knows the last step alone
                lost[0] += 200.0
            return step(self, iteration, batches)

        monkeypatch.setattr(trainer_module.Trainer, "step", slowed)
        outcome = tune(pool, settings={"validations": 2, "batch_size": 1}, time_budget_s=600.0)
        assert 300 < outcome.seconds < 900
        assert outcome.model.metrics
