"""A training learns, can be stopped or killed at any instant, and goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy import ndimage

import skcdf
from skcdf.cases import Case
from skcdf.device import Device, choose_device
from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.methods import METHODS
from skcdf.methods.supervised import Supervised
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress
from skcdf.trainer import Trainer, TrainingConfig, load_volume
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import read_state
from skcdf.trainer.data import PatchSampler, prefetch
from skcdf.trainer.schedule import build_optimizer, set_learning_rate

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
CONFIG = TrainingConfig(
    PLAN, patch_size=(32, 32, 32), filters=2, iterations=12, learning_rate=0.05, mirror=True, seed=3
)
SHAPE = (40, 36, 44)
FP32 = choose_device("cpu", "fp32")


def make_case(folder: Path, seed: int, labels: np.ndarray | None = None, annotated=LABELS.names) -> Case:
    """Writes a scan in which every organ has its own intensity, and its label map."""
    rng = np.random.default_rng(seed)
    geometry = Geometry(SHAPE[::-1], (2.0, 2.0, 2.0))
    if labels is None:
        labels = np.zeros(SHAPE, np.uint8)
        for value, x in ((1, 22), (2, 8), (3, 34)):
            z, y = rng.integers(12, 24, 2)
            labels[z - 5 : z + 5, y - 5 : y + 5, x - 5 : x + 5] = value
    scan = np.choose(labels, (-100, 100, 250, 320)) + rng.normal(0, 10, SHAPE)
    image, label = folder / f"scan{seed}.nii.gz", folder / f"label{seed}.nii.gz"
    write_image(image, Image(scan.astype(np.int16), geometry))
    write_label_map(label, labels, geometry)
    return Case(f"case{seed}", image, label, frozenset(annotated), f"subject{seed}")


def load(case: Case):
    return load_volume(case, LABELS, PLAN, seed=0)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    return [load(make_case(folder, seed)) for seed in range(2)]


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


def train_saving_always(folder: Path) -> None:
    """What the killed child does: trains, writing a checkpoint after every iteration, and says how far it is."""
    torch.set_num_threads(1)
    trainer_module.CHECKPOINT_SECONDS = -1.0
    volumes = [load(make_case(folder, seed)) for seed in range(2)]

    def tell(report: Progress) -> None:
        print(report.done, flush=True)

    config = replace(CONFIG, iterations=1000)
    Trainer(config, LABELS, volumes, (), folder / "run", FP32, progress=tell).run()


def test_a_killed_training_goes_on_to_the_same_bits(make_trainer, tmp_path):
    code = (
        "import pathlib, runpy, sys; "
        "runpy.run_path(sys.argv[1])['train_saving_always'](pathlib.Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
    child = subprocess.Popen(
        [sys.executable, "-c", code, __file__, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    )
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
    "change", [{"learning_rate": 0.02}, {"seed": 4}, {"filters": 3}, {"preprocessing": replace(PLAN, spacing=(2, 2, 3))}]
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


def test_a_side_that_was_not_annotated_stays_unknown_when_mirrored(watching, device, tmp_path):
    case = make_case(tmp_path, 0, annotated=("spleen", "left_kidney"))
    volume = load(case)
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


def test_draws_depend_on_seed_iteration_and_slot_alone(volumes):
    def sampler(batch_size: int, seed: int = 1, stream: int = 0) -> PatchSampler:
        return PatchSampler(volumes, (32, 32, 32), batch_size, 0.5, seed, stream)

    forwards = [sampler(2).draw(iteration) for iteration in range(4)]
    backwards = [sampler(2).draw(iteration) for iteration in (3, 2, 1, 0)][::-1]
    wide = [sampler(3).draw(iteration) for iteration in range(4)]
    for one, two, three in zip(forwards, backwards, wide, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.images, three.images[:2])
    for other in (sampler(2, seed=2), sampler(2, stream=1)):
        assert not torch.equal(other.draw(0).images, forwards[0].images)


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (3, 5), (7, 7), (0, 1)])
def test_working_ahead_gives_the_same_patches_in_order(start, stop, volumes):
    sampler = PatchSampler(volumes, (32, 32, 32), 1, 0.5, seed=0)
    drawn = list(prefetch([sampler, sampler], start, stop))
    assert len(drawn) == stop - start
    for iteration, patches in enumerate(drawn, start):
        assert all(torch.equal(each.images, sampler.draw(iteration).images) for each in patches)


def test_working_ahead_ends_its_thread_and_passes_failures_on(volumes):
    class Failing(PatchSampler):
        def draw(self, iteration):
            if iteration == 2:
                raise SkcdfError("the disk is gone")
            return super().draw(iteration)

    before = threading.active_count()
    ahead = prefetch([Failing(volumes, (32, 32, 32), 1, 0.5, seed=0)], 0, 9)
    next(ahead), next(ahead)
    with pytest.raises(SkcdfError, match="the disk is gone"):
        next(ahead)
    left_alone = prefetch([PatchSampler(volumes, (32, 32, 32), 1, 0.5, seed=0)], 0, 9)
    next(left_alone)
    left_alone.close()
    assert threading.active_count() == before


def test_a_rare_organ_is_seen_as_often_as_a_common_one(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:30, 5:30, 5:22] = 1
    labels[36:38, 33, 40:43] = 2  # 6 voxels in a corner
    volume = load(make_case(tmp_path, 0, labels))

    def share(foreground_fraction: float) -> float:
        config = ([volume], (16, 16, 16), 1, foreground_fraction, 0)
        sampler = PatchSampler(*config)
        return np.mean([bool((sampler.draw(i).labels == 2).any()) for i in range(300)])

    assert 0.4 < share(1.0) < 0.65
    assert 0.2 < share(0.5) < 0.45
    assert share(0.0) < 0.2


def test_an_organ_is_drawn_from_every_case_that_has_it(tmp_path):
    empty = np.zeros(SHAPE, np.uint8)
    first, second = empty.copy(), empty.copy()
    first[4:8, 4:8, 4:8], second[30:34, 28:32, 36:40] = 1, 2
    cases = [make_case(tmp_path, seed, labels) for seed, labels in enumerate((first, second, empty))]
    sampler = PatchSampler([load(case) for case in cases], (16, 16, 16), 1, 1.0, 0)
    seen = [tuple(sampler.draw(i).labels.unique().tolist()) for i in range(60)]
    assert set(seen) == {(0, 1), (0, 2)}
    assert 15 < seen.count((0, 1)) < 45


def test_a_scan_smaller_than_the_patch_lies_in_its_middle(tmp_path):
    volume = load(make_case(tmp_path, 0))
    patches = PatchSampler([volume], (64, 32, 48), 1, 0.5, 0).draw(0)
    assert patches.images.shape == (1, 1, 64, 32, 48)
    assert torch.equal(
        patches.images[0, 0, :12].unique(), torch.tensor([float(volume.image.min())])
    )
    assert not patches.labels[0, :12].any()
    assert not patches.labels[0, 52:].any()
    assert patches.images[0, 0, 12:52, :, 2:46].std() > 0.1


def test_an_organ_that_was_not_annotated_is_unknown(tmp_path):
    volume = load(make_case(tmp_path, 0, annotated=("spleen",)))
    assert volume.annotated.tolist() == [True, True, False, False]
    assert set(np.unique(volume.labels)) == {0, 1}
    assert [len(found) > 0 for found in volume.locations] == [True, True, False, False]


def test_a_case_without_a_label_map_has_no_labels(tmp_path, volumes):
    volume = load(replace(make_case(tmp_path, 0), label=None, annotated=frozenset()))
    assert volume.labels is None
    assert volume.image.shape == volumes[0].image.shape
    patches = PatchSampler([volume], (32, 32, 32), 2, 0.0, 0).draw(0)
    assert not patches.labels.any()


def test_locations_lie_in_their_organ_and_spread_over_all_of_it(volumes):
    volume = volumes[0]
    for value, voxels in enumerate(volume.locations):
        assert (volume.labels[tuple(voxels.T)] == value).all()
        assert len(np.unique(voxels, axis=0)) == len(voxels) == min(2000, (volume.labels == value).sum())
    middle = volume.locations[0].mean(0)
    assert middle == pytest.approx(ndimage.center_of_mass(volume.labels == 0), abs=1.5)


def test_labels_off_the_scans_grid_are_refused(tmp_path):
    case = make_case(tmp_path, 0)
    write_label_map(case.label, np.zeros(SHAPE, np.uint8), Geometry(SHAPE[::-1], (2.0, 2.0, 2.5)))
    with pytest.raises(SkcdfError, match=r"label0\.nii\.gz: .* grid of .*scan0\.nii\.gz"):
        load(case)


def test_labels_outside_the_label_set_are_refused(tmp_path):
    case = make_case(tmp_path, 0)
    write_label_map(case.label, np.full(SHAPE, 9, np.uint8), Geometry(SHAPE[::-1], (2.0, 2.0, 2.0)))
    with pytest.raises(SkcdfError, match=r"label0\.nii\.gz: label 9 is not in the label set toy"):
        load(case)


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
    [{"patch_size": (32, 32, 40)}, {"patch_size": (0, 32, 32)}, {"optimizer": "adam"}, {"iterations": 0}, {"seed": -1}],
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
