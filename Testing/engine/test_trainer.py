"""A training learns, can be stopped or killed at any instant, and goes on as if nothing had happened."""

from __future__ import annotations

import functools
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import skcdf
from skcdf.cases import Case
from skcdf.device import Device, choose_device
from skcdf.errors import Cancelled, SkcdfError
from skcdf.labels import LabelSet
from skcdf.methods import METHODS
from skcdf.methods.supervised import Supervised
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress
from skcdf.trainer import Trainer, TrainingConfig, TrainingVolume, load_volume
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import read_state
from skcdf.trainer.schedule import build_optimizer, set_learning_rate

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
CONFIG = TrainingConfig(
    PLAN, patch_size=(32, 32, 32), filters=2, iterations=12, learning_rate=0.05, mirror=True, seed=3
)


def load_all(folder: Path) -> list[TrainingVolume]:
    """The volumes of the cases in a folder."""
    organs = frozenset(LABELS.names)
    pairs = [(folder / f"scan{seed}.nii.gz", folder / f"label{seed}.nii.gz") for seed in range(2)]
    cases = [Case(image.name, image, label, organs, image.name) for image, label in pairs]
    return [load_volume(case, LABELS, PLAN, seed=0) for case in cases]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, toy_case) -> Path:
    """Two cases on disk."""
    folder = tmp_path_factory.mktemp("cases")
    for seed in range(2):
        toy_case(folder, seed)
    return folder


@pytest.fixture(scope="module")
def volumes(folder):
    return load_all(folder)


@pytest.fixture
def make_trainer(volumes, device, tmp_path):
    def make(config: TrainingConfig = CONFIG, folder: str = "run", **options) -> Trainer:
        return Trainer(config, LABELS, volumes, (), tmp_path / folder, device, **options)

    return make


def stop_at(*iterations: int) -> dict[str, object]:
    """Trainer options that cancel after these iterations."""
    token = CancelToken()

    def stop(report: Progress) -> None:
        if report.done in iterations:
            token.cancel()

    return {"progress": stop, "cancel": token}


def assert_same_outcome(trainer: Trainer, other: Trainer) -> None:
    """Weights, running statistics, momentum and history are equal to the bit."""
    one, two = load_file(trainer.checkpoint_file), load_file(other.checkpoint_file)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    states = [read_state(each.checkpoint_file) for each in (trainer, other)]
    assert states[0].iteration == states[1].iteration
    assert states[0].history == states[1].history


def test_the_loss_falls_and_the_organs_are_learnt(make_trainer):
    config = replace(CONFIG, iterations=60, filters=4, learning_rate=0.1, augment=False, mirror=False)
    trainer = make_trainer(config)
    state = trainer.run()
    assert [iteration for iteration, _ in state.history] == [20, 40, 60]
    assert state.history[-1][1] < 0.5 * state.history[0][1]
    volume = trainer.labelled[0]
    with torch.inference_mode():
        image = torch.from_numpy(volume.image[None, None, :32, :32, 8:40].astype(np.float32))
        found = trainer.method.network.eval()(image)[0].argmax(0).numpy()
    truth = volume.labels[:32, :32, 8:40]
    assert 2 * ((found > 0) & (truth > 0)).sum() / ((found > 0).sum() + (truth > 0).sum()) > 0.6


@pytest.mark.parametrize(
    ("optimizer", "stops"), [("sgd", [0, 5, 6]), ("sgd", [8]), ("adamw", [1]), ("adamw", [2, 4, 7])]
)
def test_a_stopped_training_goes_on_to_the_same_bits(stops, optimizer, make_trainer, monkeypatch):
    monkeypatch.setattr(trainer_module, "HISTORY_STEP", 4)
    monkeypatch.setitem(METHODS, "supervised", functools.partial(Supervised, dropout=0.5))
    config = replace(CONFIG, optimizer=optimizer, learning_rate=0.01, iterations=8)
    whole = make_trainer(config, "whole")
    whole.run()
    for stop in stops:
        trainer = make_trainer(config, "stopped", **stop_at(stop))
        if stop == 0:
            trainer.cancel.cancel()
        if stop < config.iterations:
            with pytest.raises(Cancelled):
                trainer.run()
            assert read_state(trainer.checkpoint_file).iteration == stop
    resumed = make_trainer(config, "stopped")
    resumed.run()
    assert_same_outcome(resumed, whole)


def train_saving_always(folder: Path, run_folder: Path) -> None:
    """What the killed child does: trains, writing a checkpoint after every iteration, and says how far it is."""
    torch.set_num_threads(1)
    trainer_module.CHECKPOINT_SECONDS = -1.0

    def tell(report: Progress) -> None:
        print(report.done, flush=True)

    config = replace(CONFIG, iterations=1000)
    fp32 = choose_device("cpu", "fp32")
    Trainer(config, LABELS, load_all(folder), (), run_folder, fp32, progress=tell).run()


