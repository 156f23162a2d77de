"""Whose scans an import brings: nobody is both trained and validated on, whatever pool and source call them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from foreign_folders import GRID, LABELS, TRUE_VALUES, entry_of, organs, scan, write_pair

from skcdf.image import Image, write_image
from skcdf.label_mapping import MappingFile
from skcdf.pool import LabelledPool
from skcdf.pool_import import ImportOptions, ImportPlan, plan_import
from skcdf.pool_sources import open_source

LIVER = Image(organs(liver=4), GRID)
NAMED = {"annotated": ["liver"]}


@pytest.fixture
def pool(tmp_path) -> LabelledPool:
    """Three patients, of whom the third validates."""
    pool = LabelledPool.create(tmp_path / "pool", LABELS, "CT")
    for number in range(3):
        pool.add_case(f"c{number}", scan(number), LIVER, subject=f"patient{number}", **NAMED)
    assert [record.split for record in pool.records()] == ["training", "training", "validation"]
    return pool


@pytest.fixture
def other(tmp_path) -> LabelledPool:
    return LabelledPool.create(tmp_path / "other", LABELS, "CT")


def plan_of(pool: LabelledPool, folder: Path, **subjects: str) -> ImportPlan:
    options = ImportOptions(MappingFile(subjects=subjects), values_are_targets=True)
    return plan_import(pool, open_source(folder), options)


@pytest.mark.parametrize("names", [("x", "followup"), ("followup", "x"), ("a", "b"), ("b", "a")])
class TestAnotherPool:
    def test_a_follow_up_of_a_subject_who_validates_validates(self, pool, other, names):
        known, new = names
        other.add_case(known, scan(2), LIVER, subject="other name", split="validation", **NAMED)
        other.add_case(new, scan(7), LIVER, subject="other name", **NAMED)
        plan_import(pool, open_source(other.root)).run()
        assert pool.record(new).split == "validation"
        assert pool.record(new).subject == pool.record("c2").subject

    def test_what_the_other_pool_trains_on_is_refused(self, pool, other, names):
        known, new = names
        for name, seed in ((known, 2), (new, 7)):
            other.add_case(name, scan(seed), LIVER, subject="other name", split="training", **NAMED)
        plan = plan_import(pool, open_source(other.root))
        assert "same subject as c2, which is for validation" in entry_of(plan, new).reason
        assert [entry.action for entry in plan.run() if entry.source.name == new] == ["refuse"]
        assert len(pool.records()) == 3

    def test_an_unlabelled_scan_of_a_subject_who_validates_is_refused(self, pool, other, names):
        known, new = names
        other.add_case(known, scan(2), None, subject="other name")
        other.add_case(new, scan(7), None, subject="other name")
        plan = plan_import(pool, open_source(other.root))
        assert "same subject as c2, which validates" in entry_of(plan, new).reason

    def test_a_withdrawn_case_still_tells_who_is_who(self, pool, other, names):
        known, new = names
        other.add_case(known, scan(2), None, subject="other name")
        other.withdraw(known)
        other.add_case(new, scan(7), None, subject="other name")
        plan = plan_import(pool, open_source(other.root))
        assert "same subject as c2, which validates" in entry_of(plan, new).reason


class TestACopyOfThePool:
    def test_names_persons_as_the_pool_does(self, pool, tmp_path):
        copy = LabelledPool.open(shutil.copytree(pool.root, tmp_path / "copy"))
        for name in ("early", "late"):
            target = {"early": pool, "late": copy}[name]
            target.add_case(name, scan(len(name)), LIVER, subject="patient9", split="training", **NAMED)
        plan_import(pool, open_source(copy.root)).run()
        assert pool.record("early").subject == pool.record("late").subject


class TestMappingFile:
    def test_a_subject_of_a_scan_that_is_there_under_another_name_stays_that_subject(self, pool, tmp_path):
        folder = tmp_path / "source"
        for name, seed in (("b", 1), ("a", 7)):
            write_pair(folder, name, seed, organs(liver=4))
        plan_of(pool, folder, a="s2", b="s2").run()
        assert pool.record("a").split == "training"
        assert pool.record("a").subject == pool.record("c1").subject

    def test_a_subject_whose_scans_are_in_both_splits_gets_no_more(self, pool, tmp_path):
        folder = tmp_path / "source"
        for name, seed in (("a", 7), ("b", 1), ("c", 2)):
            write_pair(folder, name, seed, organs(liver=4))
        plan = plan_of(pool, folder, a="s2", b="s2", c="s2")
        reason = entry_of(plan, "a").reason
        assert "same subject as c1, which is for training, and as c2, which validates" in reason
        assert [entry_of(plan, name).action for name in "bc"] == ["there", "there"]

    def test_a_name_that_the_pool_knows_and_a_scan_of_somebody_else_contradict_each_other(
        self, pool, tmp_path
    ):
        folder = tmp_path / "source"
        for name, seed in (("a", 7), ("b", 0)):
            write_pair(folder, name, seed, organs(liver=4))
        plan = plan_of(pool, folder, a="patient2", b="patient2")
        assert "c0, which is for training, and as c2, which validates" in entry_of(plan, "a").reason

    def test_a_scan_that_two_subjects_have_makes_them_one(self, tmp_path):
        pool = LabelledPool.create(tmp_path / "pool", LABELS, "CT")
        folder = tmp_path / "source"
        for name, seed in (("a", 1), ("twin", 1), ("b", 2)):
            write_pair(folder, name, seed, organs(liver=4))
        plan_of(pool, folder, a="s1", twin="s2", b="s2").run()
        assert pool.record("a").subject == pool.record("b").subject

    def test_a_person_is_followed_through_several_names(self, pool, tmp_path):
        """New of s1, whose other scan is c3 of patient1; of patient1's c1 the source says s2, who also has c2."""
        pool.add_case("c3", scan(3), LIVER, subject="patient1", **NAMED)
        folder = tmp_path / "source"
        for name, seed in (("new", 7), ("x3", 3), ("x1", 1), ("x2", 2)):
            write_pair(folder, name, seed, organs(liver=4))
        plan = plan_of(pool, folder, new="s1", x3="s1", x1="s2", x2="s2")
        assert "for training, and as c2, which validates" in entry_of(plan, "new").reason

    def test_a_subject_without_name_is_refused(self, pool, tmp_path):
        write_pair(tmp_path / "source", "a", 7, organs(liver=4))
        assert "has no subject" in entry_of(plan_of(pool, tmp_path / "source", a=" "), "a").reason


