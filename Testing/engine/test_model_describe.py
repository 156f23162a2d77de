"""`skcdf model describe`: what people write into a model's card, beside its untouched weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from skcdf.cli import main
from skcdf.image import write_image, write_label_map
from skcdf.models import ModelBundle, default_model
from skcdf.phantom import make_phantom


@pytest.fixture
def model(tmp_path) -> ModelBundle:
    return ModelBundle.load(shutil.copytree(default_model().folder, tmp_path / "phantom13"))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of two cases: a perfect one, and one that lacks the gallbladder."""
    folder = tmp_path_factory.mktemp("report")
    for name in ("found", "truth"):
        (folder / name).mkdir()
    for seed in (1, 2):
        scan, truth = make_phantom(seed, shape=(40, 48, 48), spacing=(8.0, 8.0, 8.0))
        write_image(folder / f"{seed}.nii.gz", scan)
        write_label_map(folder / "truth" / f"{seed}.nii.gz", truth.array, truth.geometry)
        if seed == 2:
            truth.array[truth.array == 4] = 0
        write_label_map(folder / "found" / f"{seed}.nii.gz", truth.array, truth.geometry)
    folders = (str(folder / "found"), str(folder / "truth"))
    output = folder / "scores.json"
    assert main(["evaluate", *folders, "--labels", "phantom13", "--output", str(output)]) == 0
    return output


@pytest.fixture
def scores(report, tmp_path):
    """That report, to change."""
    return Path(shutil.copy(report, tmp_path))


def test_what_is_given_stands_in_the_card_and_the_rest_stays(model, capsys):
    weights = (model.folder / "weights.safetensors").read_bytes()
    words = ["--licence", "CC-BY-4.0, of the clinic", "--failure", "Metal.", "--failure", "Children."]
    assert main(["model", "describe", str(model.folder), *words]) == 0
    card = capsys.readouterr().out
    assert "Licence: CC-BY-4.0, of the clinic" in card and "  - Metal.\n  - Children." in card
    found = ModelBundle.load(model.folder)
    assert found == replace(model, licence="CC-BY-4.0, of the clinic", known_failures=("Metal.", "Children."))
    assert (model.folder / "weights.safetensors").read_bytes() == weights


def test_measured_accuracy_stands_beside_that_of_the_training(model, scores, capsys):
    command = [
        "model",
        "describe",
        str(model.folder),
        "--scores",
        str(scores),
        "--protocol",
        "two new phantoms",
    ]
    assert main(command) == main(command) == 0  # the same protocol again replaces its figures
    found = ModelBundle.load(model.folder)
    own = {(each.organ, each.metric): each for each in found.metrics if each.protocol == "two new phantoms"}
    assert found.metrics[: len(model.metrics)] == model.metrics
    assert len(found.metrics) == len(model.metrics) + len(own)
    liver, gallbladder = own["liver", "dice"], own["gallbladder", "dice"]
    assert (liver.mean, liver.sd, liver.n) == (1.0, 0.0, 2)
    assert (gallbladder.mean, gallbladder.n) == (0.5, 2)  # the missed one counts as 0
    distance = own["gallbladder", "hausdorff95_mm"]
    assert (distance.mean, distance.sd, distance.n) == (0.0, None, 1)
    assert "two new phantoms" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Nothing was given to be written"),
        (["--protocol", "mine"], "--scores and --protocol belong together"),
        (["--scores", "SCORES"], "--scores and --protocol belong together"),
        (["--scores", "MODEL", "--protocol", "mine"], "no report of skcdf evaluate"),
        (["--scores", "OTHER", "--protocol", "mine"], "its organs are not those of the model"),
        (["--title", ""], "title"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(model, scores, tmp_path, arguments, told, capsys):
    content = json.loads(scores.read_text())
    (tmp_path / "other.json").write_text(json.dumps({**content, "summary": content["summary"][1:]}))
    places = {"SCORES": scores, "MODEL": model.folder / "model.json", "OTHER": tmp_path / "other.json"}
    words = [str(places.get(each, each)) for each in arguments]
    assert main(["model", "describe", str(model.folder), *words]) == 1
    assert told in capsys.readouterr().err
    assert ModelBundle.load(model.folder) == model


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dice_mean": 50}, "mean of dice must be from 0 to 1, is 50"),
        ({"hausdorff95_mm_mean": -5}, "mean of hausdorff95_mm must be from 0"),
        ({"dice_mean": float("nan")}, "mean and sd must be finite"),
        ({"dice_n": True}, "n must be a whole number"),
        (
            {"dice_n": 0, "hausdorff95_mm_n": 0, "normalized_surface_dice_n": 0},
            "no case counts for any organ",
        ),
        ({"organ": "liver"}, "its organs are not those of the model"),
    ],
)
def test_figures_that_cannot_be_are_refused_and_the_card_stays(model, scores, change, told, capsys):
    report = json.loads(scores.read_text("utf-8"))
    report["summary"] = [{**row, **change} for row in report["summary"]]
    scores.write_text(json.dumps(report), "utf-8")
    before = (model.folder / "model.json").read_bytes()
    command = ["model", "describe", str(model.folder), "--scores", str(scores), "--protocol", "mine"]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert told in said and "scores.json" in said
    assert (model.folder / "model.json").read_bytes() == before
