"""Imports into a pool that has something already: nothing twice, nothing lost, nothing on the other side."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foreign_folders import (
    GRID,
    LABELS,
    TRUE_VALUES,
    files_of,
    organs,
    scan,
    stored,
    write_pair,
)
from seg_nrrd_files import KIDNEY, LEFT, RIGHT, FileSegment, write_seg_nrrd

from skcdf.case_names import CaseNames
from skcdf.errors import Cancelled
from skcdf.geometry import AxisOrder
from skcdf.image import Image, read_image, read_label_map, write_image, write_label_map
from skcdf.label_mapping import MappingFile
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


class TestAgain:
    def test_what_is_there_is_left_alone(self, pool, folder):
        for seed, name in enumerate("abc"):
            write_pair(folder, name, seed, organs(liver=4) if name != "c" else None)
        plan_import(pool, open_source(folder), TRUE_VALUES).run()
        before = files_of(pool.root)
        plan = plan_import(pool, open_source(folder), TRUE_VALUES)
        assert [entry.action for entry in plan.run()] == ["there"] * 3
        assert files_of(pool.root) == before

    def test_goes_on_after_an_interruption(self, pool, folder):
        for seed, name in enumerate("abcd"):
            write_pair(folder, name, seed, organs(liver=4))
        plan, token = plan_import(pool, open_source(folder), TRUE_VALUES), CancelToken()
        with pytest.raises(Cancelled):
            plan.run(cancel=token, done=lambda entry: token.cancel() if entry.name == "b" else None)
        assert [case.name for case in pool.dataset().cases] == ["a", "b"]
        again = plan_import(pool, open_source(folder), TRUE_VALUES)
        assert [entry.action for entry in again.entries] == ["there", "there", "add", "add"]
        assert [entry.split for entry in again.entries] == [entry.split for entry in plan.entries]
        again.run()
        assert len(pool.dataset().cases) == 4

    def test_another_label_map_becomes_a_revision_only_when_asked(self, pool, folder):
        write_pair(folder, "a", 1, organs(liver=4))
        plan_import(pool, open_source(folder), TRUE_VALUES).run()
        shutil.rmtree(folder)
        write_pair(folder, "b", 1, organs(liver=4, spleen=1))
        (entry,) = plan_import(pool, open_source(folder), TRUE_VALUES).run()
        assert (entry.name, entry.action) == ("a", "differs")
        assert len(pool.record("a").revisions) == 1
        (entry,) = plan_import(
            pool, open_source(folder), ImportOptions(values_are_targets=True, revise=True)
        ).run()
        assert (entry.name, entry.action) == ("a", "revise")
        np.testing.assert_array_equal(stored(pool, "a"), organs(liver=4, spleen=1))

    def test_a_label_map_that_was_corrected_since_does_not_come_back(self, pool, folder):
        write_pair(folder, "a", 1, organs(liver=4))
        plan_import(pool, open_source(folder), TRUE_VALUES).run()
        pool.revise("a", Image(organs(liver=4, spleen=1), GRID), annotated=["liver", "spleen"])
        options = ImportOptions(values_are_targets=True, revise=True)
        (entry,) = plan_import(pool, open_source(folder), options).run()
        assert (entry.action, entry.reason) == ("there", "It has been revised since.")

    def test_a_revision_that_names_fewer_organs_is_told(self, pool, folder):
        write_pair(folder, "a", 1, organs(liver=4, spleen=1))
        plan_import(pool, open_source(folder), TRUE_VALUES).run()
        write_label_map(folder / "labels/a.nii.gz", organs(liver=4), GRID)
        (entry,) = plan_import(pool, open_source(folder), TRUE_VALUES).entries
        assert "would no longer be annotated: spleen" in entry.warnings

    def test_an_unlabelled_case_gets_its_labels(self, pool, folder):
        write_pair(folder, "a", 1, organs(liver=4))
        pool.add_case("a", scan(1), None, subject="a")
        plan_import(pool, open_source(folder), ImportOptions(values_are_targets=True, revise=True)).run()
        assert [case.state for case in pool.dataset().cases] == ["labelled"]

    def test_a_scan_that_turns_out_to_be_of_one_who_validates_is_not_trained_on(self, pool, folder):
        pool.add_case(
            "early", scan(0), Image(organs(liver=4), GRID), subject="archive 4711", split="validation"
        )
        pool.add_case("late", scan(1), None, subject="late")
        write_pair(folder, "late", 1, organs(liver=4))
        named = MappingFile(subjects={"late": "archive 4711"})
        options = ImportOptions(values_are_targets=True, revise=True, file=named)
        (entry,) = plan_import(pool, open_source(folder), options).run()
        assert entry.action == "refuse"
        assert "same subject as late, which is for training, and as early, which validates" in entry.reason
        assert pool.record("late").state == "unlabelled"

    def test_that_it_validates_meanwhile_is_seen_when_it_is_revised(self, pool, folder):
        pool.add_case("late", scan(1), None, subject="late")
        write_pair(folder, "late", 1, organs(liver=4))
        named = MappingFile(subjects={"late": "archive 4711"})
        options = ImportOptions(values_are_targets=True, revise=True, file=named)
        plan = plan_import(pool, open_source(folder), options)
        pool.add_case(
            "early", scan(0), Image(organs(liver=4), GRID), subject="archive 4711", split="validation"
        )
        (entry,) = plan.run()
        assert entry.action == "refuse" and "nobody may be both" in entry.reason

    def test_a_revision_says_whose_scan_it_is_where_only_the_cases_name_was_known(self, pool, folder):
        pool.add_case("late", scan(1), None, subject="late")
        write_pair(folder, "b", 1, organs(liver=4))
        options = ImportOptions(values_are_targets=True, revise=True)
        plan_import(pool, open_source(folder), options).run()
        assert pool.record("late").subject == pool.subject_hash("late")  # "b" is nobody's name
        write_label_map(folder / "labels/b.nii.gz", organs(liver=3), GRID)
        named = replace(options, file=MappingFile(subjects={"b": "archive 4711"}))
        (entry,) = plan_import(pool, open_source(folder), named).run()
        assert entry.action == "revise"
        assert pool.record("late").subject == pool.subject_hash("archive 4711")

    def test_that_it_cannot_validate_any_more_is_told(self, pool, folder):
        pool.add_case("a", scan(1), None, subject="a")
        write_pair(folder, "a", 1, organs(liver=4))
        options = ImportOptions(values_are_targets=True, revise=True, split="validation")
        (entry,) = plan_import(pool, open_source(folder), options).run()
        assert (entry.action, entry.split) == ("revise", "training")
        assert "stays in training" in entry.warnings

    def test_a_withdrawn_case_stays_withdrawn(self, pool, folder):
        write_pair(folder, "a", 1, organs(liver=4))
        plan_import(pool, open_source(folder), TRUE_VALUES).run()
        pool.withdraw("a")
        (entry,) = plan_import(pool, open_source(folder), TRUE_VALUES).run()
        assert entry.action == "there" and "withdrawn" in entry.reason

    def test_a_case_that_another_program_has_added_meanwhile_is_told(self, pool, folder):
        for seed, name in enumerate("ab"):
            write_pair(folder, name, seed, organs(liver=4))
        plan = plan_import(pool, open_source(folder), TRUE_VALUES)
        pool.add_case("x", scan(0), None, subject="x")
        assert [entry.action for entry in plan.run()] == ["refuse", "add"]


class TestNames:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("case 07", "case_07"),
            ("Müller, Jörg", "Muller_Jorg"),
            ("../x", "x"),
            ("CON", "case_CON"),
            ("肝", "case"),
            (".hidden", "hidden"),
            ("a" * 200, "a" * 94),
            ("fine-1.2", "fine-1.2"),
        ],
    )
    def test_become_suitable(self, name, expected):
        assert CaseNames(()).new(name) == expected

    def test_are_never_taken_twice(self):
        names = CaseNames(["A_1"])
        assert [names.new(name) for name in ("a 1", "a,1", "A_1", "b")] == ["a_1_2", "a_1_3", "A_1_4", "b"]

    def test_of_different_scans_may_be_the_same(self, pool, folder):
        pool.add_case("a", scan(9), None, subject="x")
        write_pair(folder, "a", 1, organs(liver=4))
        plan = plan_import(pool, open_source(folder), TRUE_VALUES)
        assert (plan.entries[0].name, plan.entries[0].warnings) == ("a_2", ("is called a in the source",))


# Every axis comes first, second and last, forwards and backwards; all 48 orders are tested in test_seg_nrrd.
ORDERS = [
    AxisOrder((a, (a + step) % 3, (a + 2 * step) % 3), flips)
    for a, step, flips in (
        (0, 1, (False, False, False)),
        (0, 2, (True, False, False)),
        (1, 1, (False, True, False)),
        (1, 2, (False, False, True)),
        (2, 1, (True, True, True)),
        (2, 2, (False, True, True)),
    )
]


@pytest.mark.parametrize("order", ORDERS, ids=str)
class TestSidesOfEveryGrid:
    def test_a_left_kidney_stays_on_the_patients_left(self, pool, tmp_path, order):
        """Scan and segmentation are stored in an axis order each; the pool's voxels lie where they were drawn."""
        mirror = AxisOrder((2, 0, 1), (True, False, True))
        folder = tmp_path / "source"
        write_image(folder / "a.nrrd", Image(order.apply(scan(1).array), order.apply_to_geometry(GRID)))
        drawn = organs(left_kidney=1, right_kidney=2)
        segments = (FileSegment("Niere", 1, 0, KIDNEY, LEFT), FileSegment("KidneyRight", 2, 0, KIDNEY, RIGHT))
        write_seg_nrrd(folder / "a.seg.nrrd", mirror.apply(drawn), mirror.apply_to_geometry(GRID), segments)
        (entry,) = plan_import(pool, open_source(folder)).run()
        assert entry.action == "add"
        (case,) = pool.dataset().cases
        label = read_label_map(case.label)
        for value, x in ((3, 10.5), (2, 1.5)):
            centre = label.geometry.position(np.argwhere(label.array == value).mean(axis=0)[::-1])
            np.testing.assert_allclose(centre, GRID.position((x, 3, 2)), atol=1e-3)
        assert label.geometry.same_grid(read_image(case.image).geometry)

    def test_a_revision_lies_on_the_pools_copy_of_the_scan(self, pool, tmp_path, order):
        folder = tmp_path / "source"
        pool.add_case("a", scan(1), None, subject="a")
        geometry = order.apply_to_geometry(GRID)
        write_image(folder / "a.nrrd", Image(order.apply(scan(1).array), geometry))
        drawn = organs(left_kidney=3, right_kidney=2)
        write_label_map(folder / "a_seg.nrrd", order.apply(drawn), geometry)
        options = ImportOptions(values_are_targets=True, revise=True)
        (entry,) = plan_import(pool, open_source(folder), options).run()
        assert entry.action == "revise"
        np.testing.assert_array_equal(stored(pool, "a"), drawn)
