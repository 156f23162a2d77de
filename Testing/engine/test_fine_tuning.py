"""Fine-tuning as a whole: a pool and a model in; a model, a comparison and a candidate out, and nothing leaks."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from skcdf import training_report
from skcdf.cases import Case
from skcdf.comparison import Comparison
from skcdf.errors import Cancelled, SkcdfError
from skcdf.files import read_json
from skcdf.fine_tune_run import RunRecord
from skcdf.fine_tune_settings import within_time
from skcdf.fine_tune_start import with_findings
from skcdf.fine_tuning import FineTuneOutcome, FineTuneRequest, fine_tune
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map, write_image, write_label_map
from skcdf.image_hash import voxel_hash
from skcdf.labels import LabelSet
from skcdf.model_store import ModelStore
from skcdf.models import Expectations, ModelBundle, NetworkDescription, TrainingRecord, save_bundle
from skcdf.networks.vnet import VNet
from skcdf.pool import LabelledPool
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken
from skcdf.run_folder import alone_in
from skcdf.trainer import TrainingConfig, load_volume
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import TrainingState, read_state
from skcdf.trainer.rehearsal import Rehearsal

ORGANS = ("spleen", "right_kidney", "left_kidney")
LABELS = LabelSet.from_names("toy", ORGANS)
HU = (-100, 100, 250, 320)
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
SIDE = 32
SHORT = {"iterations": 2, "validations": 1, "batch_size": 1, "unlabelled_batch_size": 1}


@pytest.fixture(autouse=True)
def quick(device, monkeypatch):
    """One thread, and nothing that takes long and proves nothing."""
    monkeypatch.setattr(training_report, "PICTURES", 0)
    monkeypatch.setattr(trainer_module, "STATISTICS_BATCHES", 1)


@dataclass(frozen=True)
class Member:
    """A case of a pool that is made for a test."""

    case: Case
    split: str = "training"
    annotated: tuple[str, ...] | None = ()
    subject: str = ""


def make_pool(root: Path, members: list[Member], labels: LabelSet | None = None) -> Path:
    """A pool of toy cases; ``annotated=()`` means all organs, ``None`` an unlabelled case."""
    pool = LabelledPool.create(root, labels or LABELS, "CT")
    for member in members:
        case, names = member.case, member.annotated
        image, label = read_image(case.image), read_label_map(case.label)
        if names:
            values = [pool.label_set.value_of(name) for name in names]
            label = replace(
                label, array=np.where(np.isin(label.array, values), label.array, 0).astype(np.uint8)
            )
        pool.add_case(
            case.name,
            image,
            None if names is None else label,
            subject=member.subject or case.subject,
            split=member.split,
            annotated=names or None,
        )
    return root


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[Case]:
    """Scans of one window's size, in which every organ has its own intensity."""
    folder = tmp_path_factory.mktemp("cases")
    return [written_case(folder, seed) for seed in range(8)]


def written_case(folder: Path, seed: int) -> Case:
    rng, geometry = np.random.default_rng(seed), Geometry((SIDE, SIDE, SIDE), (2.0, 2.0, 2.0))
    labels = np.zeros((SIDE, SIDE, SIDE), np.uint8)
    for value, x in ((1, 12), (2, 1), (3, 22)):
        z, y = rng.integers(2, SIDE - 10, 2)
        labels[z : z + 8, y : y + 8, x : x + 8] = value
    scan = np.choose(labels, HU) + rng.normal(0, 10, labels.shape)
    image, label = folder / f"scan{seed}.nii.gz", folder / f"label{seed}.nii.gz"
    write_image(image, Image(scan.astype(np.int16), geometry))
    write_label_map(label, labels, geometry)
    return Case(f"case{seed}", image, label, frozenset(ORGANS), f"subject{seed}")


