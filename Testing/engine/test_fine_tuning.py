"""Fine-tuning as a whole: a pool and a model in; a model, a comparison and a candidate out, and nothing leaks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy_fine_tuning
from toy_fine_tuning import LABELS, ORGANS, PLAN, SHORT, Member, make_pool, stop_at, tuned

from skcdf.comparison import Comparison
from skcdf.errors import Cancelled, SkcdfError
from skcdf.files import read_json
from skcdf.fine_tune_start import with_findings
from skcdf.labels import LabelSet
from skcdf.model_store import ModelStore
from skcdf.models import ModelBundle, UsualOrgan, save_bundle
from skcdf.pool import LabelledPool
from skcdf.preprocessing import PreprocessingPlan
from skcdf.trainer import load_volume
from skcdf.trainer.checkpoint import TrainingState, read_state

# the fixtures of this file
quick, cases, workplace, knowing, pool, done, tune = (
    toy_fine_tuning.quick,
    toy_fine_tuning.cases,
    toy_fine_tuning.workplace,
    toy_fine_tuning.knowing,
    toy_fine_tuning.pool,
    toy_fine_tuning.done,
    toy_fine_tuning.tune,
)


class TestFromNone:
    def test_plans_as_train_does(self, pool, tmp_path):
        settings = {**SHORT, "filters": 2, "patch_size": (32, 32, 32), "spacing": (2.0, 2.0, 2.0)}
        phases: list[str] = []
        told = {"progress": lambda report: phases.append(report.phase)}
        outcome = tuned(
            pool, tmp_path / "run", settings=settings, store=tmp_path / "store", name="new", **told
        )
        assert list(dict.fromkeys(phases))[:3] == ["survey", "plan", "load labelled cases"]
        assert (outcome.version.version, outcome.version.parent) == ("v1", None)
        assert outcome.comparison.before is None
        assert outcome.model.preprocessing["spacing"] == [2.0, 2.0, 2.0]
        assert outcome.model.preprocessing["body_threshold"] == -500.0
        assert [entry[0] for entry in state_of(tmp_path / "run").validations] == [2]


@pytest.mark.slow
class TestUsualVolumes:
    def test_of_three_whole_training_cases_are_in_the_model_and_of_fewer_not(self, cases, tune, tmp_path):
        members = [Member(case, annotated=("spleen", "right_kidney")) for case in cases[2:4]]
        pool = make_pool(tmp_path / "pool", [*members, Member(cases[4]), Member(cases[5], "validation")])
        model = tune(pool).model
        assert [(each.organ, each.n) for each in model.usual] == [("right_kidney", 3), ("spleen", 3)]
        assert {each.volume_ml for each in model.usual} == {(4.096, 4.096)}  # 8³ voxels of 8 mm³

    def test_are_joined_with_those_of_the_parent(self, pool, tmp_path, workplace):
        other = workplace / "other"
        parent = replace(
            ModelBundle.load(workplace / "model"), usual=(UsualOrgan("spleen", (2.0, 3.0), 1, 7),)
        )
        save_bundle(other, parent, parent.load_weights())
        model = tuned(pool, tmp_path / "run", str(other), settings=SHORT).model
        assert model.usual == (UsualOrgan("spleen", (2.0, 4.096), 1, 7),)


def state_of(run: Path) -> TrainingState:
    return read_state(run / "checkpoint.safetensors")


class TestOutcome:
    def test_is_a_candidate_that_says_where_it_comes_from(self, pool, done, workplace):
        store, run, (outcome, said, before) = ModelStore.open(workplace / "store"), workplace / "done", done
        model, version, parent = outcome.model, outcome.version, store.find("toy@v1")
        assert (version.name, version.state, version.parent) == ("toy", "candidate", "toy@v1")
        assert version.version not in before
        assert store.promoted("toy").version == "v1"
        assert store.find(version.reference).training == model.training
        assert version.config["learning_rate"] < 0.05 and version.config["iterations"] == 2
        assert "toy@v1" in model.training.data and model.training.labelled_cases == 1
        own = LabelledPool.open(pool).records()[0].image_hash
        assert model.training.image_hashes == (*parent.training.image_hashes, own)
        assert model.preprocessing == parent.preprocessing and model.patch_size == parent.patch_size
        for mine, theirs in zip(model.expects.spacing_mm, parent.expects.spacing_mm, strict=True):
            assert mine[0] <= theirs[0] and mine[1] >= theirs[1]
        stored = Comparison.from_json(read_json(run / "comparison.json", "comparison"))
        assert stored == outcome.comparison and stored.before == "toy v1"
        assert outcome.comparison.text() in said
        assert sorted(path.name for path in run.iterdir()) == [
            "best.safetensors",
            "checkpoint.safetensors",
            "comparison.json",
            "fine_tuning.json",
            "model",
            "report.html",
            "settings.json",
        ]

    def test_of_a_model_elsewhere_takes_the_runs_name_and_needs_no_store(self, pool, workplace, tmp_path):
        outcome = tuned(pool, tmp_path / "my run", str(workplace / "model"), settings=SHORT)
        assert outcome.version is None and outcome.model.name == "my_run"
        assert outcome.model.training.data.count("started from model toy") == 1

    def test_of_a_start_with_an_unknown_plugin_says_so_before_anything_is_read(
        self, pool, workplace, tmp_path
    ):
        shutil.copytree(workplace / "model", tmp_path / "other")
        description = read_json(tmp_path / "other/model.json", "model")
        description["network"]["arguments"]["companion"] = {"name": "newer", "filters": 2}
        (tmp_path / "other/model.json").write_text(json.dumps(description))
        phases: list[str] = []
        with pytest.raises(SkcdfError, match="needs the plug-in newer") as refusal:
            tuned(
                pool,
                tmp_path / "run",
                str(tmp_path / "other"),
                progress=lambda each: phases.append(each.phase),
            )
        assert "Update" in refusal.value.hint and phases == [] and not (tmp_path / "run/model").exists()

    def test_of_an_unknown_start_names_it(self, pool, tune):
        for start in ("toy@v99", "nothing", "nothing@v1"):
            with pytest.raises(SkcdfError, match=start.partition("@")[0]):
                tune(pool, start=start)


class TestMethod:
    @pytest.mark.slow
    def test_follows_the_pool(self, cases, tune, workplace, tmp_path):
        members = [Member(cases[2]), Member(cases[4], annotated=None)]
        outcome = tune(make_pool(tmp_path / "pool", members))
        training = outcome.model.training
        assert (training.method, training.unlabelled_cases) == ("skcdf", 1)
        assert any("parts for scans without labels start untrained" in note for note in outcome.notes)
        assert len(training.image_hashes) == 4

    @pytest.mark.parametrize(
        ("chosen", "patch", "taken"),
        [("", (32, 32, 32), "supervised"), ("", (32, 32, 64), "skcdf"), ("skcdf", (32, 32, 32), "skcdf")],
    )
    def test_from_none_follows_the_patch_too_unless_it_is_chosen(self, chosen, patch, taken, cases, tmp_path):
        pool = make_pool(tmp_path / "pool", [Member(cases[2]), Member(cases[4], annotated=None)])
        settings = {**SHORT, "iterations": 1, "filters": 2, "patch_size": patch, "spacing": (2.0, 2.0, 2.0)}
        outcome = tuned(pool, tmp_path / "run", method=chosen, settings=settings)
        assert outcome.model.training.method == taken
        told = any("patches of 32 x 32 x 32 voxels" in note for note in outcome.notes)
        assert told == (taken == "supervised")

    @pytest.mark.slow
    def test_skcdf_without_unlabelled_scans_takes_the_labelled_ones_and_says_so(self, pool, tune):
        outcome = tune(pool, method="skcdf")
        assert outcome.model.training.unlabelled_cases == 0
        assert any("no unlabelled scans" in note for note in outcome.notes)


class TestSmallPools:
    def test_of_one_labelled_case_keep_the_last_weights_and_cannot_tell(self, cases, tune, tmp_path):
        outcome = tune(make_pool(tmp_path / "pool", [Member(cases[2])]))
        assert outcome.model.training.iterations == 2
        assert outcome.comparison.recommendation == "cannot tell whether better"

    def test_without_a_labelled_case_say_what_to_do(self, cases, tune, tmp_path):
        with pytest.raises(SkcdfError, match="no labelled training case") as refusal:
            tune(make_pool(tmp_path / "pool", [Member(cases[2], annotated=None)]))
        assert "correct the result and add it" in refusal.value.hint


class TestOrgans:
    @pytest.mark.slow
    def test_that_nobody_annotates_survive_the_fine_tuning_of_another(self, cases, tune, knowing, tmp_path):
        members = [Member(cases[2], annotated=("spleen",)), Member(cases[3], "validation")]
        settings = {"iterations": 10, "validations": 0, "augmentation": "none"}
        pool = make_pool(tmp_path / "pool", members)
        outcome = tune(pool, start=str(knowing.folder), settings=settings)
        rows = {row.organ: row for row in outcome.comparison.organs}
        for organ in ("right_kidney", "left_kidney"):
            assert rows[organ].before > 0.5
            assert rows[organ].after > rows[organ].before - 0.1
        assert any("No training case annotates right_kidney, left_kidney" in each for each in outcome.notes)
        assert "stands in" in outcome.model.description

    def test_that_a_person_annotated_are_not_overruled(self, cases, knowing, device):
        case = replace(cases[2], annotated=frozenset({"spleen"}))
        volume = load_volume(case, LABELS, PLAN, 0)
        everywhere = replace(volume, labels=np.ones_like(volume.labels))
        filled, kept = with_findings([volume, everywhere], {2: 2, 3: 3}, knowing, device)
        assert np.array_equal(filled.labels == 1, volume.labels == 1)
        assert filled.annotated.all() and len(filled.locations[2]) and (filled.labels == 2).any()
        assert np.array_equal(kept.labels, everywhere.labels)

    @pytest.mark.slow
    def test_that_a_pool_has_just_got_are_left_out_loudly_until_someone_annotates_them(
        self, cases, tune, tmp_path
    ):
        root = make_pool(tmp_path / "pool", [Member(cases[2]), Member(cases[3], "validation")])
        more = [*ORGANS, "left_adrenal_gland", "tumour"]
        LabelledPool.open(root).extend_labels(LabelSet.from_names("toy", more))
        outcome = tune(root)
        assert outcome.model.label_set.names == ORGANS
        assert "NOT LEARNT: left_adrenal_gland, tumour" in outcome.notes[0]
        assert "NOT LEARNT" in outcome.model.description
        settings = {**SHORT, "filters": 2, "patch_size": (32, 32, 32), "spacing": (2.0, 2.0, 2.0)}
        fresh = tune(root, "fresh", start="", store=None, settings=settings)
        assert fresh.model.label_set.names == ORGANS and "NOT LEARNT" in fresh.notes[0]

    def test_that_nobody_knows_before_one_that_is_annotated_are_refused_by_name(self, cases, tune, tmp_path):
        labels = LabelSet.from_names("more", [*ORGANS[:2], "tumour", ORGANS[2]])
        members = [Member(cases[2], annotated=ORGANS[:1])]
        members.append(Member(cases[3], "validation", annotated=ORGANS[:1]))
        with pytest.raises(SkcdfError, match="where tumour is") as refusal:
            tune(make_pool(tmp_path / "pool", members, labels))
        assert "Annotate tumour in one training case" in refusal.value.hint


class TestLeaks:
    def test_are_left_out_by_scan_and_by_subject_with_a_loud_note(self, cases, tune, tmp_path):
        members = [
            Member(cases[2]),
            Member(cases[0], "validation", subject="known"),  # the parent was trained on it
            Member(cases[5], "validation", subject="known"),  # another scan of that person
            Member(cases[3], "validation"),
        ]
        outcome = tune(make_pool(tmp_path / "pool", members))
        assert "NOT VALIDATED WITH: case0, case5" in outcome.notes[0]
        assert [each.case for each in outcome.comparison.cases] == ["case3"]
        assert {each.n for each in outcome.model.metrics} == {1}

    @pytest.mark.slow
    def test_stay_out_in_the_next_generation(self, cases, tune, workplace, tmp_path):
        first = tune(make_pool(tmp_path / "one", [Member(cases[6])]), "run1")
        members = [Member(cases[2]), Member(cases[6], "validation"), Member(cases[1], "validation")]
        outcome = tune(make_pool(tmp_path / "two", members), "run2", start=first.version.reference)
        assert "case1, case6" in outcome.notes[0]
        assert outcome.comparison.cases == () and outcome.model.training.iterations == 2

    @pytest.mark.slow
    def test_are_found_in_other_data_sets_when_they_are_read(self, cases, tune, workplace, tmp_path):
        folder = tmp_path / "task"
        for index, name in ((2, "a"), (0, "b"), (3, "c")):
            for kind, source in (("images", cases[index].image), ("labels", cases[index].label)):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / kind / f"{name}.nii.gz")
        pair = {name: {"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"} for name in "abc"}
        content = {
            "name": "task",
            "modality": {"0": "CT"},
            "labels": {"0": "background", **{str(i): organ for i, organ in enumerate(ORGANS, 1)}},
            "training": [pair["a"]],
            "test": [],
            "validation": [pair["b"], pair["c"]],
        }
        (folder / "dataset.json").write_text(json.dumps(content))
        outcome = tune(folder)
        assert "NOT VALIDATED WITH: b" in outcome.notes[0]
        assert [each.case for each in outcome.comparison.cases] == ["c"]


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({"filters": 8}, "tied to its filters"),
            ({"spacing": (1.0, 1.0, 1.0)}, "tied to its preprocessing"),
            ({"preprocessing": PreprocessingPlan.published()}, "tied to its preprocessing"),
            ({"learning_speed": 1}, "no setting called learning_speed"),
        ],
    )
    def test_that_cannot_be_are_refused(self, settings, complaint, pool, tune):
        with pytest.raises(SkcdfError, match=complaint):
            tune(pool, settings=settings)

    def test_of_an_unknown_preset_are_refused(self, pool, tune):
        with pytest.raises(SkcdfError, match="no preset called thorough"):
            tune(pool, preset="thorough")

    @pytest.mark.slow
    def test_of_the_published_preset_keep_to_the_parents_network(self, pool, tune, workplace):
        outcome = tune(pool, preset="published")
        config = outcome.version.config
        assert (config["method"], config["compat"], config["filters"]) == ("skcdf", "published", 2)
        assert config["patch_size"] == [32, 32, 32] and config["sampling"] == "published"

    def test_give_fresh_parts_a_warm_up_and_others_none(self, pool, tune, tmp_path):
        settings = {name: value for name, value in SHORT.items() if name != "iterations"}
        found = []
        for method in ("skcdf", "supervised"):
            with pytest.raises(Cancelled):
                tune(
                    pool,
                    method,
                    method=method,
                    preset="quick",
                    settings=settings,
                    **stop_at("validate the start"),
                )
            found.append(read_json(tmp_path / method / "settings.json", "settings"))
        assert [each["warm_up"] for each in found] == [found[0]["iterations"] // 10, 0]
