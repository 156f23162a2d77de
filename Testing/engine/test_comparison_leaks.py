"""What a model was trained on is no evidence for it, however it is disguised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from threshold_models import HALF_SPLEEN, LABELS, PLAN, dataset_of

from skcdf.cases import Case
from skcdf.comparison import compare_models
from skcdf.geometry import AxisOrder
from skcdf.image import Image, read_image, read_label_map, write_image
from skcdf.pool import LabelledPool
from skcdf.trainer import load_volume


class TestLeaks:
    """Cases that were trained on are no evidence, however they are disguised."""

    @pytest.fixture
    def trained(self, validation: list[Case]) -> str:
        """Hash of the first case's scan, as a training records it."""
        return load_volume(validation[0], LABELS, PLAN, seed=0).image_hash

    @pytest.mark.parametrize(
        ("which", "disguise", "number"),
        [
            ("new", "same.nii.gz", np.int16),
            ("old", "other.nii", np.int32),
            ("new", "a.nrrd", np.float32),
            ("old", "b.mha", np.float32),
            ("new", "turned.nii.gz", np.int16),
        ],
    )
    def test_a_trained_scan_is_found_in_any_format_number_type_and_axis_order(
        self, which, disguise, number, model, validation, trained, tmp_path, device
    ) -> None:
        scan = read_image(validation[0].image)
        turn = (
            ((1, 2, 0), (True, False, True)) if "turned" in disguise else ((0, 1, 2), (False, False, False))
        )
        order = AxisOrder(*turn)
        turned = np.ascontiguousarray(order.apply(scan.array.astype(number)))
        write_image(tmp_path / disguise, Image(turned, order.apply_to_geometry(scan.geometry)))
        hidden = replace(
            validation[0], name="zz_renamed", image=tmp_path / disguise, subject="somebody else entirely"
        )
        hashes = {"old": ("0" * 64,), "new": ("0" * 64,), which: ("1" * 64, trained)}
        models = [model(name, trained_on=hashes[name]) for name in ("old", "new")]
        comparison = compare_models(*models, dataset_of([hidden, validation[1]]), device)
        assert [case.case for case in comparison.cases] == [validation[1].name]
        (left_out,) = comparison.left_out
        assert left_out.case == "zz_renamed"
        assert left_out.reason == f"{which} 1 was trained on this scan"
        assert f"- zz_renamed: {left_out.reason}" in comparison.text()

    @pytest.mark.parametrize("labelled", [True, False])
    def test_another_scan_of_a_trained_subject_is_found(
        self, labelled, model, validation, trained, device
    ) -> None:
        relative = replace(validation[1], subject=validation[0].subject)
        first = replace(validation[0], split="training", label=validation[0].label if labelled else None)
        cases = [first, relative, *validation[2:]]
        comparison = compare_models(
            model("old", HALF_SPLEEN, [trained]), model("new"), dataset_of(cases), device
        )
        (left_out,) = comparison.left_out
        assert left_out.reason == "old 1 was trained on case0, a scan of the same subject"
        assert comparison.mean.n == 2 and comparison.recommendation == "cannot tell whether better"

    @pytest.mark.parametrize("guilty", [0, 1])
    def test_models_of_one_name_and_version_are_told_apart(
        self, guilty, model, validation, trained, device
    ) -> None:
        hashes = [("0" * 64,), ("0" * 64,)]
        hashes[guilty] = (trained,)
        models = [replace(model(f"m{i}", trained_on=hashes[i]), name="same") for i in range(2)]
        comparison = compare_models(*models, dataset_of(validation), device)
        assert [each.case for each in comparison.left_out] == ["case0"]

    def test_a_withdrawn_scan_of_the_subject_is_found_in_a_pool(
        self, model, validation, tmp_path, device
    ) -> None:
        pool = LabelledPool.create(tmp_path / "pool", LABELS, "CT")
        images = [(read_image(case.image), read_label_map(case.label)) for case in validation]
        for index, (image, label) in enumerate(images):
            subject = "Ada" if index < 2 else str(index)
            pool.add_case(f"c{index}", image, label, subject=subject, split="validation", accept_sides=True)
        old = model("old", trained_on=[pool.record("c0").image_hash])
        pool.withdraw("c0")
        comparison = compare_models(old, model("new"), pool.dataset(), device)
        (left_out,) = comparison.left_out
        assert (left_out.case, left_out.reason) == (
            "c1",
            "old 1 was trained on c0, a scan of the same subject",
        )

    def test_one_scan_under_two_names_counts_once(self, model, validation, device) -> None:
        twin = replace(validation[0], name="twin", subject="twin")
        comparison = compare_models(None, model("new"), dataset_of([*validation, twin]), device)
        assert [(each.case, each.reason) for each in comparison.left_out] == [
            ("twin", "the same scan as case0")
        ]
        assert comparison.mean.n == 4

    def test_when_all_were_trained_on_nothing_is_recommended(self, model, validation, device) -> None:
        hashes = [load_volume(case, LABELS, PLAN, seed=0).image_hash for case in validation]
        comparison = compare_models(
            model("old", HALF_SPLEEN), model("new", trained_on=hashes), dataset_of(validation), device
        )
        assert len(comparison.left_out) == 4 and not comparison.cases
        assert comparison.recommendation == "cannot tell whether better"

    def test_what_a_model_does_not_tell_of_its_training_is_noted(self, model, dataset, device) -> None:
        comparison = compare_models(model("old", trained_on=()), model("new"), dataset, device)
        (note,) = (note for note in comparison.notes if "cannot be excluded" in note)
        assert note.startswith("old 1 does not name all scans")