def knowing_network() -> VNet:
    """Finds the organs by their intensity alone: made, not trained.

    One channel of the first stage carries the intensity to the head, whose rows are those of the nearest centre.
    """
    torch.manual_seed(0)
    network = VNet(1, 4, 2, dropout=0.0)
    first, last = network.encoder.stages[0], network.decoder.convolutions[-1]
    with torch.no_grad():
        for convolution, norm in ((first[0], first[1]), (last[0], last[1])):
            convolution.weight[0] = 0
            convolution.weight[0, 0, 1, 1, 1] = 1
            convolution.bias[0] = 3 if convolution is first[0] else 0
            for tensor, value in ((norm.running_mean, 2.3), (norm.running_var, 0.64)):
                tensor[0] = value
            norm.weight[0], norm.bias[0] = 0.8, 2.3  # the same in training as in use
        network.decoder.ups[-1][1].weight.zero_()
        network.decoder.ups[-1][1].bias.zero_()
        head = network.decoder.heads["main"]
        centres = torch.tensor([value / 100 + 3 for value in HU])
        head.weight.zero_()
        head.weight[:, 0, 0, 0, 0] = 8 * centres
        head.bias.copy_(-4 * centres**2)
    return network.eval()


def tuned(pool: Path, run: Path, start: str = "", **more) -> FineTuneOutcome:
    said: list[str] = more.pop("said", [])
    callbacks = {name: more.pop(name) for name in ("progress", "cancel") if name in more}
    request = FineTuneRequest(pool, run, start, device="cpu", precision="fp32", **more)
    return fine_tune(request, say=said.append, **callbacks)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, cases) -> Path:
    """A model store with a promoted model that knows the toy organs, trained on the first two cases as it says."""
    folder = tmp_path_factory.mktemp("work")
    whole = (1.0, 1000.0)
    hashes = tuple(voxel_hash(read_image(case.image)) for case in cases[:2])
    bundle = ModelBundle(
        name="toy",
        version="1",
        title="Toy",
        description="",
        network=NetworkDescription("vnet", {"channels": 1, "classes": 4, "filters": 2, "dropout": 0.0}),
        channels=("CT",),
        patch_size=(SIDE, SIDE, SIDE),
        label_set=LABELS,
        preprocessing=PLAN.to_json(),
        expects=Expectations("CT", (-150.0, 150.0), (whole, whole, whole), (whole, whole, whole), "none"),
        training=TrainingRecord(
            "supervised", 9, 0, 2, 0, "toys", "2026-01-01", "0.1.0", True, image_hashes=hashes
        ),
        licence="Apache-2.0",
    )
    model = save_bundle(folder / "model", bundle, knowing_network().state_dict())
    store = ModelStore.open(folder / "store", create=True)
    store.add("toy", model.folder, parent=None, data_hash="", config={})
    store.promote("toy", "v1")
    return folder


@pytest.fixture(scope="module")
def pool(workplace, cases) -> Path:
    """Another pool: one labelled case, one for validation."""
    return make_pool(workplace / "pool", [Member(cases[2]), Member(cases[3], "validation")])


@pytest.fixture(scope="module")
def done(workplace, pool) -> tuple[FineTuneOutcome, list[str], list[str]]:
    """A fine-tuning that has ended, what it said, and the versions there were before."""
    said: list[str] = []
    before = [each.version for each in ModelStore.open(workplace / "store").versions("toy")]
    options = {"store": workplace / "store", "settings": SHORT, "said": said}
    return tuned(pool, workplace / "done", "toy", **options), said, before


@pytest.fixture
def tune(workplace, tmp_path):
    """Fine-tunes the promoted model for two steps, unless told otherwise."""

    def run(pool: Path, folder: str = "run", **options) -> FineTuneOutcome:
        options = {"start": "toy", "store": workplace / "store", "settings": SHORT, **options}
        return tuned(pool, tmp_path / folder, **options)

    return run


