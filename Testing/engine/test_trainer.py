"""The training loop that all methods share: it learns, draws what it should, and refuses what cannot work."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skcdf.device import Device
from skcdf.errors import Cancelled, SkcdfError
from skcdf.labels import LabelSet
from skcdf.methods import METHODS, Method, Moment
from skcdf.methods.supervised import Supervised
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import Trainer, TrainingConfig, load_volume
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import read_state
from skcdf.trainer.data import Patches
from skcdf.trainer.schedule import build_optimizer, set_learning_rate

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
CONFIG = TrainingConfig(
    PLAN, patch_size=(32, 32, 32), filters=2, iterations=12, learning_rate=0.05, mirror=True, seed=3
)


@pytest.fixture
def make_trainer(toy_volumes, device, tmp_path):
    def make(config: TrainingConfig = CONFIG, folder: str = "run", **options) -> Trainer:
        volumes, unlabelled = toy_volumes[:2], [replace(toy_volumes[2], labels=None, locations=())]
        return Trainer(config, LABELS, volumes, unlabelled, tmp_path / folder, device, **options)

    return make


def test_the_loss_falls(make_trainer, monkeypatch):
    monkeypatch.setattr(trainer_module, "HISTORY_STEP", 6)
    config = replace(CONFIG, iterations=18, learning_rate=0.1, augmentation="none", mirror=False)
    first, *_, last = (total for _, total, _ in make_trainer(config).run().history)
    assert last < 0.8 * first


@pytest.mark.slow
def test_the_organs_are_learnt(make_trainer):
    config = replace(CONFIG, iterations=60, filters=4, learning_rate=0.1, augmentation="none", mirror=False)
    trainer = make_trainer(config)
    state = trainer.run()
    assert [iteration for iteration, *_ in state.history] == [20, 40, 60]
    assert all(parts == {"supervised": total} for _, total, parts in state.history)
    assert state.history[-1][1] < 0.5 * state.history[0][1]
    volume = trainer.labelled[0]
    with torch.inference_mode():
        image = torch.from_numpy(volume.image[None, None, :32, :32, 8:40].astype(np.float32))
        found = trainer.method.network.eval()(image)[0].argmax(0).numpy()
    truth = volume.labels[:32, :32, 8:40]
    assert 2 * ((found > 0) & (truth > 0)).sum() / ((found > 0).sum() + (truth > 0).sum()) > 0.6


def test_progress_counts_every_iteration_and_shows_the_loss(make_trainer, monkeypatch):
    monkeypatch.setattr(trainer_module, "HISTORY_STEP", 2)
    reports = []
    make_trainer(replace(CONFIG, iterations=4), progress=reports.append).run()
    assert [report.done for report in reports] == list(range(1, 5))
    assert {report.total for report in reports} == {4}
    assert reports[-1].note.startswith("loss ")


def test_the_history_keeps_every_loss_by_name_and_their_sum(make_trainer, monkeypatch):
    monkeypatch.setattr(trainer_module, "HISTORY_STEP", 2)
    config = replace(CONFIG, method="skcdf", batch_size=1, unlabelled_batch_size=1, iterations=3)
    state = make_trainer(config).run()
    assert [iteration for iteration, *_ in state.history] == [2, 3]
    for _, total, parts in state.history:
        assert list(parts) == ["labelled", "labelled_balanced", "unlabelled", "unlabelled_balanced"]
        assert total == pytest.approx(sum(parts.values()))
    assert state.recent == []


def test_a_diverging_training_stops_with_advice(make_trainer):
    with pytest.raises(SkcdfError, match=r"not a number.*learning rate"):
        make_trainer(replace(CONFIG, learning_rate=1e30, iterations=50)).run()


def test_a_gradient_that_is_no_number_changes_no_weight(make_trainer):
    trainer = make_trainer(CONFIG)
    network = trainer.method.network
    next(network.parameters()).register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    before = {name: tensor.clone() for name, tensor in network.named_parameters()}
    with pytest.raises(SkcdfError, match=r"The gradient of iteration 0 is not a number.*checkpoint is kept"):
        trainer.step(0, trainer.draw(0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.named_parameters())


def test_a_training_without_cases_is_refused(device, tmp_path):
    with pytest.raises(SkcdfError, match="no labelled training case"):
        Trainer(CONFIG, LABELS, (), (), tmp_path, device)


class Watching(Supervised):
    """A method that takes unlabelled patches and keeps every batch it is given."""

    uses_unlabelled = True
    batches: list = []  # noqa: RUF012
    steps: list = []  # noqa: RUF012

    def begin_step(self, moment):
        self.steps.append(len(self.batches))

    def losses(self, batch, moment):
        self.batches.append((batch, moment))
        yield from super().losses(batch, moment)


@pytest.fixture
def watching(monkeypatch):
    monkeypatch.setitem(METHODS, "watching", Watching)
    monkeypatch.setattr(Watching, "batches", [])
    monkeypatch.setattr(Watching, "steps", [])
    return Watching.batches


def test_a_method_gets_labelled_and_unlabelled_patches(watching, make_trainer):
    make_trainer(replace(CONFIG, method="watching", batch_size=3, iterations=4)).run()
    assert [moment for _, moment in watching] == [Moment(t, t) for t in (0, 0.25, 0.5, 0.75)]
    for batch, _ in watching:
        assert batch.images.shape == (3, 1, 32, 32, 32)
        assert batch.unlabelled.shape == (2, 1, 32, 32, 32)
        assert batch.labels.shape == (3, 32, 32, 32)
        assert batch.annotated.tolist() == [[True] * 4] * 3
        assert not torch.equal(batch.images[:2], batch.unlabelled)


def test_a_step_of_two_batches_takes_the_patches_of_two_steps_and_begins_once(watching, make_trainer):
    config = replace(CONFIG, method="watching", batch_size=1, unlabelled_batch_size=1)
    make_trainer(replace(config, iterations=4), "single").run()
    single, begun = list(watching), list(Watching.steps)
    watching.clear(), Watching.steps.clear()
    make_trainer(replace(config, iterations=2, accumulate=2), "double").run()
    assert begun == [0, 1, 2, 3]
    assert Watching.steps == [0, 2]
    assert [moment.progress for _, moment in watching] == [0, 0, 0.5, 0.5]
    for (one, _), (two, _) in zip(single, watching, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.unlabelled, two.unlabelled)


@dataclass(frozen=True)
class NoOptions:
    """Nothing to choose."""


class Pointwise(Method):
    """A network without batch statistics, whose losses are means over voxels."""

    Options = NoOptions

    def __init__(self, problem, options):
        self.network = torch.nn.Conv3d(1, problem.classes, 1)

    def losses(self, batch, moment):
        logits = self.network(batch.images)
        yield {"entropy": torch.nn.functional.cross_entropy(logits, batch.labels.long())}
        yield {"size": self.network(batch.images).square().mean()}

    def inference_network(self):
        return "pointwise", {}


@pytest.mark.parametrize("gradient_limit", [None, 0.01])
def test_a_step_of_two_batches_is_that_of_their_mean_gradient(gradient_limit, make_trainer, monkeypatch):
    """Equal to one batch of both: exactly so only for a network like this one, without batch statistics."""
    monkeypatch.setitem(METHODS, "pointwise", Pointwise)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 1, 32, 32, 32, generator=generator)
    labels = torch.randint(4, (2, 32, 32, 32), generator=generator).to(torch.uint8)
    both = Patches(images, labels, torch.ones(2, 4, dtype=torch.bool))
    parts = [
        Patches(images[i : i + 1], labels[i : i + 1], torch.ones(1, 4, dtype=torch.bool)) for i in (0, 1)
    ]
    config = replace(
        CONFIG, method="pointwise", augmentation="none", mirror=False, gradient_limit=gradient_limit
    )
    outcomes = []
    for batches in ([(both,)], [(part,) for part in parts]):
        trainer = make_trainer(replace(config, accumulate=len(batches)))
        losses = trainer.step(0, batches)
        outcomes.append((losses, trainer.method.network.weight.detach()))
    start = make_trainer(config).method.network.weight
    assert outcomes[0][0] == pytest.approx(outcomes[1][0], rel=1e-5)
    assert torch.allclose(outcomes[0][1], outcomes[1][1], atol=1e-7)
    assert not torch.allclose(start, outcomes[0][1], atol=1e-5)


def test_a_method_that_needs_unlabelled_scans_says_so(watching, toy_volumes, device, tmp_path):
    for method in ("watching", "skcdf"):
        with pytest.raises(SkcdfError, match=f"{method} needs unlabelled scans"):
            Trainer(replace(CONFIG, method=method), LABELS, toy_volumes, (), tmp_path, device)


def test_a_side_that_was_not_annotated_stays_unknown_when_mirrored(watching, toy_case, device, tmp_path):
    case = toy_case(tmp_path, 0, annotated=("spleen", "left_kidney"))
    volume = load_volume(case, LABELS, PLAN, seed=0)
    config = replace(CONFIG, method="watching", augmentation="none", iterations=10, batch_size=1)
    Trainer(config, LABELS, [volume], [volume], tmp_path / "run", device).run()
    known = {tuple(row) for batch, _ in watching for row in batch.annotated.tolist()}
    assert known == {(True, True, False, True), (True, True, True, False)}
    for batch, _ in watching:
        for labels, annotated in zip(batch.labels, batch.annotated, strict=True):
            assert annotated[labels.unique().long()].all()


def test_an_unknown_method_is_refused():
    with pytest.raises(SkcdfError, match=r"no training method called magic") as refused:
        replace(CONFIG, method="magic")
    assert "supervised" in refused.value.hint


def test_the_learning_rate_falls_polynomially():
    network = torch.nn.Linear(1, 1)
    for name in ("sgd", "adamw"):
        optimizer = build_optimizer(network, replace(CONFIG, optimizer=name))
        rates = [set_learning_rate(optimizer, CONFIG, iteration) for iteration in (0, 6, 11)]
        assert rates == pytest.approx([0.05 * (1 - t) ** 0.9 for t in (0, 0.5, 11 / 12)])
        assert optimizer.param_groups[0]["lr"] == rates[-1]


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, method="skcdf", compat="published", method_options={"mask": "select", "ema": 0.9}),
        replace(CONFIG, epoch_length=3, gradient_limit=None, patience=2),
    ],
)
def test_settings_survive_json(config):
    assert TrainingConfig.from_json(json.loads(json.dumps(config.to_json())), "run") == config
    assert TrainingConfig.from_json(config.to_json(), "run") == config


MAY_BE_NULL = ("epoch_length", "gradient_limit", "patience")


@given(st.sampled_from(sorted(CONFIG.to_json())), st.none() | st.text() | st.lists(st.floats()) | st.just({}))
def test_wrong_settings_are_refused(field, value):
    if field in ("method", "optimizer", "loss", "plugin") and isinstance(value, str):
        return
    if (field in MAY_BE_NULL and value is None) or (field.endswith("_options") and value == {}):
        return
    with pytest.raises(SkcdfError, match="run"):
        TrainingConfig.from_json({**CONFIG.to_json(), field: value}, "run.json")


@pytest.mark.parametrize(
    "change",
    [
        {"patch_size": (32, 32, 40)},
        {"patch_size": (0, 32, 32)},
        {"optimizer": "adam"},
        {"iterations": 0},
        {"accumulate": 0},
        {"unlabelled_batch_size": 0},
        {"epoch_length": 0},
        {"validations": -1},
        {"patience": 0},
        {"momentum": 1.5},
        {"gradient_limit": -1.0},
        {"foreground_fraction": 1.5},
        {"augmentation": "published"},  # since sides are mirrored with their labels
        {"method_options": {"magic": 1}},
        {"method_options": {"mask": "multiply"}},  # that is an option of skcdf
        {"seed": -1},
    ],
)
def test_settings_that_cannot_work_are_refused(change):
    with pytest.raises(SkcdfError):
        replace(CONFIG, **change)


@pytest.mark.slow
def test_training_in_16_bit_is_as_repeatable_and_near_full_precision(make_trainer, toy_volumes, tmp_path):
    """In a patch of 32 the deepest features have two planes, where bf16 gradients were garbage (see `vnet`)."""
    config = replace(CONFIG, filters=4, iterations=4)
    bf16 = Device("cpu", torch.bfloat16, "CPU")
    outcomes = []
    for run in range(3):
        unused = [torch.full((50_000 * n,), torch.nan) for n in range(1, 20)]
        del unused  # so that memory nobody writes afterwards holds NaN
        folder = tmp_path / str(run)
        outcomes.append(Trainer(config, LABELS, toy_volumes[:2], (), folder, bf16).run().history)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0][-1][1] == pytest.approx(make_trainer(config).run().history[-1][1], rel=0.02)


@pytest.mark.slow
def test_float16_scales_its_gradients_and_resumes_with_the_same_scale(make_trainer, toy_volumes, tmp_path):
    config = replace(CONFIG, iterations=3)
    fp16 = Device("cpu", torch.float16, "CPU")

    def train(folder: str, steps: int) -> Trainer:
        trainer = Trainer(config, LABELS, toy_volumes[:2], (), tmp_path / folder, fp16)
        trainer.progress = lambda report: trainer.cancel.cancel() if report.done == steps else None
        try:
            trainer.run()
        except Cancelled:
            assert trainer.state.iteration == steps
        return trainer

    whole = train("whole", config.iterations)
    train("stopped", 1)
    resumed = train("stopped", config.iterations)
    assert whole.state.scaler["_growth_tracker"] + whole.state.scaler["scale"] > 0
    assert read_state(resumed.checkpoint_file).scaler == read_state(whole.checkpoint_file).scaler
    assert resumed.state.history == whole.state.history
    full = make_trainer(config).run()
    assert whole.state.history[-1][1] == pytest.approx(full.history[-1][1], rel=0.02)
