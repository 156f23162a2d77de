"""Validation on the way: the Dice is the right one, the best weights are kept, patience ends what gets no better."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import skcdf
from skcdf.errors import Cancelled, SkcdfError
from skcdf.labels import LabelSet
from skcdf.metrics import dice
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress
from skcdf.trainer import Trainer, TrainingConfig
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.validation import mean_dice, validate
from skcdf.weights import read_weights

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
CONFIG = TrainingConfig(
    PLAN, patch_size=(32, 32, 32), filters=2, iterations=6, batch_size=1, validations=6, learning_rate=0.05
)


class Threshold(nn.Module):
    """Classifies every voxel by its intensity alone, so that the whole label map is known without windows."""

    CENTRES = (-1.0, 1.0, 2.5, 3.2)

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([-((image - centre) ** 2) for centre in self.CENTRES], 1)

    def label_map(self, image: np.ndarray) -> np.ndarray:
        return self(torch.from_numpy(image.astype(np.float32))[None, None])[0].argmax(0).numpy()


class TestDice:
    def test_is_that_of_whole_label_maps_over_the_cases_that_count(self, toy_volumes, device):
        first, second = toy_volumes[:2]
        blurred = replace(first, image=first.image + (first.image[::-1] > 0).astype(np.float16))
        annotated = np.array([True, True, False, True])
        partial = replace(
            second, labels=np.where(annotated[second.labels], second.labels, 0), annotated=annotated
        )
        found = validate(Threshold(), [blurred, partial], LABELS, (32, 32, 32), device)
        for label in LABELS.labels:
            values = [
                dice(Threshold().label_map(volume.image) == label.value, volume.labels == label.value)
                for volume in (blurred, partial)
                if volume.annotated[label.value]
            ]
            assert found[label.name] == pytest.approx(np.mean(values))
            assert 0.2 < found[label.name] < 1.01
        assert found["spleen"] < 0.99  # blurred
        assert mean_dice(found) == pytest.approx(np.mean(list(found.values())))

    def test_of_an_organ_in_neither_label_map_is_no_number_and_a_spurious_one_counts_as_zero(
        self, toy_volumes, device
    ):
        volume = toy_volumes[0]
        empty = replace(volume, image=np.full_like(volume.image, -1), labels=np.zeros_like(volume.labels))
        empty.image[3, 3, 3] = Threshold.CENTRES[1]
        found = validate(Threshold(), [empty], LABELS, (32, 32, 32), device)
        assert found == {"spleen": 0.0, "right_kidney": None, "left_kidney": None}
        assert mean_dice(found) == 0.0
        assert mean_dice(dict.fromkeys(found)) == 0.0

    def test_tells_its_windows_from_the_first_moment_on(self, toy_volumes, device):
        told: list[Progress] = []
        validate(
            Threshold(), toy_volumes[:2], LABELS, (32, 32, 32), device, phase="look", progress=told.append
        )
        assert {report.phase for report in told} == {"look"}
        (total,) = {report.total for report in told}
        assert [report.done for report in told] == list(range(total + 1)) and total >= 2

    def test_obeys_a_cancel_token(self, toy_volumes, device):
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            validate(Threshold(), toy_volumes[:1], LABELS, (32, 32, 32), device, cancel=token)


@pytest.fixture
def make_trainer(toy_volumes, device, tmp_path):
    def make(config: TrainingConfig = CONFIG, folder: str = "run", **options) -> Trainer:
        volumes, unlabelled = toy_volumes[:2], [replace(toy_volumes[2], labels=None, locations=())]
        options = {"validation": toy_volumes[3:], **options}
        return Trainer(config, LABELS, volumes, unlabelled, tmp_path / folder, device, **options)

    return make


@pytest.fixture
def scripted(monkeypatch):
    """Validations of known outcome; keeps the weights that were validated, by their order."""
    validated: list[dict[str, Tensor]] = []
    outcomes: list[float] = []

    def pretend(network, volumes, label_set, patch_size, device, **options):
        validated.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return {"spleen": outcomes[len(validated) - 1], "right_kidney": None, "left_kidney": None}

    monkeypatch.setattr(trainer_module, "validate", pretend)
    return outcomes, validated


class TestBestWeights:
    def test_are_those_of_the_first_best_validation_and_what_training_returns(self, scripted, make_trainer):
        outcomes, validated = scripted
        outcomes[:] = [0.1, 0.4, 0.2, 0.4, 0.3, 0.0]
        trainer = make_trainer()
        state = trainer.run()
        assert [(at, value) for at, value, _ in state.validations] == list(enumerate(outcomes, 1))
        assert state.best[0] == 2
        kept = read_weights(trainer.best_file)
        for weights in (kept, trainer.weights()):
            assert weights.keys() == validated[1].keys()
            assert all(torch.equal(weights[name], x) for name, x in validated[1].items())
        assert not torch.equal(kept["encoder.stages.0.0.weight"], validated[3]["encoder.stages.0.0.weight"])

    def test_are_the_last_ones_where_nothing_was_validated(self, make_trainer):
        trainer = make_trainer(replace(CONFIG, validations=0, iterations=2))
        trainer.run()
        current = trainer.method.network.state_dict()
        assert all(torch.equal(current[name], x) for name, x in trainer.weights().items())
        assert not trainer.best_file.exists()

    def test_of_a_folder_that_lost_them_are_missed_by_name(self, scripted, make_trainer):
        scripted[0][:] = [0.1]
        trainer = make_trainer(replace(CONFIG, validations=1, iterations=1))
        trainer.run()
        trainer.best_file.unlink()
        with pytest.raises(SkcdfError, match=r"best\.safetensors"):
            trainer.weights()

    @pytest.mark.slow
    @pytest.mark.parametrize("statistics", ["gathered", "running"])
    def test_of_skcdf_hold_what_inference_needs(self, statistics, make_trainer, monkeypatch):
        monkeypatch.setattr(trainer_module, "STATISTICS_BATCHES", 2)
        config = replace(
            CONFIG,
            method="skcdf",
            unlabelled_batch_size=1,
            iterations=2,
            validations=1,
            method_options={"statistics": statistics},
        )
        trainer = make_trainer(config)
        state = trainer.run()
        assert len(state.validations) == 1
        weights, current = trainer.weights(), trainer.method.network.state_dict()
        different = {name for name, x in weights.items() if not torch.equal(x, current[name])}
        if statistics == "running":
            assert different == set()
        else:
            endings = ("running_mean", "running_var", "num_batches_tracked")
            assert different
            assert all(name.startswith("decoder_u.") and name.endswith(endings) for name in different)


class TestPatience:
    @pytest.mark.slow
    def test_ends_a_training_that_gets_no_better_wherever_it_was_stopped(self, scripted, make_trainer):
        outcomes, validated = scripted
        outcomes[:] = [0.1, 0.4, 0.4, 0.3, 0.9, 0.9]
        config = replace(CONFIG, patience=2)
        whole = make_trainer(config, "whole").run()
        assert [at for at, *_ in whole.validations] == [1, 2, 3, 4]
        assert whole.iteration == 4
        assert whole.history[-1][0] == 4 and whole.recent == []
        validated.clear()
        for stop in (1, 2, 3, 4):
            token = CancelToken()

            def cancel(report, stop=stop, token=token):
                if report.done == stop:
                    token.cancel()

            trainer = make_trainer(config, "stopped", cancel=token, progress=cancel)
            if stop < 4:
                with pytest.raises(Cancelled):
                    trainer.run()
            else:
                trainer.run()
            assert trainer.state.iteration == stop
        resumed = make_trainer(config, "stopped").run()
        assert replace(resumed, seconds=0) == replace(whole, seconds=0)

    @pytest.mark.slow
    def test_is_not_lost_by_a_new_best(self, scripted, make_trainer):
        scripted[0][:] = [0.4, 0.3, 0.5, 0.4, 0.6, 0.5]
        assert make_trainer(replace(CONFIG, patience=2)).run().iteration == 6


def test_a_validation_scan_that_is_trained_on_is_refused(make_trainer, toy_volumes):
    for index, trained in ((0, "case0"), (2, "case2")):
        copy = replace(toy_volumes[index], name="copy")
        with pytest.raises(SkcdfError, match=f"case copy is the same scan as training case {trained}"):
            make_trainer(validation=[toy_volumes[3], copy])


@pytest.mark.parametrize(
    ("iterations", "validations", "expected"),
    [(12, 3, [4, 8, 12]), (10, 3, [4, 7, 10]), (3, 10, [1, 2, 3]), (5, 1, [5]), (5, 0, [])],
)
def test_validations_are_spread_evenly_and_the_last_weights_are_among_them(iterations, validations, expected):
    config = replace(CONFIG, iterations=iterations, validations=validations)
    assert [i for i in range(iterations + 1) if config.is_validated(i)] == expected


def test_an_organ_that_no_case_was_annotated_for_is_refused_unless_its_mirror_image_was(
    toy_volumes, device, tmp_path
):
    def train(annotated: list[bool], mirror: bool) -> Trainer:
        volumes = [replace(volume, annotated=np.array(annotated)) for volume in toy_volumes]
        return Trainer(replace(CONFIG, mirror=mirror), LABELS, volumes, (), tmp_path, device)

    for annotated, mirror in (([True, False, True, True], True), ([True, True, False, True], False)):
        with pytest.raises(SkcdfError, match="No training case says where"):
            train(annotated, mirror)
    train([True, True, False, True], True)


@pytest.mark.slow
class TestKeptWeights:
    def test_belong_to_the_validation_that_the_checkpoint_names_wherever_the_training_is_killed(
        self, scripted, make_trainer, monkeypatch
    ):
        outcomes, validated = scripted
        outcomes[:] = [0.1, 0.4]
        save = trainer_module.save_checkpoint

        def killed(path, network, optimizer, state):
            if len(state.validations) == 2:
                raise KeyboardInterrupt
            save(path, network, optimizer, state)

        monkeypatch.setattr(trainer_module, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            make_trainer().run()
        monkeypatch.setattr(trainer_module, "save_checkpoint", save)
        ended = make_trainer(stop_after_s=0.0)  # there is no time for another step
        monkeypatch.setattr(ended, "_validate", lambda last: None)
        assert ended.run().best[0] == 1
        assert all(torch.equal(ended.weights()[name], x) for name, x in validated[0].items())
        assert sorted(path.name for path in ended.run_folder.iterdir()) == [
            "best.safetensors",
            "checkpoint.safetensors",
        ]

    @pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size stands in for a full disk")
    def test_that_a_full_disk_refuses_are_called_by_a_name_that_is_known(self, tmp_path):
        code = (
            "import resource, signal, sys, pathlib, torch\n"
            "from skcdf.errors import SkcdfError\n"
            "from skcdf.trainer.best_weights import BestWeights\n"
            "from skcdf.trainer.checkpoint import TrainingState, save_checkpoint\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
            "folder, network = pathlib.Path(sys.argv[1]), torch.nn.Linear(99, 99)\n"
            "optimizer = torch.optim.SGD(network.parameters())\n"
            "state = TrainingState({}, {})\n"
            "for write in (lambda: BestWeights(folder).write(7, network.state_dict()),\n"
            "    lambda: save_checkpoint(folder / 'checkpoint.safetensors', network, optimizer, state)):\n"
            "    try: write()\n"
            "    except SkcdfError as error: print(error.message)\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
        command = [sys.executable, "-c", code, str(tmp_path)]
        told = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
        assert ".tmp" not in told
        assert f"{tmp_path / 'best-7.safetensors'}: cannot be written" in told
        assert f"{tmp_path / 'checkpoint.safetensors'}: the checkpoint cannot be written" in told
