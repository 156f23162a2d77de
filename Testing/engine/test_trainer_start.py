"""A training that starts from another model's weights: warm-up, the start as a candidate, an end on time."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from skcdf.errors import Cancelled, SkcdfError
from skcdf.labels import LabelSet
from skcdf.methods import Problem, build_method
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken
from skcdf.trainer import Trainer, TrainingConfig
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import read_state
from skcdf.trainer.rehearsal import rehearse
from skcdf.trainer.transfer import start_of
from skcdf.weights import read_weights

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
CONFIG = TrainingConfig(
    PLAN, patch_size=(32, 32, 32), filters=2, iterations=6, batch_size=1, learning_rate=0.05, validations=2
)
SKCDF = replace(CONFIG, method="skcdf", unlabelled_batch_size=1, warm_up=3, iterations=4)


@pytest.fixture
def parent(save_model):
    torch.manual_seed(5)
    network = build_method("supervised", Problem(1, 4, 2, (32, 32, 32))).network
    return save_model(network, "vnet", {"channels": 1, "classes": 4, "filters": 2}, PLAN, LABELS)


@pytest.fixture
def make_trainer(toy_volumes, device, tmp_path, parent, monkeypatch):
    monkeypatch.setattr(trainer_module, "STATISTICS_BATCHES", 1)

    def make(config: TrainingConfig = CONFIG, folder: str = "run", **options) -> Trainer:
        unlabelled = [replace(toy_volumes[2], labels=None, locations=())]
        options = {
            "validation": toy_volumes[3:],
            "start": start_of(config, LABELS, parent),
            **options,
        }
        return Trainer(config, LABELS, toy_volumes[:2], unlabelled, tmp_path / folder, device, **options)

    return make


def stop_at(done: int, phase: str) -> dict[str, object]:
    token = CancelToken()
    return {
        "progress": lambda report: token.cancel() if (report.phase, report.done) == (phase, done) else None,
        "cancel": token,
    }


class TestWarmUp:
    def test_gives_fresh_parts_all_of_the_rate_and_the_others_a_rising_share(self, make_trainer):
        trainer = make_trainer(replace(SKCDF, iterations=8, warm_up=4, epoch_length=None))
        fresh = set(trainer.start.fresh)
        named = dict(trainer.method.network.named_parameters())
        for iteration, share in ((0, 0.0), (3, 0.75), (4, 1.0), (7, 1.0)):
            trainer.step(iteration, trainer.draw(iteration))
            rate = 0.05 * (1 - iteration / 8) ** 0.9
            for group in trainer._optimizer.param_groups:
                names = {name for name, each in named.items() if any(each is x for x in group["params"])}
                assert names and names.isdisjoint(fresh) == group["carried"]
                assert group["lr"] == pytest.approx(rate * (share if group["carried"] else 1))

    def test_leaves_what_carries_over_in_its_first_step(self, make_trainer):
        trainer = make_trainer(SKCDF)
        before = {name: each.clone() for name, each in trainer.method.network.named_parameters()}
        trainer.step(0, trainer.draw(0))
        moved = {
            name
            for name, each in trainer.method.network.named_parameters()
            if not torch.equal(each, before[name])
        }
        assert moved and moved <= set(trainer.start.fresh)

    def test_without_another_models_weights_changes_nothing(self, make_trainer):
        outcomes = []
        for warm_up in (0, 5):
            trainer = make_trainer(
                replace(CONFIG, warm_up=warm_up, iterations=1, validations=0), f"run{warm_up}", start=None
            )
            trainer.run()
            outcomes.append(load_file(trainer.checkpoint_file))
        assert all(torch.equal(x, outcomes[1][name]) for name, x in outcomes[0].items())

    def test_of_less_than_nothing_is_refused(self):
        with pytest.raises(SkcdfError, match="warm-up of -1"):
            replace(CONFIG, warm_up=-1)


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, SKCDF], ids=["supervised", "skcdf"])
def test_a_stopped_training_goes_on_to_the_same_bits(config, make_trainer):
    """In the start's validation, in the warm-up, before a later validation."""
    whole = make_trainer(config, "whole")
    whole.run()
    assert [at for at, *_ in whole.state.validations] == [0, config.iterations // 2, config.iterations]
    for done, phase in ((1, "validate the start"), (1, "train"), (config.iterations // 2, "train")):
        with pytest.raises(Cancelled):
            make_trainer(config, "stopped", **stop_at(done, phase)).run()
    resumed = make_trainer(config, "stopped")
    resumed.run()
    for file in ("checkpoint_file", "best_file"):
        one, two = (load_file(getattr(trainer, file)) for trainer in (resumed, whole))
        assert one.keys() == two.keys()
        assert [name for name in one if not torch.equal(one[name], two[name])] == []
    states = [replace(read_state(each.checkpoint_file), seconds=0) for each in (resumed, whole)]
    assert states[0] == states[1]


def test_other_start_weights_are_another_training(make_trainer, parent):
    config = replace(CONFIG, iterations=1, validations=0)
    make_trainer(config).run()
    make_trainer(config).run()
    turned = LabelSet.from_names("toy", LABELS.names[::-1])
    for start in (None, start_of(config, turned, parent)):
        with pytest.raises(SkcdfError, match="has changed since it began: start weights"):
            make_trainer(config, start=start).run()


class TestTheStart:
    def test_is_what_is_kept_where_nothing_gets_better(self, make_trainer, monkeypatch):
        outcomes = iter([0.5, 0.4, 0.5])
        monkeypatch.setattr(trainer_module, "validate", lambda *given, **options: {"spleen": next(outcomes)})
        trainer = make_trainer()
        state = trainer.run()
        assert [entry[:2] for entry in state.validations] == [[0, 0.5], [3, 0.4], [6, 0.5]]
        assert state.best[0] == 0
        weights = trainer.weights()
        assert all(torch.equal(weights[name], x) for name, x in trainer.start.weights.items())

    def test_is_validated_as_the_parent_is_unless_the_method_changed(self, make_trainer, monkeypatch):
        outcomes = iter([0.5, 0.4])
        monkeypatch.setattr(trainer_module, "validate", lambda *given, **options: {"spleen": next(outcomes)})
        trainer = make_trainer(replace(SKCDF, iterations=1, validations=1))
        trainer.run()
        kept = read_weights(trainer.best_file)
        other = {name for name, x in kept.items() if not torch.equal(x, trainer.start.weights[name])}
        assert other and all(name.startswith("decoder_u.") for name in other)  # statistics gathered anew

    def test_is_not_validated_where_validation_is_off(self, make_trainer):
        assert make_trainer(replace(CONFIG, iterations=1, validations=0)).run().validations == []


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second whenever it is asked."""
    ticks = itertools.count()
    monkeypatch.setattr(trainer_module.time, "monotonic", lambda: float(next(ticks)))


class TestDeadline:
    def test_ends_the_training_like_a_finished_one_with_a_last_validation(self, make_trainer, clock):
        config = replace(CONFIG, iterations=200, validations=1)
        trainer = make_trainer(config, stop_after_s=12.0)
        state = trainer.run()
        assert 0 < state.iteration < 12
        assert [at for at, *_ in state.validations] == [0, state.iteration]
        assert trainer.best_file.exists()
        again = make_trainer(config, stop_after_s=12.0).run()
        assert (again.iteration, again.validations) == (state.iteration, state.validations)

    @pytest.mark.slow
    def test_counts_all_sessions(self, make_trainer, clock):
        config = replace(CONFIG, iterations=200, validations=0)
        with pytest.raises(Cancelled):
            make_trainer(config, stop_after_s=20.0, **stop_at(3, "train")).run()
        first = read_state(make_trainer(config).checkpoint_file).seconds
        state = make_trainer(config, stop_after_s=20.0).run()
        assert first > 3 and 20 <= state.seconds < 24


@pytest.mark.slow
def test_a_rehearsal_measures_steps_and_validation_and_leaves_no_trace(make_trainer, tmp_path):
    found = rehearse(make_trainer())
    assert found.step > 0 and found.validation > 0
    assert rehearse(make_trainer(validation=())).validation == 0
    assert not (tmp_path / "run").exists()


def test_a_rehearsal_measures_what_a_method_does_at_its_end(make_trainer):
    trainer = make_trainer(replace(CONFIG, method="pseudo_label"), validation=())
    rehearse(trainer)
    assert int(trainer.method.network.frozen), "pseudo-labels, which begin half-way, were not made"


def test_a_checkpoint_of_a_version_that_knew_no_warm_up_goes_on(make_trainer, monkeypatch):
    config = replace(CONFIG, iterations=1, validations=0)
    trainer = make_trainer(config)
    del trainer.state.config["warm_up"]
    with pytest.raises(Cancelled):
        trainer.cancel.cancel()
        trainer.run()
    assert make_trainer(config).run().iteration == 1