class TestFromNone:
    def test_plans_as_train_does(self, pool, tmp_path):
        settings = {**SHORT, "filters": 2, "patch_size": (32, 32, 32), "spacing": (2.0, 2.0, 2.0)}
        outcome = tuned(pool, tmp_path / "run", settings=settings, store=tmp_path / "store", name="new")
        assert (outcome.version.version, outcome.version.parent) == ("v1", None)
        assert outcome.comparison.before is None
        assert outcome.model.preprocessing["spacing"] == [2.0, 2.0, 2.0]
        assert outcome.model.preprocessing["body_threshold"] == -500.0
        assert [entry[0] for entry in state_of(tmp_path / "run").validations] == [2]


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

    def test_is_never_worse_on_validation_than_the_parent(self, pool, tune):
        outcome = tune(pool, settings={**SHORT, "learning_rate": 3.0})
        assert outcome.model.training.iterations == 0  # the parent itself
        assert outcome.comparison.mean.after == pytest.approx(outcome.comparison.mean.before)

    def test_of_a_model_elsewhere_takes_the_runs_name_and_needs_no_store(self, pool, workplace, tmp_path):
        outcome = tuned(pool, tmp_path / "my run", str(workplace / "model"), settings=SHORT)
        assert outcome.version is None and outcome.model.name == "my_run"
        assert outcome.model.training.data.count("started from model toy") == 1

    def test_of_an_unknown_start_names_it(self, pool, tune):
        for start in ("toy@v99", "nothing", "nothing@v1"):
            with pytest.raises(SkcdfError, match=start.partition("@")[0]):
                tune(pool, start=start)


