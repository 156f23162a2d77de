"""A training of which no step is better than its start: it says so everywhere, and makes no model of the parent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy_fine_tuning
from safetensors.torch import load_file
from toy_fine_tuning import SHORT, tuned

from skcdf.cli import main
from skcdf.comparison import Comparison
from skcdf.files import read_json
from skcdf.fine_tune_run import RunRecord
from skcdf.model_store import ModelStore

# the fixtures of this file
quick, cases, workplace, knowing, pool = (
    toy_fine_tuning.quick,
    toy_fine_tuning.cases,
    toy_fine_tuning.workplace,
    toy_fine_tuning.knowing,
    toy_fine_tuning.pool,
)
NOTHING = "no step of this training (2 in all) was better on the validation cases than its start"
STANDSTILL = {**SHORT, "learning_rate": 1e-9}


@pytest.fixture(scope="module")
def perfect(workplace, knowing) -> Path:
    """A store with a promoted model that finds every organ: no training can make it better."""
    store = ModelStore.open(workplace / "perfect store", create=True)
    store.add("toy", knowing.folder, parent=None, data_hash="", config={})
    store.promote("toy", "v1")
    return store.root


@pytest.fixture
def versions(perfect):
    """What is in the store now."""
    return lambda: [(each.version, each.state) for each in ModelStore.open(perfect).versions("toy")]


@pytest.fixture(scope="module")
def kept(perfect, pool, tmp_path_factory):
    """Two steps from a perfect model, and what was said."""
    run, said = tmp_path_factory.mktemp("kept") / "run", []
    return run, tuned(pool, run, "toy", store=perfect, settings=SHORT, said=said), said


class TestTheStart:
    def test_is_told_as_such_and_enters_no_store(self, kept, perfect, versions):
        run, outcome, said = kept
        assert (outcome.kept, outcome.version, outcome.comparison) == ("start", None, None)
        assert versions() == [("v1", "promoted")]
        assert NOTHING in outcome.notes[0] and "toy@v1 itself. Keep the old model." in outcome.notes[0]
        assert f"note: {outcome.notes[0]}" in said
        assert not any("Recommendation" in each for each in said), "a model beside itself is no comparison"
        assert not (run / "comparison.json").exists()

    def test_is_the_parent_to_the_bit(self, kept, perfect):
        one = load_file(kept[1].model.folder / "weights.safetensors")
        two = load_file(perfect / "toy" / "versions" / "v1" / "weights.safetensors")
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)

    @pytest.mark.parametrize("method", ["mean_teacher", "pseudo_label"])
    def test_holds_no_network_that_only_teaches(self, method, perfect, pool, tmp_path):
        outcome = tuned(pool, tmp_path / "run", "toy", store=perfect, method=method, settings=STANDSTILL)
        assert outcome.kept == "start"
        assert not [
            name for name in outcome.model.load_weights() if name.startswith(("student.", "labeller."))
        ]

    def test_is_in_the_report_and_in_the_models_description(self, kept):
        run, outcome, _ = kept
        report = (run / "report.html").read_text("utf-8")
        assert f"NOTHING GAINED: {NOTHING}" in report
        assert "those of the start, since no later ones were better" in report
        assert NOTHING in outcome.model.description

    def test_of_a_finished_run_stays_so_when_it_is_resumed_even_into_another_store(
        self, kept, pool, tmp_path
    ):
        run, first, _ = kept
        files = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        again = tuned(pool, run, resume=True)
        assert again == first
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == files
        assert tuned(pool, run, resume=True, store=tmp_path / "other").version is None
        assert ModelStore.open(tmp_path / "other", create=True).lines() == ()
        assert RunRecord.load(run).kept == "start"

    def test_is_kept_of_a_training_that_ruins_the_model(self, pool, perfect, tmp_path):
        ruinous = {**SHORT, "learning_rate": 3.0}
        outcome = tuned(pool, tmp_path / "run", "toy", store=perfect, settings=ruinous)
        assert (outcome.kept, outcome.version) == ("start", None)


def test_the_command_says_that_nothing_was_gained_and_no_candidate_added(
    perfect, pool, tmp_path, capsys, versions
):
    before = versions()
    arguments = ["finetune", str(pool), str(tmp_path / "run"), "--model", "toy", "--store", str(perfect)]
    short = ["--iterations", "2", "--validations", "1", "--batch-size", "1", "--device", "cpu"]
    for more in (short, ["--resume"]):
        assert main([*arguments, *more]) == 0
        out = capsys.readouterr().out
        assert "nothing was gained: keep the old model; no candidate was added" in out
        assert "candidate v" not in out
    assert NOTHING in (tmp_path / "run" / "log.txt").read_text("utf-8")
    assert versions() == before


@pytest.mark.slow
def test_a_start_that_another_method_changed_enters_the_store_but_is_marked(pool, workplace, tmp_path):
    said: list[str] = []
    options = {"store": tmp_path / "store", "settings": STANDSTILL, "said": said}
    outcome = tuned(pool, tmp_path / "run", str(workplace / "model"), method="skcdf", **options)
    assert (outcome.kept, outcome.version.version) == ("converted start", "v1")
    assert outcome.model.training.iterations == 0
    assert outcome.version.note.startswith(f"NOTHING GAINED: {NOTHING}")
    assert "changed from method supervised to skcdf and not trained" in outcome.version.note
    comparison = Comparison.from_json(read_json(tmp_path / "run" / "comparison.json", "comparison"))
    assert comparison == outcome.comparison and len(comparison.cases) == 1
    assert comparison.recommendation == "keep the old model"
    assert comparison.reason.startswith("Nothing was gained: no step of the training was better")
    assert tuned(pool, tmp_path / "run", resume=True) == outcome


def test_a_training_that_gains_says_nothing_of_the_kind(pool, workplace, tmp_path):
    outcome = tuned(pool, tmp_path / "run", "toy", store=workplace / "store", settings=SHORT)
    assert outcome.kept == "training" and outcome.version is not None
    assert outcome.comparison.mean.after > outcome.comparison.mean.before
    assert "NOTHING GAINED" not in (tmp_path / "run" / "report.html").read_text("utf-8")
