"""The models that ship: small, honest about themselves, and able to do what they say they can."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from skcdf.check import check_input
from skcdf.device import choose_device
from skcdf.image import read_image, read_label_map, write_label_map
from skcdf.image_hash import voxel_hash
from skcdf.inference import Predictor
from skcdf.metrics import evaluate_case
from skcdf.models import default_model, find_model, list_models
from skcdf.phantom import make_phantom
from skcdf.resources import resource

ABDOMINAL_CT = Path(__file__).resolve().parents[3] / "shared" / "data" / "abdominal_ct" / "example_ct.nii.gz"
OPENKBP = ABDOMINAL_CT.parents[1] / "openkbp"
LARGEST = ("liver", "stomach", "spleen", "right_kidney", "left_kidney")
UNSEEN_PATIENT = 1000


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(default_model(), choose_device("cpu"))


def test_it_is_small_and_says_what_it_is() -> None:
    model = default_model()
    assert model.folder is not None
    assert sum(file.stat().st_size for file in model.folder.iterdir()) <= 3_000_000
    assert model.training.synthetic
    assert "results on real scans mean nothing" in model.notice
    assert "not for diagnosis" in model.notice


def test_it_finds_the_five_largest_organs_of_a_patient_it_never_saw(predictor: Predictor) -> None:
    scan, truth = make_phantom(UNSEEN_PATIENT, shape=(72, 96, 112), spacing=(3.5, 3.5, 3.5), cut_off_share=0)
    labels = predictor.segment(scan).label_map
    scores = evaluate_case(
        labels.array, truth.array, predictor.bundle.label_set, truth.geometry.array_spacing
    )
    assert np.mean([score.dice for score in scores if score.organ in LARGEST]) >= 0.7


@pytest.mark.slow
def test_it_segments_a_real_ct_on_the_cts_own_grid(predictor: Predictor, tmp_path: Path) -> None:
    if not ABDOMINAL_CT.is_file():
        pytest.skip("the abdominal CT of ../shared/data is not here")
    scan = read_image(ABDOMINAL_CT)
    labels = predictor.segment(scan).label_map
    write_label_map(tmp_path / "organs.nii.gz", labels.array, scan.geometry)
    assert read_label_map(tmp_path / "organs.nii.gz").geometry.same_grid(scan.geometry)
    assert not [warning.code for warning in check_input(scan, predictor.bundle) if warning.code == "modality"]


def test_all_that_ship_are_small_and_have_a_card() -> None:
    models = list_models(resource("Models"))
    assert [model.name for model in models] == ["head_neck7", "phantom13"]
    files = [file for model in models if model.folder for file in model.folder.iterdir()]
    assert sum(file.stat().st_size for file in files) <= 25_000_000
    for model in models:
        assert model.folder is not None
        assert model.weights is not None
        assert model.weights.dtype == "float16" and model.known_failures and model.metrics and model.usual
        assert "not for diagnosis" in (model.folder / "README.md").read_text(encoding="utf-8")


def test_the_card_of_the_head_and_neck_model_is_of_cases_it_was_not_trained_on() -> None:
    model = find_model("head_neck7")
    assert not model.training.synthetic and model.training.labelled_cases == 8
    reported = [each for each in model.metrics if each.metric == "dice" and "22" in each.protocol]
    assert [each.organ for each in reported] == list(model.label_set.names) and {
        each.n for each in reported
    } == {22}
    if not OPENKBP.is_dir():
        pytest.skip("OpenKBP of ../shared/data is not here")
    tested = json.loads((OPENKBP / "splits.json").read_text(encoding="utf-8"))["development_test"]
    hashes = {voxel_hash(read_image(OPENKBP / "images" / f"{case}.nii.gz")) for case in tested}
    assert len(tested) == 22 and not hashes & set(model.training.image_hashes)


@pytest.mark.slow
def test_the_head_and_neck_model_finds_every_organ_of_a_case_it_never_saw() -> None:
    if not OPENKBP.is_dir():
        pytest.skip("OpenKBP of ../shared/data is not here")
    case = json.loads((OPENKBP / "splits.json").read_text(encoding="utf-8"))["development_test"][0]
    scan = read_image(OPENKBP / "images" / f"{case}.nii.gz")
    truth = read_label_map(OPENKBP / "labels" / f"{case}.nii.gz")
    head_neck = Predictor(find_model("head_neck7"), choose_device("cpu"))
    labels = head_neck.segment(scan).label_map
    spacing = truth.geometry.array_spacing
    scores = evaluate_case(labels.array, truth.array, head_neck.bundle.label_set, spacing)
    assert min(score.dice for score in scores) > 0.3  # left and right are not exchanged either
    assert not check_input(scan, head_neck.bundle)
