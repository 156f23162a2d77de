"""The labelled pool: what goes in comes out, what does not belong stays out, and what is broken is told."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf.cases import Dataset
from skcdf.datasets import open_dataset
from skcdf.errors import SkcdfError
from skcdf.files import read_json
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map, write_image
from skcdf.image_hash import voxel_hash
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool

LABELS = LabelSet.load("openkbp7")
GEOMETRY = Geometry((6, 5, 4), (0.9765625, 0.9765625, 2.5), (-10.0, 20.0, 30.0))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def _scan(seed: int, geometry: Geometry = GEOMETRY) -> Image:
    voxels = np.random.default_rng(seed).integers(-1000, 1000, geometry.shape)
    return Image(voxels.astype(np.int16), geometry)


def _label_map(*values: int, geometry: Geometry = GEOMETRY) -> Image:
    voxels = np.zeros(geometry.shape, np.uint8)
    voxels.ravel()[1 : 1 + len(values)] = values
    return Image(voxels, geometry)


def _put(content: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def _touch(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def _names(cases) -> list[str]:
    return [case.name for case in cases]


@pytest.fixture
def pool(tmp_path) -> LabelledPool:
    return LabelledPool.create(tmp_path / "pool", LABELS, "CT")


class TestPool:
    def test_gives_back_what_was_added(self, pool):
        scan, labels = _scan(1), _label_map(1, 2, 7)
        pool.add_case("one", scan, labels, subject="Ada")
        pool.add_case("two", _scan(2), None, subject="Grace")
        dataset = open_dataset(pool.root)
        assert (dataset.modality, dataset.label_set) == ("CT", LABELS)
        labelled, unlabelled = dataset.cases
        assert (labelled.name, labelled.state, labelled.annotated) == (
            "one",
            "labelled",
            frozenset(LABELS.names),
        )
        assert (unlabelled.name, unlabelled.state, unlabelled.annotated) == ("two", "unlabelled", frozenset())
        read = read_image(labelled.image)
        np.testing.assert_array_equal(read.array, scan.array)
        assert read.geometry.same_grid(GEOMETRY)
        np.testing.assert_array_equal(read_label_map(labelled.label).array, labels.array)

    def test_answers_with_the_case_that_the_reader_finds(self, pool):
        case = pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        assert open_dataset(pool.root).cases == (case,)

    def test_keeps_training_validation_and_unlabelled_cases_apart(self, pool):
        pool.add_case("a", _scan(1), _label_map(1), subject="Ada")
        pool.add_case("b", _scan(2), _label_map(2), subject="Barbara", split="validation")
        pool.add_case("c", _scan(3), None, subject="Grace")
        dataset = open_dataset(pool.root)
        assert _names(dataset.labelled) == ["a"]
        assert _names(dataset.validation) == ["b"]
        assert _names(dataset.unlabelled) == ["c"]
        assert _names(dataset.training) == ["a", "c"]
        assert {case.image.parent.name for case in dataset.validation} == {"imagesTs"}

    def test_remembers_which_labels_were_annotated(self, pool):
        pool.add_case("part", _scan(1), _label_map(6), subject="Ada", annotated=["larynx", "mandible"])
        (case,) = open_dataset(pool.root).cases
        assert case.annotated == {"larynx", "mandible"}

    def test_stores_a_salted_hash_instead_of_the_subject(self, pool, tmp_path):
        case = pool.add_case("one", _scan(1), None, subject="Ada Lovelace")
        other = LabelledPool.create(tmp_path / "other", LABELS, "CT").add_case(
            "one", _scan(1), None, subject="Ada Lovelace"
        )
        assert case.subject != other.subject
        texts = [path.read_text("utf-8") for path in pool.root.rglob("*.json")]
        assert not any("Lovelace" in text for text in texts)

    def test_names_files_by_their_content(self, pool):
        case = pool.add_case("one", _scan(1), _label_map(3), subject="Ada")
        assert voxel_hash(read_image(case.image))[:16] in case.image.name
        assert voxel_hash(read_label_map(case.label))[:16] in case.label.name

    def test_leaves_no_temporary_files(self, pool):
        pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        assert not [path for path in pool.root.rglob("*") if path.name.startswith(".")]

    def test_does_not_show_withdrawn_cases(self, pool):
        pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        record = read_json(pool.root / "cases/one.json", "case")
        _put(record | {"state": "withdrawn"}, pool.root / "cases/one.json")
        assert open_dataset(pool.root).cases == ()
        assert [record.state for record in pool.records()] == ["withdrawn"]

    def test_uses_the_last_revision(self, pool):
        pool.add_case("one", _scan(1), _label_map(1), subject="Ada", annotated=["brainstem"])
        pool.revise("one", _label_map(6), annotated=["larynx"])
        (case,) = open_dataset(pool.root).cases
        np.testing.assert_array_equal(read_label_map(case.label).array, _label_map(6).array)
        assert case.annotated == {"larynx"}

    def test_is_not_made_in_a_folder_that_holds_something(self, tmp_path):
        (tmp_path / "thesis.txt").touch()
        with pytest.raises(SkcdfError, match="empty folder"):
            LabelledPool.create(tmp_path, LABELS, "CT")

    def test_is_made_in_a_folder_that_somebody_has_looked_into(self, tmp_path):
        (tmp_path / ".DS_Store").write_bytes(b"\0")
        pool = LabelledPool.create(tmp_path, LABELS, "CT")
        for folder in ("imagesTr", "labelsTr"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / "Thumbs.db").write_bytes(b"\0")
            (tmp_path / folder / "._x.nii.gz").write_bytes(b"\0")
        assert pool.verify().problems == ()

    def test_of_an_unknown_modality_is_refused(self, tmp_path):
        with pytest.raises(SkcdfError, match="US"):
            LabelledPool.create(tmp_path / "pool", LABELS, "US")

    def test_that_is_empty_opens(self, pool):
        assert open_dataset(pool.root).cases == ()

    def test_opens_without_torch_and_the_other_heavy_packages(self, tmp_path):
        LabelledPool.create(tmp_path / "pool", LABELS, "MR")
        blocked = "torch", "nibabel", "safetensors", "tqdm", "slicer", "vtk", "qt", "ctk"
        program = (
            f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
            "from skcdf.datasets import open_dataset\n"
            f"assert open_dataset({str(tmp_path / 'pool')!r}).modality == 'MR'"
        )
        subprocess.run([sys.executable, "-c", program], check=True)


class TestAddCaseRefuses:
    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "CON", "nul.1", "x.", "ä", "a" * 101])
    def test_a_name_that_no_file_should_have(self, pool, name):
        with pytest.raises(SkcdfError, match="case's name"):
            pool.add_case(name, _scan(1), None, subject="Ada")

    def test_a_name_that_differs_in_capitals_only(self, pool):
        pool.add_case("one", _scan(1), None, subject="Ada")
        with pytest.raises(SkcdfError, match="has a case called one"):
            pool.add_case("ONE", _scan(2), None, subject="Grace")

    def test_the_same_image_again(self, pool):
        pool.add_case("one", _scan(1), None, subject="Ada")
        with pytest.raises(SkcdfError, match="in the pool already, as one"):
            pool.add_case("two", _scan(1), _label_map(1), subject="Grace", split="validation")

    def test_a_trained_subject_for_validation(self, pool):
        pool.add_case("one", _scan(1), None, subject="Ada")
        with pytest.raises(SkcdfError, match="same subject as one"):
            pool.add_case("two", _scan(2), _label_map(1), subject="Ada", split="validation")

    def test_a_label_map_on_another_grid(self, pool):
        shifted = Geometry(GEOMETRY.size, GEOMETRY.spacing, (0.0, 0.0, 0.0))
        with pytest.raises(SkcdfError, match="not on the image's grid"):
            pool.add_case("one", _scan(1), _label_map(1, geometry=shifted), subject="Ada")

    def test_values_outside_the_label_set(self, pool):
        with pytest.raises(SkcdfError, match=r"one: the label map holds \[9\]"):
            pool.add_case("one", _scan(1), _label_map(1, 9), subject="Ada")

    def test_values_between_labels(self, pool):
        halves = Image(np.full(GEOMETRY.shape, 1.5, np.float32), GEOMETRY)
        with pytest.raises(SkcdfError, match=r"1\.5"):
            pool.add_case("one", _scan(1), halves, subject="Ada")

    def test_voxels_of_a_label_that_was_not_annotated(self, pool):
        with pytest.raises(SkcdfError, match="brainstem is in the label map"):
            pool.add_case("one", _scan(1), _label_map(1, 6), subject="Ada", annotated=["larynx"])

    def test_an_annotated_label_that_the_set_lacks(self, pool):
        with pytest.raises(SkcdfError, match="liver"):
            pool.add_case("one", _scan(1), _label_map(), subject="Ada", annotated=["liver"])

    def test_an_image_with_nan(self, pool):
        with pytest.raises(SkcdfError, match="NaN"):
            pool.add_case("one", Image(np.full(GEOMETRY.shape, np.nan), GEOMETRY), None, subject="Ada")

    @pytest.mark.parametrize("extra", [{"split": "validation"}, {"annotated": ["larynx"]}])
    def test_an_unlabelled_case_that_claims_labels(self, pool, extra):
        with pytest.raises(SkcdfError, match="without label map"):
            pool.add_case("one", _scan(1), None, subject="Ada", **extra)

    @pytest.mark.parametrize("extra", [{"subject": ""}, {"subject": "Ada", "split": "test"}])
    def test_no_subject_and_unknown_splits(self, pool, extra):
        with pytest.raises(SkcdfError, match="Case one"):
            pool.add_case("one", _scan(1), _label_map(1), **extra)

    def test_leaving_the_pool_as_it_was(self, pool):
        pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        before = {path: path.read_bytes() for path in pool.root.rglob("*") if path.is_file()}
        with pytest.raises(SkcdfError):
            pool.add_case("two", _scan(2), _label_map(9), subject="Ada")
        assert {path: path.read_bytes() for path in pool.root.rglob("*") if path.is_file()} == before

    def test_nothing_of_a_case_that_failed_before_its_file_was_there(self, pool, monkeypatch):
        def fail(path, content):
            raise SkcdfError(f"{path}: cannot be written (No space left on device).")

        with monkeypatch.context() as patch:
            patch.setattr("skcdf.pool_folder.write_json", fail)
            with pytest.raises(SkcdfError, match="No space"):
                pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        assert open_dataset(pool.root).cases == ()
        pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        assert _names(open_dataset(pool.root).cases) == ["one"]


class TestDatasetJson:
    """What nnU-Net v2's own integrity check asks of ``dataset.json``."""

    def test_maps_the_fully_annotated_training_cases_only(self, pool):
        pool.add_case("full", _scan(1), _label_map(1), subject="Ada")
        pool.add_case("part", _scan(2), _label_map(1), subject="Grace", annotated=["brainstem"])
        pool.add_case("validates", _scan(3), _label_map(1), subject="Barbara", split="validation")
        pool.add_case("bare", _scan(4), None, subject="Mary")
        description = read_json(pool.root / "dataset.json", "description")
        assert list(description["dataset"]) == ["full"]
        assert description["numTraining"] == 1
        assert description["channel_names"] == {"0": "CT"}
        assert list(description["labels"].items())[:2] == [("background", 0), ("brainstem", 1)]
        assert sorted(description["labels"].values()) == list(range(8))
        (entry,) = description["dataset"].values()
        for file in (*entry["images"], entry["label"]):
            assert not Path(file).is_absolute()
            assert (pool.root / file).is_file()
            assert file.endswith(description["file_ending"])

    def test_can_be_written_anew(self, pool):
        pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        before = (pool.root / "dataset.json").read_bytes()
        (pool.root / "dataset.json").unlink()
        LabelledPool.open(pool.root).rebuild_dataset_json()
        assert (pool.root / "dataset.json").read_bytes() == before

    def test_reads_as_an_nnunet_dataset_with_the_same_files(self, pool):
        case = pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        (pool.root / "pool.json").unlink()
        (foreign,) = open_dataset(pool.root).cases
        assert (foreign.name, foreign.image, foreign.label) == (case.name, case.image, case.label)


