"""Foreign folders into a pool: the plan says what comes, and what comes is what the plan said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from foreign_folders import (
    GRID,
    LABELS,
    TRUE_VALUES,
    entry_of,
    files_of,
    organs,
    scan,
    stored,
    write_nnunet,
    write_pair,
)
from seg_nrrd_files import KIDNEY, LIVER, FileSegment, write_seg_nrrd

from skcdf.datasets import open_dataset
from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image, write_image, write_label_map
from skcdf.label_mapping import MappingFile
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool
from skcdf.pool_import import ImportOptions, plan_import
from skcdf.pool_sources import open_source
from skcdf.progress import CancelToken


@pytest.fixture
def pool(tmp_path) -> LabelledPool:
    return LabelledPool.create(tmp_path / "pool", LABELS, "CT")


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "source"


class TestSources:
    def test_nnunet_datasets_are_mapped_by_name(self, pool, folder):
        array = organs(spleen=4, right_kidney=2, left_kidney=1, liver=3)
        write_nnunet(folder, {"LeftKidney": 1, "kidney_right": 2, "Liver": 3, "Spleen": 4}, {"a": array})
        plan = plan_import(pool, open_source(folder))
        assert [entry.action for entry in plan.run()] == ["add"]
        np.testing.assert_array_equal(
            stored(pool, "a"), organs(spleen=1, right_kidney=2, left_kidney=3, liver=4)
        )

    def test_msd_tasks_bring_their_unlabelled_images_and_validation_cases(self, pool, folder):
        for name, seed in (("a", 1), ("v", 2), ("t", 3)):
            write_pair(folder, name, seed, organs(liver=1))
        content = {
            "modality": {"0": "CT"},
            "labels": {"0": "background", "1": "liver"},
            "training": [{"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}],
            "validation": [{"image": "images/v.nii.gz", "label": "labels/v.nii.gz"}],
            "test": ["images/t.nii.gz"],
        }
        (folder / "dataset.json").write_text(json.dumps(content))
        plan_import(pool, open_source(folder)).run()
        dataset = pool.dataset()
        assert [case.name for case in dataset.labelled] == ["a"]
        assert [case.name for case in dataset.validation] == ["v"]
        assert [case.name for case in dataset.unlabelled] == ["t"]

    def test_another_pool_keeps_subjects_splits_and_what_was_annotated(self, pool, tmp_path):
        other = LabelledPool.create(tmp_path / "other", LabelSet.from_names("o", ["liver", "spleen"]), "CT")
        part = {"annotated": ["liver"], "split": "training"}
        other.add_case("a", scan(1), Image(organs(liver=1), GRID), subject="Ada", **part)
        other.add_case("b", scan(2), Image(organs(liver=1, spleen=2), GRID), subject="Bo", split="validation")
        other.add_case("c", scan(3), None, subject="Ada")
        plan_import(pool, open_source(other.root)).run()
        a, b, c = pool.dataset().cases
        assert (a.annotated, a.split, b.annotated, b.split) == (
            {"liver"},
            "training",
            {"liver", "spleen"},
            "validation",
        )
        assert a.subject == c.subject != b.subject

    def test_another_pool_brings_the_model_whose_proposal_was_corrected_and_the_accepted_sides(
        self, pool, tmp_path
    ):
        other = LabelledPool.create(tmp_path / "other", LABELS, "CT")
        turned = Image(organs(left_kidney=2, right_kidney=3), GRID)
        other.add_case("plain", scan(1), Image(organs(liver=4), GRID), subject="Ada")
        other.add_case("situs", scan(2), turned, subject="Bo", model="organs@v3", accept_sides=True)
        other.add_case("bare", scan(3), None, subject="Cy")
        pool.add_case("there", scan(4), None, subject="Di")
        other.add_case(
            "new", scan(4), turned, subject="Di", split="training", model="organs@v4", accept_sides=True
        )
        plan = plan_import(pool, open_source(other.root), ImportOptions(revise=True))
        plan.run()
        current = {record.name: record.current for record in pool.records()}
        assert (current["plain"].model, current["plain"].sides_accepted) == (None, False)
        assert (current["situs"].model, current["situs"].sides_accepted) == ("organs@v3", True)
        assert (current["there"].model, current["there"].sides_accepted) == ("organs@v4", True)
        assert plan.warnings == ()

    def test_another_pools_cases_of_which_something_stays_behind_are_told_in_one_line(self, pool, tmp_path):
        other = LabelledPool.create(tmp_path / "other", LABELS, "CT")
        label = Image(organs(liver=4), GRID)
        other.add_case("plain", scan(1), label, subject="Ada")
        other.add_case("dice", scan(2), label, subject="Bo", model="organs@v3", proposal=label)
        other.add_case("revised", scan(3), label, subject="Cy")
        other.revise("revised", Image(organs(liver=4, spleen=1), GRID))
        (warning,) = plan_import(pool, open_source(other.root)).warnings
        assert warning.endswith("stay in the source; there are some of dice, revised")
        plan_import(pool, open_source(other.root)).run()
        assert plan_import(pool, open_source(other.root)).warnings == ()

    def test_a_folder_of_scans_with_segmentations_and_label_maps_beside_them(self, pool, folder):
        folder.mkdir()
        for seed, name in enumerate(("a", "b", "c", "d")):
            write_image(folder / f"{name}.nrrd", scan(seed))
        segments = (FileSegment("Leber", 1, 0, LIVER),)
        write_seg_nrrd(
            folder / "a.seg.nrrd", organs(liver=1)[1:5], GRID.crop((1, 0, 0), (4, 8, 12)), segments
        )
        write_seg_nrrd(folder / "b-segmentation.seg.nrrd", organs(liver=1), GRID, segments)
        write_label_map(folder / "c_label.nii.gz", organs(liver=4), GRID)
        plan = plan_import(pool, open_source(folder), TRUE_VALUES)
        assert [(entry.name, entry.action, entry.annotated) for entry in plan.run()] == [
            ("a", "add", ("liver",)),
            ("b", "add", ("liver",)),
            ("c", "add", ("liver",)),
            ("d", "add", ()),
        ]
        for name in ("a", "b", "c"):
            np.testing.assert_array_equal(stored(pool, name), organs(liver=4))

    def test_pairs_may_name_the_channel_as_nnunet_does(self, pool, folder):
        write_image(folder / "images/a_0000.nii.gz", scan(1))
        write_label_map(folder / "labels/a.nii.gz", organs(liver=4), GRID)
        (entry,) = plan_import(pool, open_source(folder), TRUE_VALUES).entries
        assert (entry.name, entry.action) == ("a", "add")

    def test_a_folder_without_scans_says_what_is_looked_for(self, folder):
        folder.mkdir()
        with pytest.raises(SkcdfError, match="no scans were found"):
            open_source(folder)
        with pytest.raises(SkcdfError, match="no such folder"):
            open_source(folder / "none")

    def test_two_scans_of_one_name_are_refused(self, folder):
        write_image(folder / "a.nii.gz", scan(1))
        write_image(folder / "a.nrrd", scan(2))
        with pytest.raises(SkcdfError, match=r"a\.nii\.gz and a\.nrrd are both case a"):
            open_source(folder)


class TestPlan:
    def test_writes_nothing(self, pool, folder):
        write_pair(folder, "a", 1, organs(liver=4))
        before = files_of(pool.root)
        plan = plan_import(pool, open_source(folder), TRUE_VALUES)
        assert plan.of("add") and files_of(pool.root) == before

    def test_says_what_would_be_stored_organ_by_organ(self, pool, folder):
        segments = (
            FileSegment("Leber", 1, 0, LIVER),
            FileSegment("spleen", 2),
            FileSegment("left kidney", 3, 0, status="notstarted"),
        )
        folder.mkdir()
        write_image(folder / "a.nrrd", scan(1))
        write_seg_nrrd(folder / "a.seg.nrrd", organs(liver=1), GRID, segments)
        (entry,) = plan_import(pool, open_source(folder)).entries
        assert entry.annotated == ("spleen", "liver")
        assert entry.voxels == {"spleen": 0, "liver": 18}
        assert entry.volumes_ml == {"spleen": 0, "liver": pytest.approx(18 * 0.009)}
        assert any("left kidney is empty and was not started" in warning for warning in entry.warnings)
        assert any("spleen counts as absent" in warning for warning in entry.warnings)

    def test_undecided_labels_stop_everything_and_are_named_once(self, pool, folder):
        for seed, name in enumerate("ab"):
            write_pair(folder, name, seed, organs(liver=4, spleen=9))
        plan = plan_import(pool, open_source(folder))
        assert [str(label) for label in plan.undecided] == ["4", "9"]
        assert plan.entries == () and len(plan.blockers) == 1
        before = files_of(pool.root)
        with pytest.raises(SkcdfError, match="4, 9"):
            plan.run()
        assert files_of(pool.root) == before

    def test_labels_that_share_a_target_stop_everything(self, pool, folder):
        write_nnunet(folder, {"liver": 1, "Liver": 2}, {"a": organs(liver=1)})
        assert "would all become liver" in plan_import(pool, open_source(folder)).blockers[0].message

    def test_another_modality_stops_everything(self, tmp_path, folder):
        write_nnunet(folder, {"liver": 1}, {"a": organs(liver=1)})
        pool = LabelledPool.create(tmp_path / "mr", LABELS, "MR")
        assert (
            "its scans are CT, and the pool is for MR"
            in plan_import(pool, open_source(folder)).blockers[0].message
        )

    def test_phantoms_do_not_enter_a_pool_of_scans(self, pool, tmp_path):
        other = LabelledPool.create(tmp_path / "other", LABELS, "CT", synthetic=True)
        other.add_case("a", scan(1), None, subject="a")
        assert "phantoms" in plan_import(pool, open_source(other.root)).blockers[0].message

    def test_a_pool_does_not_enter_itself(self, pool):
        pool.add_case("a", scan(1), None, subject="a")
        assert "itself" in plan_import(pool, open_source(pool.root)).blockers[0].message

    def test_lets_the_pool_say_who_validates(self, pool, folder):
        for seed, name in enumerate("abcdefgh"):
            write_pair(folder, name, seed, organs(liver=4))
        plan = plan_import(pool, open_source(folder), TRUE_VALUES)
        assert [entry.name for entry in plan.entries if entry.split == "validation"] == ["c", "h"]
        plan.run()
        assert [case.name for case in pool.dataset().validation] == ["c", "h"]

    def test_can_be_cancelled(self, pool, folder):
        write_pair(folder, "a", 1, organs(liver=4))
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            plan_import(pool, open_source(folder), TRUE_VALUES, cancel=token)


class TestMappingFile:
    def plan(self, pool, folder, **file):
        for seed, name in enumerate("ab"):
            write_pair(folder, name, seed, organs(liver=1, spleen=2))
        labels = {"1": "liver", "2": "spleen"}
        return plan_import(pool, open_source(folder), ImportOptions(MappingFile(labels, **file)))

    def test_names_bare_values(self, pool, folder):
        self.plan(pool, folder).run()
        np.testing.assert_array_equal(stored(pool, "b"), organs(liver=4, spleen=1))

    def test_gives_subjects_and_says_who_validates(self, pool, folder):
        plan = self.plan(pool, folder, subjects={"a": "Ada", "b": "Ada"}, validation=("a",))
        assert entry_of(plan, "a").split == "validation"
        assert "same subject as a, which is for validation" in entry_of(plan, "b").reason
        self.plan(pool, folder, subjects={"a": "Ada", "b": "Bo"}, validation=("b",)).run()
        assert [case.name for case in pool.dataset().validation] == ["b"]

    def test_restricts_what_was_annotated(self, pool, folder):
        plan = self.plan(pool, folder, annotated=("liver",), annotated_in={"b": ("spleen", "liver")})
        assert entry_of(plan, "a").annotated == ("liver",)
        assert any(
            "left out, since not said to be annotated: spleen" in w for w in entry_of(plan, "a").warnings
        )
        assert entry_of(plan, "b").annotated == ("spleen", "liver")
        plan.run()
        np.testing.assert_array_equal(stored(pool, "a"), organs(liver=4))

    def test_that_lets_unknown_cases_validate_stops_everything(self, pool, folder):
        assert "lets c validate" in self.plan(pool, folder, validation=("c",)).blockers[0].message

    def test_that_speaks_of_unknown_cases_is_told(self, pool, folder):
        assert "c" in self.plan(pool, folder, subjects={"c": "Ada"}).warnings[0]


class TestWithoutVoxels:
    @pytest.mark.parametrize(
        ("rule", "annotated"), [(None, {"liver"}), ("absent", {"liver", "spleen"}), ("unknown", {"liver"})]
    )
    def test_a_bare_value_is_unknown_unless_the_user_says_otherwise(self, pool, folder, rule, annotated):
        write_pair(folder, "a", 1, organs(liver=4))
        write_pair(folder, "b", 2, organs(liver=4, spleen=1))
        options = ImportOptions(MappingFile(without_voxels=rule), values_are_targets=True)
        plan = plan_import(pool, open_source(folder), options)
        plan.run()
        assert {case.name: case.annotated for case in pool.dataset().cases}["a"] == annotated

    @pytest.mark.parametrize(("rule", "annotated"), [(None, {"liver", "spleen"}), ("unknown", {"liver"})])
    def test_a_named_label_is_absent_unless_the_user_says_otherwise(self, pool, folder, rule, annotated):
        write_nnunet(folder, {"liver": 1, "spleen": 2}, {"a": organs(liver=1)})
        plan_import(pool, open_source(folder), ImportOptions(MappingFile(without_voxels=rule))).run()
        (case,) = pool.dataset().cases
        assert case.annotated == annotated


class TestRefusedCases:
    def test_do_not_stop_the_others(self, pool, folder):
        write_pair(folder, "good", 1, organs(liver=4))
        write_pair(folder, "other grid", 2, organs(liver=4))
        moved = Geometry(GRID.size, GRID.spacing, (-9.0, 20.0, 30.0))
        write_label_map(folder / "labels/other grid.nii.gz", organs(liver=4), moved)
        write_pair(folder, "cut", 3, organs(liver=4))
        (folder / "labels/cut.nii.gz").write_bytes((folder / "labels/cut.nii.gz").read_bytes()[:-20])
        write_pair(folder, "empty", 4, organs())
        write_pair(folder, "swapped", 5, organs(left_kidney=2, right_kidney=3))
        write_pair(folder, "twin", 1, organs(liver=4))
        write_label_map(folder / "labels/no scan.nii.gz", organs(liver=4), GRID)
        write_pair(folder, "late", 6, organs(liver=4))
        plan = plan_import(pool, open_source(folder), TRUE_VALUES)
        reasons = {entry.source.name: entry.reason for entry in plan.of("refuse")}
        assert "not on the scan's grid (12 x 8 x 6 voxels)" in reasons["other grid"]
        assert "truncated" in reasons["cut"]
        assert "none of its labels is taken" in reasons["empty"]
        assert "right_kidney lies 18 mm to the patient's left of left_kidney" in reasons["swapped"]
        assert "same scan as good" in reasons["twin"]
        assert "no scan called no scan" in reasons["no scan"]
        assert len(reasons) == 6
        assert [entry.name for entry in plan.run() if entry.action == "add"] == ["good", "late"]
        assert [case.name for case in open_dataset(pool.root).cases] == ["good", "late"]

    def test_swapped_sides_enter_when_the_user_says_that_they_are_right(self, pool, folder):
        write_pair(folder, "situs", 5, organs(left_kidney=2, right_kidney=3))
        plan = plan_import(
            pool, open_source(folder), ImportOptions(values_are_targets=True, accept_sides=True)
        )
        assert [entry.action for entry in plan.run()] == ["add"]

    def test_segments_that_overlap(self, pool, folder):
        write_image(folder / "a.nrrd", scan(1))
        layers = np.stack([organs(liver=1), organs(liver=1)])
        write_seg_nrrd(
            folder / "a.seg.nrrd", layers, GRID, (FileSegment("liver", 1), FileSegment("spleen", 1, 1))
        )
        (entry,) = plan_import(pool, open_source(folder)).entries
        assert "liver and spleen in 18 voxels" in entry.reason

    def test_segments_of_one_name_unless_the_mapping_file_merges_them(self, pool, folder):
        write_image(folder / "a.nrrd", scan(1))
        write_seg_nrrd(
            folder / "a.seg.nrrd",
            organs(liver=1, spleen=2),
            GRID,
            (FileSegment("liver", 1), FileSegment("liver", 2)),
        )
        (entry,) = plan_import(pool, open_source(folder)).entries
        assert "liver and liver would all become liver" in entry.reason
        plan_import(pool, open_source(folder), ImportOptions(MappingFile(merge=("liver",)))).run()
        np.testing.assert_array_equal(stored(pool, "a"), organs(liver=4, spleen=4))

    def test_segments_whose_name_and_code_contradict_each_other(self, pool, folder):
        for seed, name in enumerate("ab"):
            write_image(folder / f"{name}.nrrd", scan(seed))
            code = (LIVER, KIDNEY)[seed]
            write_seg_nrrd(
                folder / f"{name}.seg.nrrd", organs(liver=1), GRID, (FileSegment("Liver", 1, 0, code, "^^"),)
            )
        plan = plan_import(pool, open_source(folder))
        assert [entry.action for entry in plan.entries] == ["add", "refuse"]
        assert "its name says liver, its code says Kidney" in entry_of(plan, "b").reason

    def test_label_maps_among_the_scans(self, pool, folder):
        write_label_map(folder / "a.nii.gz", organs(liver=4), GRID)
        assert "looks like a label map" in plan_import(pool, open_source(folder)).entries[0].reason

    def test_a_case_with_two_label_maps(self, pool, folder):
        write_image(folder / "a.nii.gz", scan(1))
        write_label_map(folder / "a_seg.nii.gz", organs(liver=4), GRID)
        write_label_map(folder / "a_mask.nii.gz", organs(liver=4), GRID)
        assert (
            "2 label maps: a_mask.nii.gz, a_seg.nii.gz"
            in plan_import(pool, open_source(folder)).entries[0].reason
        )