class TestUnreadableCases:
    def test_a_case_whose_labels_are_damaged_still_tells_who_is_who(self, pool, tmp_path):
        folder = tmp_path / "source"
        write_pair(folder, "known", 2, organs(liver=4))
        (folder / "labels/known.nii.gz").write_bytes(b"damaged")
        write_pair(folder, "new", 7, organs(liver=4))
        plan = plan_of(pool, folder, known="s", new="s")
        assert (entry_of(plan, "known").action, entry_of(plan, "new").split) == ("refuse", "validation")

    def test_a_damaged_scan_refuses_its_own_case_only(self, pool, tmp_path):
        folder = tmp_path / "source"
        write_pair(folder, "known", 2, organs(liver=4))
        (folder / "images/known.nii.gz").write_bytes(b"damaged")
        write_pair(folder, "new", 7, organs(liver=4))
        plan = plan_of(pool, folder, known="s", new="s")
        assert (entry_of(plan, "known").action, entry_of(plan, "new").action) == ("refuse", "add")


def test_a_scan_that_another_program_adds_between_plan_and_import_tells_who_is_who(pool, tmp_path):
    folder = tmp_path / "source"
    for name, seed in (("a", 7), ("b", 8)):
        write_pair(folder, name, seed, organs(liver=4))
    plan = plan_of(pool, folder, a="s", b="s")
    pool.add_case("meanwhile", scan(7), LIVER, subject="patient2", **NAMED)
    assert [entry.action for entry in plan.run()] == ["refuse", "refuse"]
    assert [record.name for record in pool.records()] == ["c0", "c1", "c2", "meanwhile"]


def test_cases_of_their_own_are_not_read_twice(pool, tmp_path):
    for name, seed in (("a", 7), ("b", 8)):
        write_image(tmp_path / "source" / f"{name}.nii.gz", scan(seed))
    phases = []
    plan_import(pool, open_source(tmp_path / "source"), TRUE_VALUES, lambda done: phases.append(done.phase))
    assert "compare scans" not in phases