class TestVoxelHash:
    def test_is_the_same_for_every_file_format_and_number_type(self, tmp_path):
        scan = _scan(1)
        expected = voxel_hash(scan)
        for name in ("a.nii", "b.nii.gz", "c.nrrd", "d.mha"):
            write_image(tmp_path / name, scan)
            assert voxel_hash(read_image(tmp_path / name)) == expected
        assert voxel_hash(Image(scan.array.astype(np.float32), GEOMETRY)) == expected
        assert voxel_hash(Image(np.asfortranarray(scan.array), GEOMETRY)) == expected

    @given(st.floats(0.05, 20.0))
    def test_forgives_the_rounding_of_spacings(self, spacing):
        shown = float(f"{spacing:.3f}")
        exact, stored = (
            Image(np.zeros((1, 1, 1)), Geometry((1, 1, 1), (s, s, s)))
            for s in (shown, float(np.float32(shown)))
        )
        assert voxel_hash(exact) == voxel_hash(stored)

    def test_tells_voxels_shapes_and_spacings_apart(self):
        zeros = np.zeros((2, 3, 4))
        images = [
            Image(zeros, Geometry((4, 3, 2), (1, 1, 1))),
            Image(zeros + 1, Geometry((4, 3, 2), (1, 1, 1))),
            Image(zeros.reshape(4, 3, 2), Geometry((2, 3, 4), (1, 1, 1))),
            Image(zeros, Geometry((4, 3, 2), (1, 1, 1.01))),
        ]
        assert len({voxel_hash(image) for image in images}) == 4
        assert voxel_hash(Image(-zeros, images[0].geometry)) == voxel_hash(images[0])


