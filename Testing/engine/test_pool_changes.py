"""Revisions, withdrawal, pinned validation, previews and new labels: nothing is lost and nothing leaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_scans import GEOMETRY, LABELS, ORGANS, drawn, scan, snapshot

from skcdf.datasets import open_dataset
from skcdf.errors import SkcdfError
from skcdf.files import read_json
from skcdf.image import Image, read_image, read_label_map, write_image
from skcdf.labels import LabelSet
from skcdf.pool import KnownSubject, LabelledPool
from skcdf.pool_newcomer import validating_subjects


@pytest.fixture
def pool(tmp_path) -> LabelledPool:
    return LabelledPool.create(tmp_path / "pool", LABELS, "CT")


class TestRevise:
    def test_keeps_every_label_map_and_counts_the_newest(self, pool):
        pool.add_case("one", scan(1), drawn(1, 2, 3), subject="Ada")
        before = snapshot(pool)
        case = pool.revise("one", drawn(1, 2, size=3), annotated=["spleen", "right_kidney"], model="toy v2")
        np.testing.assert_array_equal(read_label_map(case.label).array, drawn(1, 2, size=3).array)
        assert case.annotated == {"spleen", "right_kidney"}
        (record,) = pool.records()
        assert [revision.model for revision in record.revisions] == [None, "toy v2"]
        first = pool.root / record.revisions[0].file
        assert first.read_bytes() == before[record.revisions[0].file]
        assert open_dataset(pool.root).cases == (case,)

    def test_takes_over_what_was_annotated_before(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada", annotated=["spleen"])
        assert pool.revise("one", drawn(1, size=3)).annotated == {"spleen"}

    def test_makes_an_unlabelled_case_a_labelled_one_whose_scan_is_no_longer_unlabelled(self, pool):
        bare = pool.add_case("one", scan(1), None, subject="Ada")
        case = pool.revise("one", drawn(1, 2, 3))
        assert (case.image.parent.name, case.state, case.split) == ("imagesTr", "labelled", "training")
        assert not bare.image.exists()
        np.testing.assert_array_equal(read_image(case.image).array, scan(1).array)
        assert list(read_json(pool.root / "dataset.json", "data set")["dataset"]) == ["one"]
        assert pool.verify().problems == ()

    def test_twice_with_the_same_label_map_keeps_one_file_and_both_entries(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada", annotated=["spleen"])
        pool.revise("one", drawn(1), annotated=ORGANS)
        (record,) = pool.records()
        assert len(record.revisions) == 2
        assert len({revision.file for revision in record.revisions}) == 1
        assert len(list((pool.root / "labelsTr").iterdir())) == 1
        assert pool.verify().problems == ()

    def test_stores_how_much_work_the_proposal_saved(self, pool):
        pool.add_case("one", scan(1), None, subject="Ada")
        pool.revise("one", drawn(1, 3), annotated=ORGANS, model="toy v1", proposal=drawn(1, 3, size=1))
        (record,) = pool.records()
        assert record.revisions[0].proposal_dice == {
            "spleen": pytest.approx(2 / 3, abs=1e-4),
            "right_kidney": None,
            "left_kidney": pytest.approx(2 / 3, abs=1e-4),
        }

    @pytest.mark.parametrize(
        ("name", "label", "message"),
        [
            ("two", drawn(1), "no case called two"),
            ("../one", drawn(1), "case's name"),
            ("one", drawn(), "empty"),
            (
                "one",
                replace(drawn(1), geometry=replace(GEOMETRY, origin=(0.0, 0.0, 0.0))),
                "not on the image's grid",
            ),
            ("one", drawn(2, 3, swapped=True), "patient's left of"),
        ],
    )
    def test_refuses_what_does_not_fit_and_changes_nothing(self, pool, name, label, message):
        pool.add_case("one", scan(1), drawn(1, 2, 3), subject="Ada")
        before = snapshot(pool)
        with pytest.raises(SkcdfError, match=message):
            pool.revise(name, label)
        assert snapshot(pool) == before

    def test_of_a_case_that_another_program_changes_is_refused_with_its_owner(self, pool, monkeypatch):
        from skcdf.lock import held

        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        monkeypatch.setattr("skcdf.lock.PATIENCE_S", 0.1)
        with held(pool.root / "locks" / "one.lock", "revising one"):
            with pytest.raises(SkcdfError, match=r"is locked by .*revising one"):
                pool.revise("one", drawn(1, 2))
            pool.add_case("two", scan(2), drawn(1), subject="Grace")  # another case is no matter
        pool.revise("one", drawn(1, 2))


class TestSides:
    def test_exchanged_labels_enter_only_when_a_person_has_looked(self, pool):
        with pytest.raises(SkcdfError, match=r"right_kidney lies 8 mm to the patient's left of left_kidney"):
            pool.add_case("one", scan(1), drawn(2, 3, swapped=True), subject="Ada")
        preview = pool.preview("one", scan(1), drawn(2, 3, swapped=True), subject="Ada", accept_sides=True)
        assert any("patient's left" in warning for warning in preview.warnings)
        pool.add_case("one", scan(1), drawn(2, 3, swapped=True), subject="Ada", accept_sides=True)
        assert pool.verify().problems == ()


class TestWithdraw:
    def test_takes_a_case_out_and_brings_it_back_with_all_its_files(self, pool):
        added = [
            pool.add_case("labelled", scan(1), drawn(1), subject="Ada"),
            pool.add_case("bare", scan(2), None, subject="Grace"),
        ]
        before = snapshot(pool)
        for case in added:
            pool.withdraw(case.name)
        assert open_dataset(pool.root).cases == ()
        assert read_json(pool.root / "dataset.json", "data set")["dataset"] == {}
        assert before.keys() <= snapshot(pool).keys()
        for case in added:
            pool.restore(case.name)
        assert snapshot(pool) == before
        assert set(open_dataset(pool.root).cases) == set(added)

    def test_does_not_make_room_for_the_same_scan_or_another_split(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada", split="validation")
        pool.withdraw("one")
        with pytest.raises(SkcdfError, match="in the pool already"):
            pool.add_case("again", scan(1), None, subject="Grace")
        with pytest.raises(SkcdfError, match="which is for validation"):
            pool.add_case("two", scan(2), drawn(1), subject="Ada", split="training")

    def test_of_a_case_that_is_not_there_is_told(self, pool):
        with pytest.raises(SkcdfError, match="no case called one"):
            pool.withdraw("one")
        assert not (pool.root / "locks").exists()

    def test_a_withdrawn_case_takes_no_revision(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        pool.withdraw("one")
        with pytest.raises(SkcdfError, match="withdrawn"):
            pool.revise("one", drawn(1, 2))


class TestPinnedValidation:
    def test_the_third_labelled_subject_validates_and_then_every_fifth(self, pool):
        splits = [
            pool.add_case(f"case{index:02}", scan(index), drawn(1), subject=str(index)).split
            for index in range(14)
        ]
        assert [index + 1 for index, split in enumerate(splits) if split == "validation"] == [3, 8, 13]

    def test_all_cases_of_a_subject_go_where_its_first_went(self, pool):
        for index in range(3):
            pool.add_case(f"first{index}", scan(index), drawn(1), subject=str(index))
        second = [pool.add_case(f"second{i}", scan(10 + i), drawn(1), subject=str(i)).split for i in range(3)]
        assert second == ["training", "training", "validation"]

    def test_the_user_decides_for_a_new_subject(self, pool):
        assert (
            pool.add_case("one", scan(1), drawn(1), subject="Ada", split="validation").split == "validation"
        )
        chosen = [
            pool.add_case(f"c{i}", scan(10 + i), drawn(1), subject=str(i), split="training") for i in range(4)
        ]
        assert {case.split for case in chosen} == {"training"}

    def test_a_scan_of_a_validating_subject_never_enters_the_unlabelled(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada", split="validation")
        with pytest.raises(SkcdfError, match="which validates"):
            pool.add_case("two", scan(2), None, subject="Ada")
        assert not (pool.root / "imagesUn").exists()

    def test_a_subject_with_an_unlabelled_scan_is_passed_over_and_the_next_one_validates(self, pool):
        for index in range(5):
            pool.add_case(f"bare{index}", scan(index), None, subject=str(index))
            pool.revise(f"bare{index}", drawn(1))
        assert pool.add_case("new", scan(9), drawn(1), subject="9").split == "validation"
        assert pool.add_case("newer", scan(10), drawn(1), subject="10").split == "training"

    @pytest.mark.parametrize("spelt", ["archive 4711", " Archive  4711 ", "ARCHIVE 4711"])
    def test_a_subject_is_the_same_however_it_is_spelt(self, pool, spelt):
        pool.add_case("one", scan(1), drawn(1), subject="Archive 4711", split="validation")
        with pytest.raises(SkcdfError, match="which validates"):
            pool.add_case("two", scan(2), None, subject=spelt)

    def test_a_letter_with_dots_is_the_same_as_one_or_two_characters(self, pool):
        assert pool.subject_hash("M\u00fcller") == pool.subject_hash("Mu\u0308ller")

    def test_a_subject_of_white_space_is_none(self, pool):
        with pytest.raises(SkcdfError, match="has no subject"):
            pool.add_case("one", scan(1), drawn(1), subject="  ")

    def test_a_subject_may_be_given_by_its_hash(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada", split="validation")
        (record,) = pool.records()
        assert (
            pool.add_case("two", scan(2), drawn(1), subject=KnownSubject(record.subject)).split
            == "validation"
        )

    def test_a_case_file_that_was_edited_to_train_on_a_validation_case_is_refused(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada", split="validation")
        path = pool.root / "cases/one.json"
        path.write_text(path.read_text().replace('"validation"', '"training"'))
        with pytest.raises(SkcdfError, match=r"one\.json.*contradicts"):
            pool.dataset()
        assert any("contradicts" in str(problem) for problem in pool.verify().problems)

    @given(st.integers(0, 500))
    def test_about_one_in_five_validates(self, labelled):
        assert abs(validating_subjects(labelled) - labelled / 5) < 1

    def test_a_validation_scan_in_another_file_another_type_and_turned_round_is_found(
        self, pool, tmp_path, axis_order
    ):
        """Under another name and another subject, too: the voxels tell."""
        ending = (".nii.gz", ".nii", ".nrrd", ".mha")[sum(axis_order.flips)]
        pool.add_case("one", scan(1), drawn(1), subject="Ada", split="validation")
        array = axis_order.apply(scan(1).array).astype(np.float32)
        write_image(tmp_path / f"copy{ending}", Image(array, axis_order.apply_to_geometry(GEOMETRY)))
        with pytest.raises(SkcdfError, match="in the pool already, as one"):
            pool.add_case("other", read_image(tmp_path / f"copy{ending}"), None, subject="Somebody else")

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["add", "bare", "revise", "withdraw", "restore"]),
                st.integers(0, 5),
                st.integers(0, 7),
                st.sampled_from([None, "training", "validation"]),
            ),
            max_size=14,
        )
    )
    def test_whatever_is_done_no_subject_and_no_scan_is_on_both_sides(self, steps, tmp_path_factory):
        pool = LabelledPool.create(tmp_path_factory.mktemp("pool") / "pool", LABELS, "CT")
        seen: dict[str, str] = {}
        for kind, subject, number, split in steps:
            name = f"case{number}"
            try:
                if kind == "add":
                    pool.add_case(name, scan(number), drawn(1), subject=str(subject), split=split)
                elif kind == "bare":
                    pool.add_case(name, scan(number), None, subject=str(subject))
                elif kind == "revise":
                    pool.revise(name, drawn(1, 2))
                else:
                    getattr(pool, kind)(name)
            except SkcdfError:
                continue
            for record in pool.records():
                for identity in (record.subject, record.image_hash):
                    assert seen.setdefault(identity, record.split) == record.split
                if record.split == "validation":
                    assert record.image_file.startswith("imagesTs/")
        dataset = pool.dataset()
        assert not {case.subject for case in dataset.training} & {case.subject for case in dataset.validation}
        assert pool.verify().problems == ()


class TestPreview:
    @pytest.mark.parametrize("annotated", [None, ["spleen", "right_kidney"]])
    def test_says_what_add_stores_and_writes_nothing(self, pool, annotated):
        before = snapshot(pool)
        preview = pool.preview("one", scan(1), drawn(1), subject="Ada", annotated=annotated)
        assert snapshot(pool) == before
        assert preview.volumes_ml["spleen"] == pytest.approx(3 * 2 * 3 * 2 / 1000)
        assert preview.volumes_ml["right_kidney"] == 0
        assert "right_kidney counts as absent" in preview.warnings[0]
        pool.add_case("one", scan(1), drawn(1), subject="Ada", annotated=annotated)
        (record,) = pool.records()
        stored = replace(
            record, created="", revisions=tuple(replace(r, created="") for r in record.revisions)
        )
        shown = preview.record
        assert stored == replace(
            shown, created="", revisions=tuple(replace(r, created="") for r in shown.revisions)
        )


class TestProtocol:
    def test_is_told_until_a_case_changes(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        pool = pool.declare_protocol("amos-5p")
        assert LabelledPool.open(pool.root).dataset().protocol == "amos-5p"
        pool.withdraw("one")
        assert pool.dataset().protocol is None
        pool.restore("one")
        assert pool.dataset().protocol == "amos-5p"
        pool.add_case("two", scan(2), None, subject="Grace")
        assert open_dataset(pool.root).protocol is None

    @pytest.mark.parametrize("change", ["revise", "add"])
    def test_is_not_told_with_other_labels_or_cases(self, pool, change):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        pool = pool.declare_protocol("amos-5p")
        if change == "revise":
            pool.revise("one", drawn(1, 2))
        else:
            pool.add_case("two", scan(2), drawn(1), subject="Grace")
        assert pool.dataset().protocol is None


class TestNewLabels:
    def test_come_at_the_end_and_were_not_annotated_so_far(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        pool.extend_labels(LabelSet.from_names("toy", [*ORGANS, "liver"]))
        assert pool.label_set.names == (*ORGANS, "liver")
        (case,) = pool.dataset().cases
        assert case.annotated == set(ORGANS)
        described = read_json(pool.root / "dataset.json", "data set")
        assert described["labels"]["liver"] == 4 and described["dataset"] == {}
        voxels = drawn(1).array.copy()
        voxels[0, 0, 0] = 4
        pool.revise("one", Image(voxels, GEOMETRY), annotated=pool.label_set.names)
        assert list(read_json(pool.root / "dataset.json", "data set")["dataset"]) == ["one"]

    def test_may_bring_the_partner_of_a_present_one(self, tmp_path):
        pool = LabelledPool.create(tmp_path / "p", LabelSet.from_names("toy", ["right_kidney"]), "CT")
        pool.extend_labels(LabelSet.from_names("toy", ["right_kidney", "left_kidney"]))
        assert [label.partner for label in pool.label_set.labels] == [2, 1]

    @pytest.mark.parametrize(
        "names", [["spleen"], ["liver", *ORGANS], ["spleen", "left_kidney", "right_kidney"]]
    )
    def test_do_not_change_the_present_ones(self, pool, names):
        before = snapshot(pool)
        with pytest.raises(SkcdfError, match="must stay as it is"):
            pool.extend_labels(LabelSet.from_names("toy", names))
        assert snapshot(pool) == before