class TestMethod:
    def test_follows_the_pool(self, cases, tune, workplace, tmp_path):
        members = [Member(cases[2]), Member(cases[4], annotated=None)]
        outcome = tune(make_pool(tmp_path / "pool", members))
        training = outcome.model.training
        assert (training.method, training.unlabelled_cases) == ("skcdf", 1)
        assert any("SKC blocks start fresh" in note for note in outcome.notes)
        assert len(training.image_hashes) == 4

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
    def test_that_nobody_annotates_survive_the_fine_tuning_of_another(self, cases, tune, tmp_path):
        members = [Member(cases[2], annotated=("spleen",)), Member(cases[3], "validation")]
        settings = {"iterations": 10, "validations": 0, "augmentation": "none"}
        outcome = tune(make_pool(tmp_path / "pool", members), settings=settings)
        rows = {row.organ: row for row in outcome.comparison.organs}
        for organ in ("right_kidney", "left_kidney"):
            assert rows[organ].before > 0.5
            assert rows[organ].after > rows[organ].before - 0.1
        assert any("No training case annotates right_kidney, left_kidney" in each for each in outcome.notes)
        assert "stands in" in outcome.model.description

    def test_that_a_person_annotated_are_not_overruled(self, cases, workplace, device):
        parent = ModelStore.open(workplace / "store").find("toy")
        case = replace(cases[2], annotated=frozenset({"spleen"}))
        volume = load_volume(case, LABELS, PLAN, 0)
        everywhere = replace(volume, labels=np.ones_like(volume.labels))
        filled, kept = with_findings([volume, everywhere], {2: 2, 3: 3}, parent, device)
        assert np.array_equal(filled.labels == 1, volume.labels == 1)
        assert filled.annotated.all() and len(filled.locations[2]) and (filled.labels == 2).any()
        assert np.array_equal(kept.labels, everywhere.labels)

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

    def test_stay_out_in_the_next_generation(self, cases, tune, workplace, tmp_path):
        first = tune(make_pool(tmp_path / "one", [Member(cases[6])]), "run1")
        members = [Member(cases[2]), Member(cases[6], "validation"), Member(cases[1], "validation")]
        outcome = tune(make_pool(tmp_path / "two", members), "run2", start=first.version.reference)
        assert "case1, case6" in outcome.notes[0]
        assert outcome.comparison.cases == () and outcome.model.training.iterations == 2

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
                tune(pool, method, method=method, preset="quick", settings=settings, **stop_at("validate"))
            found.append(read_json(tmp_path / method / "settings.json", "settings"))
        assert [each["warm_up"] for each in found] == [found[0]["iterations"] // 10, 0]


def stop_at(phase: str, done: int = 1) -> dict[str, object]:
    token = CancelToken()
    return {
        "cancel": token,
        "progress": lambda report: token.cancel() if (report.phase, report.done) == (phase, done) else None,
    }


class TestRunFolder:
    def test_of_a_run_is_refused_without_resume(self, pool, done, workplace):
        with pytest.raises(SkcdfError, match="holds a run already") as refusal:
            tuned(pool, workplace / "done", "toy", store=workplace / "store")
        assert "--resume" in refusal.value.hint

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

    def test_resumed_goes_on_with_the_version_it_began_with(self, pool, tune, done, workplace):
        store, newer = ModelStore.open(workplace / "store"), done[0].version
        with pytest.raises(Cancelled):
            tune(pool, **stop_at("train"))
        store.promote("toy", newer.version)
        try:
            assert tune(pool, resume=True).version.parent == "toy@v1"
        finally:
            store.roll_back("toy")


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


def test_cancelled_anywhere_it_stops_and_resumes_to_the_same_bits(cases, tune, workplace, tmp_path):
    store = ModelStore.open(workplace / "store")
    members = [Member(cases[2], annotated=("spleen",)), Member(cases[3], "validation")]
    pool = make_pool(tmp_path / "pool", members)
    versions = len(store.versions("toy"))
    for phase in ("survey", "load labelled cases", "the parent's findings", "validate", "train", "compare"):
        with pytest.raises(Cancelled):
            tune(pool, resume=(tmp_path / "run" / "fine_tuning.json").exists(), **stop_at(phase))
        assert len(store.versions("toy")) == versions
    resumed, whole = tune(pool, resume=True), tune(pool, "whole")
    assert resumed.version == whole.version  # the same data and weights are the same version
    assert len(store.versions("toy")) == versions + 1
    one, two = (load_file(each.model.folder / "weights.safetensors") for each in (resumed, whole))
    assert all(torch.equal(x, two[name]) for name, x in one.items())


class TestTimeBudget:
    CONFIG = TrainingConfig(
        PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1)), iterations=600, validations=6, warm_up=60
    )

    @given(
        step=st.floats(0.001, 20),
        validation=st.floats(0, 300),
        budget=st.floats(1, 20_000),
        spent=st.floats(0, 500),
    )
    def test_holds_for_training_validations_and_comparison(self, step, validation, budget, spent):
        if budget < spent + 2 + 8 * validation + 2 * step:
            return  # maybe too short
        plan = within_time(self.CONFIG, Rehearsal(step, validation), budget, spent)
        config = plan.config
        passes = (config.validations + 1) * (validation > 0)
        planned = config.iterations * step + passes * validation
        assert planned <= plan.stop_after_s + 1e-6
        assert spent + plan.stop_after_s + 3 * validation <= budget + 1e-6
        assert 1 <= config.iterations <= 600 and 1 <= config.validations <= 6
        assert abs(config.warm_up - 0.1 * config.iterations) <= 0.5
        if planned < 0.5 * plan.stop_after_s and step < 0.1 * plan.stop_after_s:
            assert config.iterations == 600

    def test_too_short_for_a_step_says_how_much_is_needed(self, pool, tune):
        with pytest.raises(SkcdfError, match="time budget of 1 s is too short") as refusal:
            tune(pool, time_budget_s=1.0)
        assert "Give at least" in refusal.value.hint

    def test_ends_a_training_on_a_machine_that_got_slower_with_the_best_so_far(self, pool, tune, monkeypatch):
        plain, lost = trainer_module.time.monotonic, [0.0]
        monkeypatch.setattr(trainer_module.time, "monotonic", lambda: plain() + lost[0])
        step = trainer_module.Trainer.step

        def slowed(self, iteration, batches):
            if iteration:  # a rehearsal knows step 0 alone
                lost[0] += 200.0
            return step(self, iteration, batches)

        monkeypatch.setattr(trainer_module.Trainer, "step", slowed)
        outcome = tune(pool, settings={"validations": 2, "batch_size": 1}, time_budget_s=600.0)
        assert 300 < outcome.seconds < 900
        assert outcome.model.metrics