def test_a_killed_training_goes_on_to_the_same_bits(make_trainer, folder, tmp_path):
    code = (
        "import pathlib, runpy, sys; "
        "runpy.run_path(sys.argv[1])['train_saving_always'](*map(pathlib.Path, sys.argv[2:]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
    command = [sys.executable, "-c", code, __file__, str(folder), str(tmp_path / "run")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    for line in child.stdout:
        if int(line) == 5:
            break
    time.sleep(random.uniform(0, 0.03))  # into the next iteration, or the writing of its checkpoint
    child.kill()
    child.wait()
    child.stdout.close()
    reached = read_state(tmp_path / "run" / "checkpoint.safetensors").iteration
    assert 5 <= reached < 40
    config = replace(CONFIG, iterations=1000)
    goal = reached + 3
    whole = make_trainer(config, "whole", **stop_at(goal))
    resumed = make_trainer(config, "run", **stop_at(goal))
    for trainer in (whole, resumed):
        with pytest.raises(Cancelled):
            trainer.run()
    assert_same_outcome(resumed, whole)


def test_nothing_half_written_is_left_in_the_run_folder(make_trainer):
    trainer = make_trainer()
    trainer.run()
    assert [path.name for path in trainer.run_folder.iterdir()] == ["checkpoint.safetensors"]


def test_a_finished_training_is_not_trained_again(make_trainer):
    make_trainer().run()
    reports = []
    state = make_trainer(progress=reports.append).run()
    assert state.iteration == CONFIG.iterations
    assert reports == []


def test_progress_counts_every_iteration_and_shows_the_loss(make_trainer, monkeypatch):
    monkeypatch.setattr(trainer_module, "HISTORY_STEP", 2)
    reports = []
    make_trainer(progress=reports.append).run()
    assert [report.done for report in reports] == list(range(1, 13))
    assert {report.total for report in reports} == {12}
    assert reports[-1].note.startswith("loss ")


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.02},
        {"seed": 4},
        {"filters": 3},
        {"preprocessing": replace(PLAN, spacing=(2, 2, 3))},
    ],
)
def test_other_settings_in_the_same_folder_are_refused(change, make_trainer):
    make_trainer(replace(CONFIG, iterations=2)).run()
    with pytest.raises(SkcdfError, match=r"checkpoint\.safetensors: .*other settings or data"):
        make_trainer(replace(CONFIG, iterations=2, **change)).run()


def test_other_data_in_the_same_folder_is_refused(make_trainer):
    config = replace(CONFIG, iterations=2)
    make_trainer(config, data={"case0": "abc"}).run()
    make_trainer(config, data={"case0": "abc"}).run()
    with pytest.raises(SkcdfError, match="other settings or data"):
        make_trainer(config, data={"case0": "def"}).run()


def as_empty(path: Path) -> None:
    path.write_bytes(b"")


def as_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def as_header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def as_pickle(path: Path) -> None:
    torch.save({"network": torch.zeros(3)}, path)


def as_foreign(path: Path) -> None:
    save_file({"network.weight": torch.zeros(3)}, path)


def as_list(path: Path) -> None:
    save_file(load_file(path), path, {"skcdf": "[1, 2]"})


def as_text(path: Path) -> None:
    save_file(load_file(path), path, {"skcdf": '"schema"'})


def as_future(path: Path) -> None:
    save_file(load_file(path), path, {"skcdf": json.dumps({"schema": 99, "optimizer_numbers": {}})})


@pytest.mark.parametrize(
    "damage", [as_empty, as_truncated, as_header_only, as_pickle, as_foreign, as_list, as_text, as_future]
)
def test_a_damaged_checkpoint_is_refused_by_name(damage, make_trainer):
    trainer = make_trainer(replace(CONFIG, iterations=1))
    trainer.run()
    damage(trainer.checkpoint_file)
    with pytest.raises(SkcdfError, match=r"checkpoint\.safetensors: "):
        make_trainer(replace(CONFIG, iterations=1)).run()


@pytest.mark.parametrize("name", ["network.encoder.stages.0.0.weight", "optimizer.odd.exp_avg"])
def test_a_checkpoint_with_other_tensors_is_refused(name, make_trainer):
    trainer = make_trainer(replace(CONFIG, iterations=1))
    state = trainer.run()
    tensors = {**load_file(trainer.checkpoint_file), name: torch.zeros(3)}
    content = {"schema": 1, "optimizer_numbers": {}, **state.__dict__}
    save_file(tensors, trainer.checkpoint_file, {"skcdf": json.dumps(content)})
    with pytest.raises(SkcdfError, match=r"checkpoint\.safetensors: "):
        make_trainer(replace(CONFIG, iterations=1)).run()


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SkcdfError, match="there is no checkpoint"):
        read_state(tmp_path / "checkpoint.safetensors")


