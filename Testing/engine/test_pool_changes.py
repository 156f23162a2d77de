"""Revisions, withdrawal, pinned validation, previews and new labels: nothing is lost and nothing leaks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skcdf
from skcdf.datasets import open_dataset
from skcdf.errors import SkcdfError
from skcdf.files import read_json
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map, write_image
from skcdf.labels import LabelSet
from skcdf.pool import KnownSubject, LabelledPool
from skcdf.pool_newcomer import validating_subjects

ORGANS = ["spleen", "right_kidney", "left_kidney"]
LABELS = LabelSet.from_names("toy", ORGANS)
GEOMETRY = Geometry((12, 6, 5), (1.0, 1.0, 2.0), (-10.0, 20.0, 30.0))


def scan(seed: int) -> Image:
    voxels = np.random.default_rng(seed).integers(-1000, 1000, GEOMETRY.shape)
    return Image(voxels.astype(np.int16), GEOMETRY)


def drawn(*values: int, size: int = 2, swapped: bool = False) -> Image:
    """Organs from the patient's right to left: right kidney, spleen, left kidney."""
    voxels = np.zeros(GEOMETRY.shape, np.uint8)
    places = {2: 0, 1: 4, 3: 8} if not swapped else {3: 0, 1: 4, 2: 8}
    for value in values:
        voxels[1:4, 1 : 1 + size, places[value] : places[value] + 3] = value
    return Image(voxels, GEOMETRY)


def snapshot(pool: LabelledPool) -> dict[str, bytes]:
    files = (path for path in pool.root.rglob("*") if path.is_file() and "locks" not in path.parts)
    return {path.relative_to(pool.root).as_posix(): path.read_bytes() for path in files}


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


