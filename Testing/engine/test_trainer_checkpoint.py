"""A training that was stopped or killed at any instant goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import skcdf
from skcdf.cases import Case
from skcdf.device import choose_device
from skcdf.errors import Cancelled, SkcdfError
from skcdf.labels import LabelSet
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress
from skcdf.trainer import Trainer, TrainingConfig, TrainingVolume, load_volume
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import SCHEMA, read_state

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
CONFIG = TrainingConfig(
    PLAN, patch_size=(32, 32, 32), filters=2, iterations=12, learning_rate=0.05, mirror=True, seed=3
)
SMALL_SKCDF = replace(
    CONFIG, method="skcdf", batch_size=1, unlabelled_batch_size=1, method_options={"dropout": 0.5}
)


def load_all(folder: Path) -> list[TrainingVolume]:
    """The volumes of the four cases in a folder, the third without labels, the fourth of a patch's size."""
    organs = frozenset(LABELS.names)
    pairs = [(folder / f"scan{seed}.nii.gz", folder / f"label{seed}.nii.gz") for seed in range(4)]
    cases = [Case(image.name, image, label, organs, image.name) for image, label in pairs]
    *labelled, third, fourth = (load_volume(case, LABELS, PLAN, seed=0) for case in cases)
    box = (slice(0, 32), slice(0, 32), slice(6, 38))
    small = replace(fourth, image=fourth.image[box], labels=fourth.labels[box])
    return [*labelled, replace(third, labels=None, locations=()), small]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, toy_case) -> Path:
    """Four cases on disk."""
    folder = tmp_path_factory.mktemp("cases")
    for seed in range(4):
        toy_case(folder, seed)
    return folder


@pytest.fixture(scope="module")
def volumes(folder):
    return load_all(folder)


@pytest.fixture
def make_trainer(volumes, device, tmp_path):
    def make(config: TrainingConfig = CONFIG, folder: str = "run", **options) -> Trainer:
        return Trainer(config, LABELS, volumes[:2], volumes[2:3], tmp_path / folder, device, **options)

    return make


def stop_at(done: int, phase: str = "train") -> dict[str, object]:
    """Trainer options that cancel at a report of progress."""
    token = CancelToken()

    def stop(report: Progress) -> None:
        if (report.phase, report.done) == (phase, done):
            token.cancel()

    return {"progress": stop, "cancel": token}


def assert_same_outcome(trainer: Trainer, other: Trainer) -> None:
    """Weights, running statistics, momentum, history, validations and best weights are equal to the bit."""
    one, two = load_file(trainer.checkpoint_file), load_file(other.checkpoint_file)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    states = [replace(read_state(each.checkpoint_file), seconds=0) for each in (trainer, other)]
    assert states[0] == states[1]
    kept = [each.best_file.read_bytes() if each.best_file.exists() else b"" for each in (trainer, other)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("optimizer", "stops"),
    [("sgd", [0, 5, 6, 8]), pytest.param("adamw", [1, 2, 4, 7], marks=pytest.mark.slow)],
)
def test_a_stopped_training_goes_on_to_the_same_bits(stops, optimizer, make_trainer, monkeypatch):
    monkeypatch.setattr(trainer_module, "HISTORY_STEP", 4)
    config = replace(
        CONFIG, optimizer=optimizer, learning_rate=0.01, iterations=8, method_options={"dropout": 0.5}
    )
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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pseudo_label", "skcdf", "mean_teacher", "cps"])
def test_a_method_stopped_anywhere_goes_on_to_the_same_bits(method, make_trainer, volumes, monkeypatch):
    """Before a validation, inside one, between its end and the next step, and in the midst of training."""
    monkeypatch.setattr(trainer_module, "STATISTICS_BATCHES", 2)
    monkeypatch.setattr(trainer_module, "HISTORY_STEP", 2)
    config = replace(SMALL_SKCDF, method=method, accumulate=2, iterations=5, validations=2, epoch_length=2)
    validation = [volumes[3], replace(volumes[3], image=volumes[3].image[::-1].copy())]
    whole = make_trainer(config, "whole", validation=validation)
    whole.run()
    assert [at for at, *_ in whole.state.validations] == [3, 5]
    for done, phase, validated in ((2, "train", 0), (3, "train", 0), (1, "validate", 0), (2, "validate", 1)):
        trainer = make_trainer(config, "stopped", validation=validation, **stop_at(done, phase))
        with pytest.raises(Cancelled):
            trainer.run()
        state = read_state(trainer.checkpoint_file)
        assert (state.iteration, len(state.validations)) == (min(done + 2 * (phase != "train"), 3), validated)
    resumed = make_trainer(config, "stopped", validation=validation)
    resumed.run()
    assert_same_outcome(resumed, whole)


