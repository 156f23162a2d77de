"""The model that ships: small, honest about itself, and able to do what it says it can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skcdf.check import check_input
from skcdf.device import choose_device
from skcdf.image import read_image, read_label_map, write_label_map
from skcdf.inference import Predictor
from skcdf.metrics import evaluate_case
from skcdf.models import default_model
from skcdf.phantom import make_phantom

ABDOMINAL_CT = Path(__file__).resolve().parents[3] / "shared" / "data" / "abdominal_ct" / "example_ct.nii.gz"
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