class TestVerify:
    def test_names_every_kind_of_damage(self, pool):
        for index, name in enumerate(("scan", "label", "gone", "values")):
            pool.add_case(name, scan(index), drawn(1, 2), subject=name, split="training")
        good = pool.verify()
        assert (good.cases, good.problems) == (4, ())
        files = {record.name: record for record in pool.records()}
        write_image(pool.root / files["scan"].image_file, scan(99))
        write_image(pool.root / files["label"].revisions[0].file, drawn(1))
        (pool.root / files["gone"].image_file).unlink()
        write_image(pool.root / files["values"].revisions[0].file, Image(drawn(1).array * 9, GEOMETRY))
        problems = {problem.case: str(problem) for problem in pool.verify().problems}
        assert "is not the scan that was added" in problems["scan"]
        assert "is not the label map that was accepted" in problems["label"]
        assert files["gone"].image_file in problems["gone"]
        assert "holds [9]" in problems["values"]

    def test_finds_what_was_changed_by_hand_in_the_case_files(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada", split="training")
        pool.add_case("two", scan(2), drawn(1), subject="Grace", split="validation")
        text = (pool.root / "cases/two.json").read_text()
        first, second = pool.records()
        (pool.root / "cases/two.json").write_text(text.replace(second.subject, first.subject))
        (pool.root / "cases/three.json").write_text("{")
        problems = [str(problem) for problem in pool.verify().problems]
        assert any("two: its subject is that of one" in problem for problem in problems)
        assert any("three" in problem for problem in problems)
        # with a broken case file nothing is tidied up: its files must not be taken for left over
        assert not (pool.root / "leftovers").exists()

    def test_moves_what_nobody_names_and_deletes_no_content(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        case_file = pool.root / "cases/one.json"
        lost = [file for file in snapshot(pool) if file.startswith(("imagesTr", "labelsTr"))]
        case_file.unlink()
        (pool.root / "imagesTr/notes.txt").write_text("mine")
        report = pool.verify()
        assert {path.name for path in (pool.root / "leftovers").iterdir()} == {
            Path(file).name for file in lost
        }
        assert len(report.repaired) == 3  # two files and dataset.json
        assert [problem.case for problem in report.problems] == ["notes.txt"]
        assert (pool.root / "imagesTr/notes.txt").read_text() == "mine"

    def test_leaves_the_work_of_a_program_that_runs_alone(self, pool):
        from skcdf.lock import held

        with held(pool.root / "locks" / "one.lock", "adding one"):
            (pool.root / "incoming/one").mkdir(parents=True)
            assert pool.verify().repaired == ()
            assert (pool.root / "incoming/one").is_dir()
        assert "incoming/one" in pool.verify().repaired[0]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that users other than the one who runs the tests may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def run_restricted(restriction: str, pool: LabelledPool) -> subprocess.CompletedProcess:
    """Adds a case in a process of its own, under a restriction that begins after its imports."""
    code = f"""
import os, resource, signal, sys, numpy as np
from skcdf.pool import KnownSubject, LabelledPool
from skcdf.geometry import Geometry
from skcdf.image import Image
import nibabel, scipy.ndimage
from skcdf.errors import SkcdfError
pool = LabelledPool.open(sys.argv[1])
noise = np.random.default_rng(0).integers(-1000, 1000, (30, 40, 50)).astype(np.int16)
geometry = Geometry((50, 40, 30), (1.0, 1.0, 1.0))
labels = np.zeros((30, 40, 50), np.uint8)
labels[3:9, 3:9, 3:9] = 1
{restriction}
try:
    pool.add_case("two", Image(noise, geometry), Image(labels, geometry), subject="Grace")
except SkcdfError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(pool.root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


class TestTroubleOutside:
    def test_a_full_disk_is_told_and_leaves_the_pool_as_it_was(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        before = snapshot(pool)
        limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))"
        done = run_restricted(limit, pool)
        assert "cannot be written (File too large). Check the free disk space" in done.stdout, done.stderr
        assert snapshot(pool) == before
        assert not list((pool.root / "incoming").iterdir())

    @pytest.mark.skipif(
        sys.platform == "win32", reason="Windows has no folders that only reading is allowed in"
    )
    def test_a_folder_that_cannot_be_written_is_told(self, open_folder):
        pool = LabelledPool.create(open_folder / "pool", LABELS, "CT")
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        before = snapshot(pool)
        for path in pool.root.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        pool.root.chmod(0o555)
        restriction = "os.setuid(65534)" if os.geteuid() == 0 else ""
        done = run_restricted(restriction, pool)
        assert "cannot be written (Permission denied)" in done.stdout, done.stderr
        assert snapshot(pool) == before
        for path in (pool.root, *pool.root.rglob("*")):
            path.chmod(0o755)

    @pytest.mark.parametrize("change", ["add", "revise", "withdraw", "verify", "records"])
    def test_a_drive_that_is_gone_is_told_and_nothing_is_made_in_its_place(self, pool, change):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        pool.root.rename(pool.root.with_name("elsewhere"))
        pool.root.mkdir()  # a mount point that is empty now
        with pytest.raises(SkcdfError, match="pool is not there"):
            {
                "add": lambda: pool.add_case("two", scan(2), drawn(1), subject="Grace"),
                "revise": lambda: pool.revise("one", drawn(1, 2)),
                "withdraw": lambda: pool.withdraw("one"),
                "verify": pool.verify,
                "records": pool.records,
            }[change]()
        assert list(pool.root.iterdir()) == []

    def test_a_case_stays_when_only_the_derived_file_cannot_be_written(self, pool, monkeypatch, caplog):
        def fail(*arguments: object) -> None:
            raise SkcdfError("dataset.json: cannot be written (No space left on device).")

        with monkeypatch.context() as patch:
            patch.setattr("skcdf.pool_folder.PoolFolder.write_dataset_json", fail)
            pool.add_case("one", scan(1), drawn(1), subject="Ada")
        assert "The case is in the pool" in caplog.text
        assert "dataset.json" in pool.verify().repaired[0]
        assert list(read_json(pool.root / "dataset.json", "data set")["dataset"]) == ["one"]

    def test_an_interrupt_just_after_the_commit_loses_nothing(self, pool, monkeypatch):
        from skcdf import pool_folder

        write = pool_folder.write_json

        def interrupted(path: Path, content: object) -> None:
            write(path, content)
            if path.parent.name == "cases":
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(pool_folder, "write_json", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pool.add_case("one", scan(1), drawn(1), subject="Ada")
        report = pool.verify()
        assert (report.cases, report.problems) == (1, ())
