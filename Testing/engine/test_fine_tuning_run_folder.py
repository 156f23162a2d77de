"""The folder of a fine-tuning and the store of its outcome: whose they are, and what resuming does with them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy_fine_tuning
from safetensors.torch import load_file
from toy_fine_tuning import SHORT, Member, make_pool, stop_at, tuned

from skcdf.errors import Cancelled, SkcdfError
from skcdf.files import read_json
from skcdf.fine_tune_run import RunRecord
from skcdf.model_store import ModelStore
from skcdf.run_folder import alone_in

# the fixtures of this file
quick, cases, workplace, pool, done, tune = (
    toy_fine_tuning.quick,
    toy_fine_tuning.cases,
    toy_fine_tuning.workplace,
    toy_fine_tuning.pool,
    toy_fine_tuning.done,
    toy_fine_tuning.tune,
)


class TestRunFolder:
    @pytest.mark.slow
    def test_of_a_run_is_refused_without_resume(self, pool, done, workplace):
        with pytest.raises(SkcdfError, match="holds a run already") as refusal:
            tuned(pool, workplace / "done", "toy", store=workplace / "store")
        assert "--resume" in refusal.value.hint

    @pytest.mark.slow
    def test_of_a_finished_run_resumed_changes_nothing(self, pool, done, workplace):
        first, run = done[0], workplace / "done"
        files = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        again = tuned(pool, run, resume=True, store=workplace / "store")
        assert (again.model, again.version, again.comparison) == (
            first.model,
            first.version,
            first.comparison,
        )
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == files

    def test_of_another_kind_is_refused(self, pool, tune, tmp_path):
        (tmp_path / "run" / "model").mkdir(parents=True)
        with pytest.raises(SkcdfError, match="is no model"):
            tune(pool)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "checkpoint.safetensors").write_bytes(b"of skcdf train")
        with pytest.raises(SkcdfError, match="another run than a fine-tuning"):
            tune(pool, "other", resume=True)

    def test_resumed_with_other_wishes_is_refused(self, pool, tune):
        with pytest.raises(Cancelled):
            tune(pool, **stop_at("train"))
        for wish, complaint in (
            ({"settings": {"learning_rate": 1.0}}, "other settings"),
            ({"method": "skcdf"}, "other settings"),
            ({"preset": "published"}, "has preset standard"),
            ({"start": "phantom13"}, "starts from toy"),
            ({"name": "other"}, "is called toy"),
            ({"time_budget_s": 5.0}, "time budget"),
        ):
            with pytest.raises(SkcdfError, match=complaint):
                tune(pool, resume=True, **wish)

    def test_resumed_with_the_same_wishes_goes_on_though_time_cut_them(self, pool, tune):
        wishes = {"settings": {**SHORT, "iterations": 10**6}, "time_budget_s": 60.0}
        for resume in (False, True):
            with pytest.raises(Cancelled):
                tune(pool, resume=resume, **wishes, **stop_at("train", 1 + resume))
        with pytest.raises(SkcdfError, match=r"run: the run in this folder has other settings: iterations\."):
            tune(pool, resume=True, settings={**SHORT, "iterations": 10**6 - 1})

    def test_resumed_with_the_same_wishes_goes_on_though_the_parents_plugin_joined_them(
        self, pool, tune, workplace, tmp_path
    ):
        known = {"start": str(workplace / "model"), "store": None}
        tune(pool, "parent", **known, settings={**SHORT, "plugin": "scdl"})
        wishes = {"start": str(tmp_path / "parent/model"), "store": None}
        wishes["settings"] = {**SHORT, "iterations": 4, "plugin_options": {"stride": 4}}
        for resume in (False, True):
            with pytest.raises(Cancelled):
                tune(pool, resume=resume, **wishes, **stop_at("train", 1 + resume))
        with pytest.raises(SkcdfError, match="other settings: plugin_options"):
            tune(pool, resume=True, **{**wishes, "settings": {"plugin_options": {"stride": 2}}})
        preset = {**SHORT, "plugin_options": {"preset": "paper"}}
        tune(pool, "preset", **{**wishes, "settings": preset})
        assert read_json(tmp_path / "preset/settings.json", "settings")["plugin"] == "scdl"

    def test_goes_on_from_any_folder_and_by_any_spelling_of_its_start(
        self, pool, tune, workplace, tmp_path, monkeypatch
    ):
        wishes = {"store": None, "settings": {**SHORT, "iterations": 6}}
        monkeypatch.chdir(workplace)
        with pytest.raises(Cancelled):
            tune(pool, start="model", **wishes, **stop_at("train"))
        monkeypatch.chdir(tmp_path)
        for reached, start in ((2, ""), (3, str(workplace / "." / "model"))):
            with pytest.raises(Cancelled):
                tune(pool, start=start, resume=True, **wishes, **stop_at("train", reached))

    def test_without_a_run_is_not_resumed(self, pool, tune, tmp_path):
        with pytest.raises(SkcdfError, match="there is no run to go on with") as refusal:
            tune(pool, "mistyped", resume=True)
        assert "leave out --resume" in refusal.value.hint
        assert not (tmp_path / "mistyped").exists()

    def test_of_a_run_that_never_trained_begins_anew_and_says_so(self, pool, tune, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "log.txt").write_text("stopped while reading scans")
        said: list[str] = []
        with pytest.raises(Cancelled):
            tune(pool, resume=True, said=said, **stop_at("train"))
        assert any("begins anew" in each for each in said)

    @pytest.mark.slow
    def test_is_one_programs_from_the_first_look_to_the_last_word(self, pool, done, tune, tmp_path):
        said: list[str] = []
        with alone_in(tmp_path / "run"), pytest.raises(SkcdfError, match=r"run\.lock: is locked by"):
            tune(pool, said=said)
        assert said == []  # nothing was looked at
        seen = []
        progress = lambda report: seen.append((report.phase, (tmp_path / "run" / "run.lock").exists()))  # noqa: E731
        tune(pool, progress=progress)
        assert {"survey", "train", "compare"} <= {phase for phase, _ in seen}
        assert all(locked for _, locked in seen)

    @pytest.mark.slow
    def test_resumed_goes_on_with_the_version_it_began_with(self, pool, tune, done, workplace):
        store, newer = ModelStore.open(workplace / "store"), done[0].version
        with pytest.raises(Cancelled):
            tune(pool, **stop_at("train"))
        store.promote("toy", newer.version)
        try:
            assert tune(pool, resume=True).version.parent == "toy@v1"
        finally:
            store.roll_back("toy")


@pytest.mark.slow
class TestStore:
    """A finished training enters the store, whatever else lies there."""

    @pytest.fixture
    def store(self, workplace, tmp_path) -> ModelStore:
        shutil.copytree(workplace / "store", tmp_path / "store")
        return ModelStore.open(tmp_path / "store")

    @pytest.fixture
    def copy(self, done, workplace, tmp_path) -> Path:
        """The finished run, as one that never heard of a store."""
        shutil.copytree(workplace / "done", tmp_path / "copy")
        record = RunRecord.load(tmp_path / "copy")
        replace(record, version=None, store="").save(tmp_path / "copy")
        return tmp_path / "copy"

    @pytest.mark.parametrize("file", ["versions/v1/model.json", "versions/v1/version.json", "current.json"])
    def test_with_another_damaged_version_takes_the_outcome_in(self, pool, copy, store, file):
        shutil.rmtree(store.root / "toy" / "versions" / "v2")
        (store.root / "toy" / file).write_text("{")
        outcome = tuned(pool, copy, resume=True, store=store.root)
        assert outcome.version is not None and outcome.version.parent == "toy@v1"
        again = replace(RunRecord.load(copy), version=None)  # as killed before it was written down
        again.save(copy)
        assert tuned(pool, copy, resume=True).version == outcome.version

    def test_that_is_given_later_gets_a_finished_run_and_is_remembered(self, pool, copy, tmp_path):
        assert tuned(pool, copy, resume=True).version is None
        version = tuned(pool, copy, resume=True, store=tmp_path / "new").version
        assert (version.name, version.version, version.parent) == ("toy", "v1", "toy@v1")
        assert tuned(pool, copy, resume=True).version.reference == "toy@v1"
        said: list[str] = []
        other = tuned(pool, copy, resume=True, store=tmp_path / "other", said=said).version
        assert other.folder.is_relative_to(tmp_path / "other")
        assert any(str(tmp_path / "other") in each and "not" in each for each in said)

    def test_of_a_stopped_run_is_known_when_it_goes_on(self, pool, tmp_path, workplace):
        start, store = str(workplace / "model"), tmp_path / "new"
        with pytest.raises(Cancelled):
            tuned(pool, tmp_path / "run", start, store=store, settings=SHORT, **stop_at("train"))
        moved = store.rename(tmp_path / "moved")
        with pytest.raises(SkcdfError, match="model store of this run is not there"):
            tuned(pool, tmp_path / "run", resume=True)
        moved.rename(store)
        outcome = tuned(pool, tmp_path / "run", resume=True)
        assert outcome.version.reference == "run@v1"

    @pytest.mark.parametrize(("name", "folder"), [("TOY", "run"), ("", "aux"), ("store.json", "run")])
    def test_that_cannot_have_the_name_says_so_before_the_training(self, pool, store, tmp_path, name, folder):
        said: list[str] = []
        with pytest.raises(SkcdfError) as refusal:
            tuned(pool, tmp_path / folder, store=store.root, name=name, settings=SHORT, said=said)
        assert "--name" in refusal.value.hint and said == []

    def test_does_not_keep_a_finished_run_from_refusing_other_wishes(self, pool, copy):
        for wish, complaint in (
            ({"settings": {"iterations": 9}}, "other settings"),
            ({"settings": {"spacing": (9.0, 9.0, 9.0)}}, "other settings"),
            ({"method": "skcdf"}, "other settings"),
            ({"preset": "quick"}, "has preset standard"),
            ({"start": "phantom13"}, "starts from toy"),
            ({"name": "other"}, "is called toy"),
            ({"time_budget_s": 5.0}, "time budget"),
        ):
            with pytest.raises(SkcdfError, match=complaint):
                tuned(pool, copy, resume=True, **wish)
        tuned(pool, copy, "toy", resume=True, settings=SHORT, preset="standard")  # the same command


@pytest.mark.slow
def test_cancelled_anywhere_it_stops_and_resumes_to_the_same_bits(cases, tune, workplace, tmp_path):
    store = ModelStore.open(workplace / "store")
    members = [Member(cases[2], annotated=("spleen", "right_kidney")), Member(cases[3], "validation")]
    pool = make_pool(tmp_path / "pool", members)
    versions = len(store.versions("toy"))
    before = ("survey", "load labelled cases", "the parent's findings", "validate the start")
    for phase in (*before, "train", "validate", "compare"):
        with pytest.raises(Cancelled):
            tune(pool, resume=(tmp_path / "run" / "fine_tuning.json").exists(), **stop_at(phase))
        assert len(store.versions("toy")) == versions
    resumed, whole = tune(pool, resume=True), tune(pool, "whole")
    assert resumed.version == whole.version  # the same data and weights are the same version
    assert len(store.versions("toy")) == versions + 1
    one, two = (load_file(each.model.folder / "weights.safetensors") for each in (resumed, whole))
    assert all(torch.equal(x, two[name]) for name, x in one.items())