def train_saving_always(folder: str, run_folder: str, method: str) -> None:
    """What the killed child does: trains, writing a checkpoint after every iteration, and says how far it is."""
    torch.set_num_threads(1)
    trainer_module.CHECKPOINT_SECONDS = -1.0

    def tell(report: Progress) -> None:
        print(report.done, flush=True)

    config = replace(SMALL_SKCDF, method=method, iterations=1000)
    volumes, fp32 = load_all(Path(folder)), choose_device("cpu", "fp32")
    Trainer(config, LABELS, volumes[:2], volumes[2:3], Path(run_folder), fp32, progress=tell).run()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "skcdf"])
def test_a_killed_training_goes_on_to_the_same_bits(method, make_trainer, folder, tmp_path):
    code = "import runpy, sys; runpy.run_path(sys.argv[1])['train_saving_always'](*sys.argv[2:])"
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
    command = [sys.executable, "-c", code, __file__, str(folder), str(tmp_path / "run"), method]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    for line in child.stdout:
        if int(line) == 3:
            break
    time.sleep(random.uniform(0, 0.03))  # into the next iteration, or the writing of its checkpoint
    child.kill()
    child.wait()
    child.stdout.close()
    reached = read_state(tmp_path / "run" / "checkpoint.safetensors").iteration
    assert 3 <= reached < 40
    config = replace(SMALL_SKCDF, method=method, iterations=1000)
    goal = reached + 2
    whole = make_trainer(config, "whole", **stop_at(goal))
    resumed = make_trainer(config, "run", **stop_at(goal))
    for trainer in (whole, resumed):
        with pytest.raises(Cancelled):
            trainer.run()
    assert_same_outcome(resumed, whole)


def test_nothing_half_written_is_left_in_the_run_folder(make_trainer):
    trainer = make_trainer(replace(CONFIG, iterations=2))
    trainer.run()
    assert [path.name for path in trainer.run_folder.iterdir()] == ["checkpoint.safetensors"]


def test_a_finished_training_is_not_trained_again(make_trainer):
    config = replace(CONFIG, iterations=2)
    make_trainer(config).run()
    reports = []
    state = make_trainer(config, progress=reports.append).run()
    assert state.iteration == config.iterations
    assert reports == []


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.02},
        {"seed": 4},
        {"filters": 3},
        {"accumulate": 2},
        {"method_options": {"gamma": 0.4}},
        {"preprocessing": replace(PLAN, spacing=(2, 2, 3))},
    ],
)
def test_other_settings_in_the_same_folder_are_refused(change, make_trainer):
    make_trainer(replace(CONFIG, iterations=1)).run()
    with pytest.raises(SkcdfError, match=r"checkpoint\.safetensors: .*other settings"):
        make_trainer(replace(CONFIG, iterations=1, **change)).run()


def test_other_data_in_the_same_folder_is_refused(make_trainer):
    config = replace(CONFIG, iterations=1)
    data = {
        "training": [["a", "scan", "labels"], ["b", "scan", "labels"]],
        "unlabelled": [["c", "scan", None]],
    }
    make_trainer(config, data=data).run()
    make_trainer(config, data=data).run()
    corrected = {"training": [["a", "scan", "corrected"], ["b", "scan", "labels"], ["c", "scan", "labels"]]}
    with pytest.raises(SkcdfError, match=r"learns from has changed since it began: a, c\. Train anew"):
        make_trainer(config, data={**corrected, "unlabelled": []}).run()
    with pytest.raises(SkcdfError, match=r"has changed since it began: label set\."):
        make_trainer(config, data={**data, "labels": ["liver"]}).run()


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
    content = {"schema": SCHEMA, "optimizer_numbers": {}, **state.__dict__}
    save_file(tensors, trainer.checkpoint_file, {"skcdf": json.dumps(content)})
    with pytest.raises(SkcdfError, match=r"checkpoint\.safetensors: .*another network"):
        make_trainer(replace(CONFIG, iterations=1)).run()


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SkcdfError, match="there is no checkpoint"):
        read_state(tmp_path / "checkpoint.safetensors")
