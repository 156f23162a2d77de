"""A project's folder: made in an empty place or not at all, opened, counted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from small_scans import LABELS, drawn, scan
from stored_models import FACTS

from skcdf.errors import SkcdfError
from skcdf.files import read_json, write_json
from skcdf.project import PARTS, PoolCounts, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "Leber CT", LABELS, "CT")


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


class TestCreate:
    def test_makes_an_empty_pool_a_store_and_the_folders(self, project: Project) -> None:
        assert project.pool().label_set == LABELS
        assert project.pool().records() == () and project.store().lines() == ()
        assert {path.name for path in project.root.iterdir()} == {*PARTS, "project.json"}

    def test_what_is_opened_again_is_the_same(self, project: Project) -> None:
        assert Project.open(project.root) == project
        assert project.name == "Leber CT" and project.line() == "Leber_CT"

    def test_phantoms_are_called_so_from_the_beginning(self, tmp_path: Path) -> None:
        made = Project.create(tmp_path / "p", LABELS, "MR", "Phantoms", synthetic=True)
        assert made.pool().description.synthetic and made.pool().description.modality == "MR"

    def test_takes_an_empty_folder_whatever_file_managers_left_there(self, tmp_path: Path) -> None:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / ".DS_Store").write_bytes(b"\0")
        assert Project.create(tmp_path / "new", LABELS, "CT").name == "new"

    def test_refuses_a_folder_that_holds_something_and_leaves_it_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(SkcdfError, match="empty folder"):
            Project.create(tmp_path, LABELS, "CT")
        assert everything(tmp_path) == {"thesis.txt"}

    def test_a_project_is_not_made_over_another(self, project: Project) -> None:
        with pytest.raises(SkcdfError) as raised:
            Project.create(project.root, LABELS, "CT")
        assert raised.value.hint == "Open it instead."

    def test_a_file_in_the_folders_place_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(SkcdfError, match="empty folder"):
            Project.create(tmp_path / "file", LABELS, "CT")

    @pytest.mark.parametrize("there", [True, False])
    def test_a_failure_on_the_way_leaves_nothing(self, there, tmp_path, monkeypatch) -> None:
        folder = tmp_path / "new"
        if there:
            folder.mkdir()

        def full(path: Path, _content: object) -> None:
            raise OSError(28, "No space left on device", str(path))

        monkeypatch.setattr("skcdf.project.write_json", full)
        with pytest.raises(SkcdfError, match=r"project\.json: cannot be read or written \(No space left"):
            Project.create(folder, LABELS, "CT")
        assert folder.exists() == there
        assert everything(tmp_path) == ({"new"} if there else set())

    @pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_the_right_to_write_is_told(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(SkcdfError, match="cannot be"):
            Project.create(tmp_path / "new", LABELS, "CT")
        tmp_path.chmod(0o700)

    @pytest.mark.parametrize("name", ["two\nlines\x07", "x" * 101, " \t "])
    def test_a_name_that_nobody_can_read_is_refused(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(SkcdfError, match="cannot be a project's name"):
            Project.create(tmp_path / "new", LABELS, "CT", name)
        assert not (tmp_path / "new").exists()

    def test_no_folder_is_not_the_one_where_the_program_runs(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SkcdfError, match="No project folder"):
            Project.create("", LABELS, "CT")
        with pytest.raises(SkcdfError, match="No project folder"):
            Project.open("")
        assert everything(tmp_path) == set()


class TestLine:
    @pytest.mark.parametrize(
        ("name", "line"),
        [
            ("Leber und Milz, Süd", "Leber_und_Milz_Sud"),
            ("CON", "model_CON"),
            ("肝臓", "model"),
            ("store.json", "model_store.json"),
            ("..", "model"),
            ("x" * 100, "x" * 64),
        ],
    )
    def test_every_name_gives_one_that_models_can_have(self, name, line, tmp_path, bundle) -> None:
        project = Project.create(tmp_path / "p", LABELS, "CT", name)
        assert project.line() == line
        assert project.store().add(project.line(), bundle, **FACTS).version == "v1"

    def test_it_stays_when_the_project_is_renamed(self, project: Project) -> None:
        content = read_json(project.root / "project.json", "project")
        write_json(project.root / "project.json", {**content, "name": "Another name"})
        renamed = Project.open(project.root)
        assert renamed.name == "Another name" and renamed.line() == project.line()


class TestOpen:
    def test_what_is_no_project_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(SkcdfError, match=r"no project, it lacks project\.json"):
            Project.open(tmp_path)

    def test_a_pool_by_itself_gets_advice(self, project: Project) -> None:
        with pytest.raises(SkcdfError) as raised:
            Project.open(project.pool_folder)
        assert "import the pool" in raised.value.hint

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ({"schema": 2}, "schema 2 is not known"),
            ({"schema": 1, "name": "x"}, "field line is missing"),
            ({"schema": 1, "name": 3, "line": "x", "created": "x"}, "field name must be a text"),
            ([], "field schema is missing"),
        ],
    )
    def test_a_damaged_file_is_told_with_its_field(self, content, words, project: Project) -> None:
        write_json(project.root / "project.json", content)
        with pytest.raises(SkcdfError, match=words):
            Project.open(project.root)

    def test_a_line_changed_by_hand_cannot_lead_out_of_the_store(self, project: Project) -> None:
        content = read_json(project.root / "project.json", "project")
        write_json(project.root / "project.json", {**content, "line": "../../evil"})
        assert Project.open(project.root).line() == "evil"

    def test_missing_folders_are_made_anew_and_a_missing_pool_is_told(self, project: Project) -> None:
        for part in PARTS:
            shutil.rmtree(project.root / part)
        again = Project.open(project.root)
        assert all(each.is_dir() for each in (again.runs_folder, again.logs_folder, again.cache_folder))
        assert again.store().lines() == ()
        with pytest.raises(SkcdfError, match="pool"):
            again.counts()

    def test_it_can_be_moved(self, project: Project, tmp_path: Path) -> None:
        moved = tmp_path / "elsewhere" / "p"
        moved.parent.mkdir()
        project.root.rename(moved)
        again = Project.open(moved)
        assert again.pool().label_set == LABELS and again.new_run().is_relative_to(moved)

    def test_nothing_is_made_where_a_project_was_moved_away(self, project: Project, tmp_path: Path) -> None:
        project.root.rename(tmp_path / "elsewhere")
        with pytest.raises(SkcdfError, match="is not there any more"):
            project.store()
        assert not project.root.exists(), "it would be in the way when the folder is put back"


class TestCounts:
    def test_every_case_counts_once_by_what_it_is_for(self, project: Project) -> None:
        pool = project.pool()
        pool.add_case("full", scan(0), drawn(1, 2, 3), subject="a", split="training")
        pool.add_case("some", scan(1), drawn(1), subject="b", split="training", annotated=["spleen"])
        pool.add_case("kept", scan(2), drawn(1), subject="c", split="validation", annotated=["spleen"])
        pool.add_case("bare", scan(3), None, subject="d")
        pool.add_case("more", scan(4), None, subject="e")
        for number in range(3):
            pool.add_case(f"old{number}", scan(5 + number), drawn(1, 2, 3), subject=f"f{number}")
            pool.withdraw(f"old{number}")
        assert project.counts() == PoolCounts(labelled=1, partly=1, validation=1, unlabelled=2, withdrawn=3)


def test_the_size_is_told_part_by_part(project: Project) -> None:
    before = project.size()
    (project.logs_folder / "worker.log").write_bytes(b"x" * 1000)
    project.pool().add_case("a", scan(0), drawn(1), subject="a")
    after = project.size()
    assert after["logs"] == before["logs"] + 1000
    assert after["pool"] > before["pool"]
    files = (path for path in project.root.rglob("*") if path.is_file())
    assert after["project"] == sum(path.stat().st_size for path in files)


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_what_a_link_leads_to_has_no_size(project: Project, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 10_000)
    before = project.size()
    (project.logs_folder / "link").symlink_to(tmp_path / "large")
    (project.logs_folder / "folder").symlink_to(tmp_path)
    assert project.size() == before
