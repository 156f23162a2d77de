"""The baselines from the command line: they train on phantoms, and their models segment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from skcdf.cli import main
from skcdf.image import read_label_map
from skcdf.models import ModelBundle
from skcdf.networks import build_network
from skcdf.run_folder import alone_in
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import read_state
from skcdf.weights import read_weights

SIZES = ["--shape", "40", "40", "48", "--spacing", "7", "9", "9"]
CASES = ["--labelled", "2", "--unlabelled", "2", "--validation", "1"]
SETTINGS = "--iterations 16 --filters 4 --patch-size 32 32 32 --spacing 7 9 9 --minutes 0.1 --validations 1"
PARTS = {
    "mean_teacher": {"labelled", "consistency"},
    "cps": {"labelled", "crossed", "labelled_second", "crossed_second"},
    "pseudo_label": {"labelled", "unlabelled"},
}


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("baselines") / "pool"
    assert main(["phantom", str(folder), *CASES, *SIZES]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("method", PARTS)
def test_a_phantom_pool_is_learnt_and_the_model_segments(method, pool, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "HISTORY_STEP", 8)
    run = tmp_path / method
    assert main(["train", str(pool), str(run), "--method", method, *SETTINGS.split()]) == 0
    state = read_state(run / "checkpoint.safetensors")
    assert [entry[0] for entry in state.history] == [8, 16]
    assert all(entry[2].keys() == PARTS[method] for entry in state.history)
    first, last = (entry[2]["labelled"] for entry in state.history)
    assert last < first
    unlabelled = [state.history[-1][2][name] for name in PARTS[method] if not name.startswith("labelled")]
    assert all(value > 0 for value in unlabelled)

    model = ModelBundle.load(run / "model")
    assert (model.training.method, model.training.unlabelled_cases) == (method, 2)
    network = build_network(model.network.name, model.network.arguments)
    weights = model.load_weights(inference_only=True)
    network.load_state_dict(weights)
    best = read_weights(run / "best.safetensors")
    assert all(torch.equal(weights[name], best[name]) for name in weights)

    scan, found = next(pool.glob("imagesUn/*.nii.gz")), tmp_path / "found.nii.gz"
    assert main(["segment", str(scan), str(found), "--model", str(run / "model")]) == 0
    assert np.unique(read_label_map(found).array).max() < model.label_set.number_of_classes


@pytest.mark.slow
def test_a_model_of_two_networks_is_fine_tuned_to_one(pool, tmp_path):
    small = "--iterations 1 --filters 2 --patch-size 32 32 32 --spacing 7 9 9 --minutes 0.1 --validations 0"
    assert main(["train", str(pool), str(tmp_path / "pair"), "--method", "cps", *small.split()]) == 0
    settings = ["--method", "pseudo_label", "--iterations", "2", "--loss", "ga", "--batch-size", "1"]
    command = ["finetune", str(pool), str(tmp_path / "run"), "--model", str(tmp_path / "pair" / "model")]
    assert main([*command, *settings]) == 0
    model = ModelBundle.load(tmp_path / "run" / "model")
    assert (model.network.name, model.training.method) == ("vnet", "pseudo_label")
    assert "the first of its two networks knows carries over" in model.description


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--method skcfd", "no training method called skcfd"),
        ("--method skcdf --option mask=sel", "option mask must be"),
        ("--plugin sdcl", "no plug-in called sdcl"),
        ("--plugin scdl --plugin-option prset=paper", "Its options are preset, tokens"),
    ],
)
@pytest.mark.parametrize("command", ["train", "finetune"])
def test_what_is_not_known_is_told_before_any_scan_is_read(command, arguments, told, pool, tmp_path, capsys):
    assert main([command, str(pool), str(tmp_path / "run"), *arguments.split()]) == 1
    output = capsys.readouterr()
    assert told in output.err and "survey" not in output.out + output.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--spacing 0 1 1", "--spacing must hold positive numbers"),
        ("--spacing nan 1 1", "--spacing must hold positive numbers"),
        ("--minutes -5", "A budget of -5"),
        ("--iterations 2 --patch-size 32 32 32 --filters 2 --seed 99999999999999999999", "or too large"),
    ],
)
def test_a_training_that_cannot_be_is_refused(arguments, told, pool, tmp_path, capsys):
    assert main(["train", str(pool), str(tmp_path / "run"), *arguments.split()]) == 1
    said = capsys.readouterr().err
    assert told in said and "unexpected" not in said
    assert not (tmp_path / "run" / "settings.json").exists()


def test_a_run_that_another_program_trains_keeps_its_settings(pool, tmp_path, capsys):
    run = tmp_path / "run"
    with alone_in(run):
        (run / "settings.json").write_text("{}")
        assert main(["train", str(pool), str(run), *SETTINGS.split()]) == 1
        assert "is locked by" in capsys.readouterr().err
        assert (run / "settings.json").read_text() == "{}"


@pytest.mark.parametrize("folder", [".", "runs/first"])
@pytest.mark.parametrize("command", ["train", "finetune"])
def test_no_run_is_written_among_the_cases_it_learns_from(command, folder, pool, capsys):
    before = sorted(pool.rglob("*"))
    assert main([command, str(pool), str(pool / folder)]) == 1
    assert "lies in the data set" in capsys.readouterr().err
    assert sorted(pool.rglob("*")) == before