class TestBrokenPool:
    def test_missing_images_and_label_maps_are_named(self, pool):
        case = pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        case.image.unlink()
        case.label.unlink()
        with pytest.raises(SkcdfError, match="2 of its 2 files are missing") as error:
            open_dataset(pool.root)
        assert case.image.name in error.value.message
        assert case.label.name in error.value.message

    def test_broken_json_names_the_file(self, pool):
        pool.add_case("one", _scan(1), None, subject="Ada")
        (pool.root / "cases/one.json").write_text('{"schema": 1,')
        with pytest.raises(SkcdfError, match=r"one\.json"):
            open_dataset(pool.root)

    @pytest.mark.parametrize("name", ["label_set.json", "pool.json"])
    def test_broken_descriptions_name_the_file(self, pool, name):
        (pool.root / name).write_text("[]")
        with pytest.raises(SkcdfError, match=name):
            open_dataset(pool.root)

    @pytest.mark.parametrize("name", ["cases/one.json", "pool.json"])
    def test_newer_schemas_ask_for_an_update(self, pool, name):
        pool.add_case("one", _scan(1), None, subject="Ada")
        content = read_json(pool.root / name, "file")
        _put(content | {"schema": 2}, pool.root / name)
        with pytest.raises(SkcdfError, match="Update"):
            open_dataset(pool.root)

    @pytest.mark.parametrize("key", ["subject", "image"])
    def test_a_subject_or_image_in_both_splits_is_refused(self, pool, key):
        pool.add_case("one", _scan(1), _label_map(1), subject="Ada")
        pool.add_case("two", _scan(2), _label_map(1), subject="Grace", split="validation")
        one, two = (read_json(pool.root / f"cases/{name}.json", "case") for name in ("one", "two"))
        if key == "image":
            digest = one["image"]["voxel_hash"]
            one["image"] = {"file": f"imagesTs/two_{digest[:16]}_0000.nii.gz", "voxel_hash": digest}
        _put(two | {key: one[key]}, pool.root / "cases/two.json")
        with pytest.raises(SkcdfError, match="other split"):
            open_dataset(pool.root)

    @pytest.mark.parametrize(
        "file", ["../secret.nii.gz", "/etc/passwd", "imagesTr/..", "imagesTr\\x", "cases/one.json"]
    )
    def test_a_case_file_points_to_no_place_outside(self, pool, file):
        pool.add_case("one", _scan(1), None, subject="Ada")
        content = read_json(pool.root / "cases/one.json", "case")
        content["image"]["file"] = file
        _put(content, pool.root / "cases/one.json")
        with pytest.raises(SkcdfError, match="malformed"):
            open_dataset(pool.root)

    @pytest.mark.slow
    @settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_change_of_a_case_file_gives_a_data_set_or_an_error(self, pool, data):
        source = pool.root / "cases/one.json"
        original = pool.root / "original.json"
        if not original.exists():
            pool.add_case("one", _scan(1), _label_map(1), subject="Ada", annotated=["brainstem"])
            original.write_bytes(source.read_bytes())
        content = read_json(original, "case")
        target = data.draw(st.sampled_from([content, content["image"], content["revisions"][0]]))
        target[data.draw(st.sampled_from(sorted(target)))] = data.draw(
            json_values
            | st.sampled_from(
                ["unlabelled", "withdrawn", "validation", "labelsTr/" + "x" * 300, [], ["larynx"]]
            )
        )
        _put(content, source)
        with contextlib.suppress(SkcdfError):
            assert isinstance(open_dataset(pool.root), Dataset)

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(content=st.binary(max_size=30))
    def test_any_bytes_in_a_case_file_give_a_data_set_or_an_error(self, pool, content):
        (pool.root / "cases").mkdir(exist_ok=True)
        (pool.root / "cases/one.json").write_bytes(content)
        with pytest.raises(SkcdfError, match=r"one\.json"):
            open_dataset(pool.root)