def test_a_diverging_training_stops_with_advice(make_trainer):
    with pytest.raises(SkcdfError, match=r"not a number.*learning rate"):
        make_trainer(replace(CONFIG, learning_rate=1e30, iterations=50)).run()


def test_a_training_without_cases_is_refused(device, tmp_path):
    with pytest.raises(SkcdfError, match="no labelled training case"):
        Trainer(CONFIG, LABELS, (), (), tmp_path, device)


class Watching(Supervised):
    """A method that takes unlabelled patches and keeps every batch it is given."""

    uses_unlabelled = True
    batches: list = []  # noqa: RUF012

    def losses(self, batch, progress):
        self.batches.append((batch, progress))
        return super().losses(batch, progress)


@pytest.fixture
def watching(monkeypatch):
    monkeypatch.setitem(METHODS, "watching", Watching)
    monkeypatch.setattr(Watching, "batches", [])
    return Watching.batches


def test_a_method_gets_labelled_and_unlabelled_patches(watching, volumes, device, tmp_path):
    config = replace(CONFIG, method="watching", batch_size=3, iterations=4)
    unlabelled = [replace(volumes[0], labels=None, locations=())]
    Trainer(config, LABELS, volumes, unlabelled, tmp_path, device).run()
    assert [progress for _, progress in watching] == [0, 0.25, 0.5, 0.75]
    for batch, _ in watching:
        assert batch.images.shape == batch.unlabelled.shape == (3, 1, 32, 32, 32)
        assert batch.labels.shape == (3, 32, 32, 32)
        assert batch.annotated.tolist() == [[True] * 4] * 3
        assert not torch.equal(batch.images, batch.unlabelled)


def test_a_method_that_needs_unlabelled_scans_says_so(watching, volumes, device, tmp_path):
    with pytest.raises(SkcdfError, match="needs unlabelled scans"):
        Trainer(replace(CONFIG, method="watching"), LABELS, volumes, (), tmp_path, device)


def test_a_side_that_was_not_annotated_stays_unknown_when_mirrored(watching, toy_case, device, tmp_path):
    case = toy_case(tmp_path, 0, annotated=("spleen", "left_kidney"))
    volume = load_volume(case, LABELS, PLAN, seed=0)
    config = replace(CONFIG, method="watching", augment=False, iterations=10)
    Trainer(config, LABELS, [volume], [volume], tmp_path / "run", device).run()
    known = {tuple(row) for batch, _ in watching for row in batch.annotated.tolist()}
    assert known == {(True, True, False, True), (True, True, True, False)}
    for batch, _ in watching:
        for labels, annotated in zip(batch.labels, batch.annotated, strict=True):
            assert annotated[labels.unique().long()].all()


def test_an_unknown_method_is_refused(volumes, device, tmp_path):
    with pytest.raises(SkcdfError, match=r"no training method called magic.*supervised"):
        Trainer(replace(CONFIG, method="magic"), LABELS, volumes, (), tmp_path, device)


def test_the_learning_rate_falls_polynomially():
    network = torch.nn.Linear(1, 1)
    for name in ("sgd", "adamw"):
        optimizer = build_optimizer(network, replace(CONFIG, optimizer=name))
        rates = [set_learning_rate(optimizer, CONFIG, iteration) for iteration in (0, 6, 11)]
        assert rates == pytest.approx([0.05 * (1 - t) ** 0.9 for t in (0, 0.5, 11 / 12)])
        assert optimizer.param_groups[0]["lr"] == rates[-1]


def test_settings_survive_json():
    assert TrainingConfig.from_json(json.loads(json.dumps(CONFIG.to_json())), "run") == CONFIG
    assert TrainingConfig.from_json(CONFIG.to_json(), "run") == CONFIG


@given(st.sampled_from(sorted(CONFIG.to_json())), st.none() | st.text() | st.lists(st.floats()) | st.just({}))
def test_wrong_settings_are_refused(field, value):
    if field in ("method", "optimizer") and isinstance(value, str):
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
        {"seed": -1},
    ],
)
def test_settings_that_cannot_work_are_refused(change):
    with pytest.raises(SkcdfError):
        replace(CONFIG, **change)


def test_training_in_16_bit_is_as_repeatable_and_near_full_precision(make_trainer, volumes, tmp_path):
    """In a patch of 32 the deepest features have two planes, where bf16 gradients were garbage (see `vnet`)."""
    config = replace(CONFIG, filters=4, iterations=4)
    bf16 = Device("cpu", torch.bfloat16, "CPU")
    outcomes = []
    for run in range(3):
        unused = [torch.full((50_000 * n,), torch.nan) for n in range(1, 20)]
        del unused  # so that memory nobody writes afterwards holds NaN
        outcomes.append(Trainer(config, LABELS, volumes, (), tmp_path / str(run), bf16).run().history)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0][-1][1] == pytest.approx(make_trainer(config).run().history[-1][1], rel=0.02)
