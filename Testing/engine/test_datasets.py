"""nnU-Net v2 raw datasets and MSD tasks behind the reader of the labelled pool."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf.cases import Dataset
from skcdf.datasets import open_dataset
from skcdf.errors import SkcdfError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def _put(content: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def _touch(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def _names(cases) -> list[str]:
    return [case.name for case in cases]


NNUNET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "spleen": 1, "RightKidney": 2, "LeftKidney": 3},
    "numTraining": 2,
    "file_ending": ".nrrd",
}


class TestNnunetRaw:
    @pytest.fixture
    def root(self, tmp_path):
        root = tmp_path / "Dataset007_Abdomen"
        _put(NNUNET, root / "dataset.json")
        for name in ("a", "b_1"):
            _touch(root, f"imagesTr/{name}_0000.nrrd", f"labelsTr/{name}.nrrd")
        _touch(
            root,
            "imagesUn/u_0000.nrrd",
            "imagesTs/t_0000.nrrd",
            "imagesTr/._a_0000.nrrd",
            "imagesTr/notes.txt",
        )
        return root

    def _describe(self, root, **changes):
        _put(NNUNET | changes, root / "dataset.json")

    def test_gives_its_cases_and_labels(self, root):
        dataset = open_dataset(root)
        assert (dataset.name, dataset.modality) == ("Dataset007_Abdomen", "CT")
        assert _names(dataset.labelled) == ["a", "b_1"]
        assert _names(dataset.unlabelled) == ["u"]
        assert dataset.labelled[0].label == root / "labelsTr/a.nrrd"
        assert dataset.labelled[0].annotated == {"spleen", "RightKidney", "LeftKidney"}
        assert dataset.label_set.mirrored_values == (0, 1, 3, 2)
        assert len({case.subject for case in dataset.cases}) == 3

    def test_takes_the_cases_of_an_explicit_map(self, root, tmp_path):
        elsewhere = tmp_path / "elsewhere.nrrd"
        elsewhere.touch()
        pair = {"images": ["imagesTr/a_0000.nrrd"], "label": str(elsewhere)}
        self._describe(root, dataset={"only": pair}, numTraining=1)
        (case,) = open_dataset(root).labelled
        assert (case.name, case.image, case.label) == ("only", root / "imagesTr/a_0000.nrrd", elsewhere)

    @pytest.mark.parametrize("channel", ["MRI", "T2", "noNorm"])
    def test_counts_whatever_is_not_ct_as_mr(self, root, channel):
        self._describe(root, channel_names={"0": channel})
        assert open_dataset(root).modality == "MR"

    @pytest.mark.parametrize("file", ["labelsTr/a.nrrd", "imagesTr/b_1_0000.nrrd"])
    def test_names_a_missing_half_of_a_pair(self, root, file):
        (root / file).unlink()
        with pytest.raises(SkcdfError, match=f"1 of its 5 files are missing: .*{file}"):
            open_dataset(root)

    def test_with_several_channels_is_refused(self, root):
        self._describe(root, channel_names={"0": "T1", "1": "T2"})
        with pytest.raises(SkcdfError, match="2 channels"):
            open_dataset(root)

    def test_with_several_images_in_a_mapped_case_is_refused(self, root):
        self._describe(root, dataset={"a": {"images": ["x", "y"], "label": "z"}}, numTraining=1)
        with pytest.raises(SkcdfError, match="case a has 2 images"):
            open_dataset(root)

    def test_with_an_image_of_another_channel_is_refused(self, root):
        _touch(root, "imagesTr/a_0001.nrrd")
        with pytest.raises(SkcdfError, match=r"a_0001\.nrrd.*CASE_0000"):
            open_dataset(root)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ({"background": 0, "spleen": 1, "ignore": 2}, "ignore label"),
            ({"background": 0, "whole": [1, 2], "core": 2}, "whole is a region"),
            ({"background": 0, "spleen": 1, "liver": 3}, r"\[0, 1, 3\]"),
            ({"spleen": 1}, "without gaps"),
            ({"background": 0}, "no labels"),
            ({"background": 0, "a": 1, "b": 1}, "broken"),
            ({"background": 0, "a": True}, "broken"),
            ([0, 1], "broken"),
        ],
    )
    def test_with_labels_that_cannot_be_used_is_refused(self, root, labels, message):
        self._describe(root, labels=labels)
        with pytest.raises(SkcdfError, match=message):
            open_dataset(root)

    def test_with_fewer_cases_than_it_claims_is_refused(self, root):
        self._describe(root, numTraining=3)
        with pytest.raises(SkcdfError, match="numTraining is 3, but there are 2"):
            open_dataset(root)

    def test_with_a_case_both_labelled_and_unlabelled_is_refused(self, root):
        _touch(root, "imagesUn/a_0000.nrrd")
        with pytest.raises(SkcdfError, match="two cases called a"):
            open_dataset(root)

    @pytest.mark.slow
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(key=st.sampled_from([*NNUNET, "dataset", "name", "training"]), value=json_values)
    def test_with_any_description_gives_a_data_set_or_an_error(self, root, key, value):
        self._describe(root, **{key: value})
        with contextlib.suppress(SkcdfError):
            assert isinstance(open_dataset(root), Dataset)


MSD = {
    "name": "Hippocampus",
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
    "numTraining": 2,
    "training": [{"image": f"./imagesTr/h_{n}.nii.gz", "label": f"./labelsTr/h_{n}.nii.gz"} for n in (1, 2)],
    "test": ["./imagesTs/h_3.nii.gz", "./imagesTs/h_4.nii.gz"],
}


class TestMsdTask:
    @pytest.fixture
    def root(self, tmp_path):
        _put(MSD, tmp_path / "dataset.json")
        for n in (1, 2):
            _touch(tmp_path, f"imagesTr/h_{n}.nii.gz", f"labelsTr/h_{n}.nii.gz")
        _touch(tmp_path, "imagesTs/h_3.nii.gz", "imagesTs/h_4.nii.gz")
        return tmp_path

    def test_gives_training_pairs_and_its_test_images_as_unlabelled(self, root):
        dataset = open_dataset(root)
        assert (dataset.name, dataset.modality) == ("Hippocampus", "MR")
        assert dataset.label_set.names == ("Anterior", "Posterior")
        assert _names(dataset.labelled) == ["h_1", "h_2"]
        assert _names(dataset.unlabelled) == ["h_3", "h_4"]
        assert dataset.validation == ()

    def test_gives_a_validation_list_as_validation_cases(self, root):
        first, second = MSD["training"]
        _put(MSD | {"training": [first], "validation": [second]}, root / "dataset.json")
        dataset = open_dataset(root)
        assert (_names(dataset.labelled), _names(dataset.validation)) == (["h_1"], ["h_2"])

    def test_names_missing_images(self, root):
        (root / "imagesTs/h_4.nii.gz").unlink()
        with pytest.raises(SkcdfError, match=r"1 of its 6 files are missing: .*h_4\.nii\.gz"):
            open_dataset(root)

    def test_may_lack_unlabelled_images_where_that_is_asked_for_but_no_others(self, root):
        (root / "imagesTs/h_4.nii.gz").unlink()
        assert "h_4" in _names(open_dataset(root, allow_missing_unlabelled=True).unlabelled)
        (root / "imagesTr/h_1.nii.gz").unlink()
        with pytest.raises(SkcdfError, match=r"files are missing: .*h_1") as caught:
            open_dataset(root, allow_missing_unlabelled=True)
        assert "h_4" not in caught.value.message and "skcdf pool withdraw" in caught.value.hint

    def test_with_several_channels_is_refused(self, root):
        _put(MSD | {"modality": {"0": "FLAIR", "1": "T1w"}}, root / "dataset.json")
        with pytest.raises(SkcdfError, match="2 channels"):
            open_dataset(root)

    @pytest.mark.slow
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(key=st.sampled_from([*MSD, "validation"]), value=json_values)
    def test_with_any_description_gives_a_data_set_or_an_error(self, root, key, value):
        _put(MSD | {key: value}, root / "dataset.json")
        with contextlib.suppress(SkcdfError):
            assert isinstance(open_dataset(root), Dataset)


class TestOtherFolders:
    def test_are_told_what_was_looked_for(self, tmp_path):
        with pytest.raises(SkcdfError, match=r"pool\.json.*dataset\.json.*nnU-Net v2.*MSD"):
            open_dataset(tmp_path)
        with pytest.raises(SkcdfError, match="no data set"):
            open_dataset(tmp_path / "absent")

    @pytest.mark.parametrize("content", [{}, {"labels": {}}, [], None, 3, "text"])
    def test_with_a_foreign_description_are_refused(self, tmp_path, content):
        _put(content, tmp_path / "dataset.json")
        with pytest.raises(SkcdfError, match=r"dataset\.json"):
            open_dataset(tmp_path)
