"""Model bundles: what is saved loads again, and whatever else lies there is refused by name."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from skcdf import files, models
from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.models import (
    Accuracy,
    Expectations,
    InferenceOptions,
    ModelBundle,
    NetworkDescription,
    TrainingRecord,
    default_model,
    describe,
    find_model,
    list_models,
    save_bundle,
)

TRAINING = TrainingRecord(
    method="skcdf",
    iterations=1000,
    seed=7,
    labelled_cases=8,
    unlabelled_cases=140,
    data="OpenKBP, MIT",
    created="2026-01-31T12:00:00+00:00",
    skcdf_version="0.1.0",
    synthetic=False,
    plugin="scdl",
    image_hashes=("ab" * 32,),
)
BUNDLE = ModelBundle(
    name="head-neck",
    version="1.2",
    title="Seven organs at risk",
    description="For planning CT.",
    network=NetworkDescription("vnet", {"filters": 16, "classes": 8}),
    channels=("CT",),
    patch_size=(64, 128, 128),
    label_set=LabelSet.load("openkbp7"),
    preprocessing={"kind": "physical_spacing", "spacing": [3.0, 4.0, 4.0]},
    expects=Expectations(
        "CT",
        (-1024, 3071),
        ((1.5, 3.3), (2.7, 5.4), (2.7, 5.4)),
        ((122, 384), (350, 694), (350, 694)),
        "head and neck",
    ),
    training=TRAINING,
    licence="Apache-2.0",
    inference=InferenceOptions(air_threshold_hu=-900.0),
    metrics=(Accuracy("brainstem", "dice", 0.81, 0.05, 22, "development_test"),),
    known_failures=("Dental metal.",),
)


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "encoder.weight": torch.randn(8, 4, generator=generator),
        "teacher.weight": torch.randn(8, 4, generator=generator),
        "norm.num_batches_tracked": torch.tensor(3),
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_bundle(tmp_path / "head-neck", BUNDLE, weights())
    return tmp_path / "head-neck"


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((folder / "model.json").read_text("utf-8"))
    change(content)
    (folder / "model.json").write_text(json.dumps(content), "utf-8")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestRoundTrip:
    def test_a_saved_model_loads_with_every_field(self, saved: Path) -> None:
        loaded = ModelBundle.load(saved)
        assert dataclasses.replace(loaded, weights=None) == BUNDLE
        assert loaded.folder == saved
        assert ModelBundle.load(saved / "model.json") == loaded

    def test_saving_returns_what_loading_reads(self, tmp_path: Path) -> None:
        assert save_bundle(tmp_path / "m", BUNDLE, weights()) == ModelBundle.load(tmp_path / "m")

    def test_weights_come_back_bit_for_bit(self, saved: Path) -> None:
        loaded = ModelBundle.load(saved).load_weights()
        assert loaded.keys() == weights().keys()
        assert all(torch.equal(loaded[key], tensor) for key, tensor in weights().items())

    def test_half_precision_halves_the_file(self, tmp_path: Path) -> None:
        state = {"weight": torch.linspace(-1, 1, 4096), "count": torch.tensor(5)}
        full, half = (save_bundle(tmp_path / str(half), BUNDLE, state, half=half) for half in (False, True))
        sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("False", "True")]
        assert sizes[1] < 0.6 * sizes[0]
        assert [bundle.weights and bundle.weights.dtype for bundle in (full, half)] == ["float32", "float16"]
        assert torch.allclose(half.load_weights()["weight"], state["weight"], atol=1e-3)
        assert half.load_weights()["count"] == 5

    def test_inference_reads_only_the_tensors_it_needs(self, tmp_path: Path) -> None:
        bundle = save_bundle(tmp_path / "m", BUNDLE, weights(), inference_keys=["encoder.weight"])
        assert list(bundle.load_weights(inference_only=True)) == ["encoder.weight"]
        assert bundle.load_weights().keys() == weights().keys()

    def test_a_missing_optional_field_takes_its_default(self, saved: Path) -> None:
        edit(
            saved,
            lambda content: [content.pop(key) for key in ("inference", "known_failures", "intended_use")],
        )
        loaded = ModelBundle.load(saved)
        assert loaded.inference == InferenceOptions(0.5, "gaussian", None)
        assert loaded.intended_use == "Research use only; not for diagnosis."


BAD_FIELDS = [
    ("training.iterations", "ten", "training.iterations must be a whole number, is 'ten'"),
    ("training.iterations", True, "training.iterations must be a whole number, is True"),
    ("training.iterations", -1, "training.iterations must not be negative"),
    ("training.created", "yesterday", "training.created must be an ISO 8601 date"),
    ("training.compat", "fixed", "training.compat must be 'published' or 'corrected', is 'fixed'"),
    ("training.synthetic", 1, "training.synthetic must be true or false"),
    ("training.image_hashes", "ab", "training.image_hashes must be a list, is 'ab'"),
    ("inference.overlap", 1.0, "inference.overlap must be from 0 to below 1, is 1.0"),
    ("inference.blend", "linear", "inference.blend must be 'gaussian' or 'constant'"),
    ("inference.air_threshold_hu", "low", "inference.air_threshold_hu must be a finite number or null"),
    ("patch_size", [64, 100, 128], "patch_size must be multiples of 16"),
    ("patch_size", [64, 128], "patch_size must be a list of 3"),
    ("patch_size", [1600000, 16, 16], "patch_size is too large"),
    ("patch_size", [64, 128, 12.5], r"patch_size\[2\] must be a whole number, is 12.5"),
    ("channels", [], "channels must not be empty"),
    ("name", "../evil", "name must be letters"),
    ("preprocessing", {}, "preprocessing.kind must name"),
    ("preprocessing", [1], "preprocessing must be an object"),
    ("expects", None, "expects must be an object, is None"),
    ("expects.modality", "PET", "expects.modality must be 'CT' or 'MR'"),
    ("expects.intensity_range", [5, 5], "expects.intensity_range must rise"),
    ("expects.spacing_mm", [[1, 2], [0, 1], [1, 1]], "expects.spacing_mm must hold positive rising ranges"),
    ("metrics", [{"organ": "liver"}], r"metrics\[0\].metric is missing"),
    ("label_set", {"schema": 1}, "field label_set: not a label set"),
    ("weights", None, "weights is missing"),
    ("weights.file", "../../weights.safetensors", "weights.file must be a plain .safetensors file name"),
    ("weights.file", "c:\\weights.safetensors", "weights.file must be a plain"),
    ("weights.sha256", "abc", "weights.sha256 must be 64 hexadecimal digits"),
    ("weights.inference_keys", "some", "weights.inference_keys must be a list or 'all'"),
    ("wieghts", {}, "wieghts is not known"),
    ("licence", 5, "licence must be a text"),
]


class TestDescriptionsThatAreWrong:
    @pytest.mark.parametrize(("field", "value", "message"), BAD_FIELDS)
    def test_the_message_names_file_field_and_fault(
        self, saved: Path, field: str, value: object, message: str
    ) -> None:
        def change(content: dict[str, Any]) -> None:
            *parents, last = field.split(".")
            for parent in parents:
                content = content[parent]
            content[last] = value

        edit(saved, change)
        with pytest.raises(SkcdfError, match=message) as caught:
            ModelBundle.load(saved)
        assert "model.json" in caught.value.message
        assert caught.value.hint

    @pytest.mark.parametrize("field", ["title", "network", "weights", "expects", "training"])
    def test_a_missing_field_is_named(self, saved: Path, field: str) -> None:
        edit(saved, lambda content: content.pop(field))
        with pytest.raises(SkcdfError, match=f"field {field} is missing"):
            ModelBundle.load(saved)

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1" + "0" * 400])
    def test_numbers_that_are_not_finite_are_refused(self, saved: Path, number: str) -> None:
        text = (saved / "model.json").read_text("utf-8")
        (saved / "model.json").write_text(text.replace('"mean": 0.81', f'"mean": {number}'), "utf-8")
        with pytest.raises(SkcdfError, match=r"metrics\[0\].mean must be a finite number"):
            ModelBundle.load(saved)

    def test_a_newer_schema_asks_for_an_update(self, saved: Path) -> None:
        edit(saved, lambda content: content.update(schema=2))
        with pytest.raises(SkcdfError, match=r"schema 2 is not known.*Update SKCDFSegmenter"):
            ModelBundle.load(saved)

    @pytest.mark.parametrize("text", ["", "[]", "null", "{", "\x00"])
    def test_a_file_that_is_no_object_is_refused(self, saved: Path, text: str) -> None:
        (saved / "model.json").write_text(text, "utf-8")
        with pytest.raises(SkcdfError, match=r"model\.json"):
            ModelBundle.load(saved)

    def test_a_folder_without_a_model_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SkcdfError, match=r"lacks model\.json"):
            ModelBundle.load(tmp_path)

    def test_what_would_not_load_is_not_saved(self, tmp_path: Path) -> None:
        wrong = dataclasses.replace(BUNDLE, inference=InferenceOptions(blend="linear"))  # type: ignore[arg-type]
        with pytest.raises(SkcdfError, match=r"inference\.blend"):
            save_bundle(tmp_path / "m", wrong, weights())
        assert list(tmp_path.iterdir()) == []

    def test_field_errors_of_python_code_survive_pickling(self) -> None:
        with pytest.raises(SkcdfError, match="overlap") as caught:
            InferenceOptions(overlap=2.0)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


class TestWeightsThatDoNotBelong:
    def test_one_changed_bit_is_found(self, saved: Path) -> None:
        content = bytearray((saved / "weights.safetensors").read_bytes())
        content[-1] ^= 1
        (saved / "weights.safetensors").write_bytes(content)
        with pytest.raises(SkcdfError, match=r"weights\.safetensors: the checksum"):
            ModelBundle.load(saved).load_weights()

    def test_a_foreign_file_is_refused_when_the_model_is_opened(self, saved: Path) -> None:
        torch.save(weights(), saved / "weights.safetensors")
        with pytest.raises(SkcdfError, match=r"weights\.safetensors: this is a zip archive"):
            ModelBundle.load(saved)

    def test_missing_weights_are_named(self, saved: Path) -> None:
        (saved / "weights.safetensors").unlink()
        with pytest.raises(SkcdfError, match=r"weights\.safetensors: the weights are missing"):
            ModelBundle.load(saved)

    def test_a_listed_tensor_that_is_not_there_is_named(self, saved: Path) -> None:
        edit(saved, lambda content: content["weights"].update(inference_keys=["decoder.weight"]))
        with pytest.raises(SkcdfError, match=r"lacks the tensor decoder\.weight"):
            ModelBundle.load(saved).load_weights()

    def test_inference_keys_that_are_no_tensors_are_not_saved(self, tmp_path: Path) -> None:
        with pytest.raises(SkcdfError, match=r"inference_keys names 'decoder'"):
            save_bundle(tmp_path / "m", BUNDLE, weights(), inference_keys=["decoder"])

    def test_a_diverged_training_is_not_saved(self, tmp_path: Path) -> None:
        with pytest.raises(SkcdfError, match="weights bias are not finite"):
            save_bundle(tmp_path / "m", BUNDLE, {"bias": torch.tensor([float("nan")])})
        assert list(tmp_path.iterdir()) == []

    def test_a_model_that_was_never_saved_has_no_weights(self) -> None:
        with pytest.raises(SkcdfError, match="has no weights yet"):
            BUNDLE.load_weights()


class TestReplacing:
    newer = dataclasses.replace(BUNDLE, version="2.0")

    def test_replacing_leaves_the_new_model_and_nothing_else(self, saved: Path) -> None:
        save_bundle(saved, self.newer, weights())
        assert ModelBundle.load(saved).version == "2.0"
        assert [path.name for path in saved.parent.iterdir()] == ["head-neck"]

    def test_leftovers_of_a_killed_save_are_swept_once_they_are_old(self, saved: Path) -> None:
        old, young = (saved.parent / f".head-neck.{letter * 32}.new" for letter in "ab")
        for leftover in (old, young):
            leftover.mkdir()
            (leftover / "weights.safetensors").write_bytes(b"half")
        os.utime(old, (0, 0))
        save_bundle(saved, self.newer, weights())
        assert {path.name for path in saved.parent.iterdir()} == {"head-neck", young.name}

    def test_a_folder_that_is_no_model_is_never_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
        with pytest.raises(SkcdfError, match="is no model"):
            save_bundle(tmp_path / "thesis", BUNDLE, weights())
        assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"

    @pytest.mark.parametrize("failing_rename", [1, 2, 3])
    def test_a_failure_at_any_rename_keeps_the_old_model(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch, failing_rename: int
    ) -> None:
        before, renames, rename = snapshot(saved), 0, os.replace

        def fail(source: Path, target: Path) -> None:
            nonlocal renames
            renames += 1
            if renames == failing_rename:
                raise OSError(28, "No space left on device")
            rename(source, target)

        monkeypatch.setattr(files.os, "replace", fail)
        with pytest.raises(SkcdfError, match="No space left"):
            save_bundle(saved, self.newer, weights())
        assert snapshot(saved) == before
        assert [path.name for path in saved.parent.iterdir()] == ["head-neck"]

    @pytest.mark.parametrize("look", [ModelBundle.load, lambda path: list_models(path.parent)[0]])
    def test_a_program_killed_between_the_renames_leaves_a_model_that_is_found(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[Path], ModelBundle]
    ) -> None:
        monkeypatch.setattr(models.time, "sleep", lambda seconds: None)
        saved.rename(saved.parent / ".head-neck.previous")  # what os._exit there leaves behind
        assert look(saved).version == "1.2"
        assert [path.name for path in saved.parent.iterdir()] == ["head-neck"]

    def test_saving_after_such_a_kill_works(self, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(models.time, "sleep", lambda seconds: None)
        saved.rename(saved.parent / ".head-neck.previous")
        assert save_bundle(saved, self.newer, weights()).version == "2.0"
        assert [path.name for path in saved.parent.iterdir()] == ["head-neck"]


class TestFinding:
    def test_models_are_listed_by_name_and_damaged_ones_reported(
        self, saved: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = saved.parent
        save_bundle(folder / "another", dataclasses.replace(BUNDLE, name="another"), weights())
        save_bundle(folder / "broken", BUNDLE, weights())
        (folder / "broken" / "model.json").write_text("{}")
        (folder / "empty").mkdir()
        assert [model.name for model in list_models(folder)] == ["another", "head-neck"]
        assert "broken" in caplog.text
        assert list_models(folder / "nowhere") == []

    def test_a_model_is_found_by_path_and_by_name(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        assert find_model(saved).name == "head-neck"
        assert find_model("head-neck", [saved.parent]).name == "head-neck"
        monkeypatch.setattr(models, "resource", lambda name: saved.parent)
        assert find_model("head-neck").name == "head-neck"

    def test_an_unknown_name_lists_the_known_ones(self, saved: Path) -> None:
        with pytest.raises(SkcdfError, match=r"no model called liver.*head-neck"):
            find_model("liver", [saved.parent])

    def test_the_default_model_is_the_shipped_phantom_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_bundle(tmp_path / "Models" / "phantom13", BUNDLE, weights())
        monkeypatch.setattr(models, "resource", tmp_path.joinpath)
        assert default_model().folder == tmp_path / "Models" / "phantom13"


class TestWords:
    def test_a_model_trained_on_phantoms_says_so(self) -> None:
        synthetic = dataclasses.replace(BUNDLE, training=dataclasses.replace(TRAINING, synthetic=True))
        assert "synthetic phantoms only: results on real scans mean nothing" in synthetic.notice
        assert synthetic.notice in describe(synthetic)

    def test_any_other_model_states_its_intended_use_in_one_line(self) -> None:
        assert BUNDLE.notice == "Research use only; not for diagnosis."
        assert dataclasses.replace(BUNDLE, intended_use="Two\n lines.").notice == "Two lines."

    def test_the_description_tells_what_a_user_asks(self) -> None:
        text = describe(BUNDLE)
        for part in (
            "head-neck 1.2: Seven organs",
            "CT, head and neck",
            "1.5-3.3 x 2.7-5.4",
            "skcdf + scdl (corrected), 1000 iterations",
            "dice 0.81 ± 0.05 (n = 22)",
        ):
            assert part in text

    def test_a_model_without_figures_says_that_none_were_measured(self) -> None:
        assert "Accuracy: not measured" in describe(dataclasses.replace(BUNDLE, metrics=()))


def test_models_import_and_load_without_torch_and_safetensors(saved: Path) -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'safetensors', 'nibabel', 'tqdm'): sys.modules[name] = None\n"
        "from skcdf.errors import SkcdfError\n"
        "from skcdf.models import ModelBundle, describe\n"
        "from skcdf.check import check_input\n"
        f"model = ModelBundle.load({str(saved)!r})\n"
        "describe(model)\n"
        "try: model.load_weights()\n"
        "except SkcdfError as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "need the Python package" in run.stdout
