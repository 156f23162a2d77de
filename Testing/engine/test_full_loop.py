"""The whole loop by the command line: segment, correct, add, fine-tune, compare, promote, segment again, roll back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from skcdf.cli import main
from skcdf.datasets import open_dataset
from skcdf.files import read_json
from skcdf.image import read_image, read_label_map, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.model_store import ModelStore
from skcdf.phantom import make_phantom

SHAPE, SPACING = ("20", "30", "36"), ("7", "7", "7")
LABELS = LabelSet.load("phantom13")
CORRECTED = ("liver", "spleen")


@pytest.fixture
def skcdf(capsys) -> Callable[..., str]:
    """Runs a command that must succeed; returns what it printed."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return run


def correct(proposal: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What a person does in the editor: the two organs as they are, everything else taken away."""
    corrected = np.zeros_like(proposal)
    for organ in CORRECTED:
        corrected[truth == LABELS.value_of(organ)] = LABELS.value_of(organ)
    return corrected


@pytest.mark.slow
def test_a_corrected_case_makes_a_new_version_that_is_compared_promoted_and_taken_back(skcdf, tmp_path: Path):
    """The models are tiny: what they find is not the matter here."""
    pool, store, run = tmp_path / "pool", tmp_path / "store", tmp_path / "run"
    scan, proposal, corrected = (tmp_path / f"{name}.nii.gz" for name in ("scan", "proposal", "corrected"))
    with_store = ("--store", store, "--device", "cpu")
    phantoms = ("phantom", pool, "--seed", 2000, "--shape", *SHAPE, "--spacing", *SPACING)
    skcdf(*phantoms, "--labelled", 1, "--validation", 3, "--unlabelled", 1)
    small = ("--filters", 4, "--patch-size", 32, 32, 32, "--spacing", 7, 7, 7)
    first_run = ("--iterations", 40, "--validations", 1, "--method", "supervised")
    table = skcdf("finetune", pool, tmp_path / "first", "--name", "organs", *with_store, *small, *first_run)
    assert "There is no model before" in " ".join(table.split())
    skcdf("model", "promote", store, "organs", "v1")

    image, truth = make_phantom(3000, shape=tuple(map(int, SHAPE)), spacing=tuple(map(float, SPACING)))
    write_image(scan, image)

    skcdf("segment", scan, proposal, "--model", "organs", *with_store)
    first = read_label_map(proposal)
    write_label_map(corrected, correct(first.array, truth.array), truth.geometry)

    added = ("pool", "add", pool, scan, corrected, "--name", "corrected", "--subject", "phantom 3000")
    whose = ("--annotated", ",".join(CORRECTED), "--model", "organs@v1", "--proposal", proposal)
    dry = skcdf(*added, *whose, "--dry-run")
    assert "liver" in dry and open_dataset(pool).labelled[0].name != "corrected"
    skcdf(*added, *whose)
    record = read_json(pool / "cases" / "corrected.json", "case")
    assert set(record["revisions"][0]["proposal_dice"]) == set(CORRECTED)
    assert "all as it should be" in skcdf("pool", "verify", pool)

    settings = ("--iterations", 3, "--validations", 1, "--batch-size", 1, "--unlabelled-batch-size", 1)
    table = skcdf("finetune", pool, run, "--model", "organs", "--name", "organs", *with_store, *settings)
    assert "Recommendation: " in table and "Rule: " in table
    assert "3 pinned validation cases" in table
    versions = ModelStore.open(store).versions("organs")
    assert [(each.version, each.state, each.parent) for each in versions] == [
        ("v1", "promoted", None),
        ("v2", "candidate", "organs@v1"),
    ]
    again = skcdf("model", "compare", "organs", "organs@v2", "--data", pool, *with_store)
    assert "before: organs v1" in again and "after:  organs v2" in again

    skcdf("model", "promote", store, "organs", "v2")
    skcdf("segment", scan, tmp_path / "second.nii.gz", "--model", "organs", *with_store)
    skcdf("segment", scan, tmp_path / "v2.nii.gz", "--model", "organs@v2", *with_store)
    second = read_label_map(tmp_path / "second.nii.gz")
    assert second.geometry.same_grid(read_image(scan).geometry)
    assert np.array_equal(second.array, read_label_map(tmp_path / "v2.nii.gz").array)
    assert not np.array_equal(second.array, first.array)

    skcdf("model", "rollback", store, "organs")
    skcdf("segment", scan, tmp_path / "third.nii.gz", "--model", "organs", *with_store)
    assert np.array_equal(read_label_map(tmp_path / "third.nii.gz").array, first.array)
