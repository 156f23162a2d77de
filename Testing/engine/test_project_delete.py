"""Deleting a project takes what the engine has made, nothing else, and nothing through a link."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_scans import LABELS, drawn, scan
from stored_models import FACTS

import skcdf
from skcdf.errors import SkcdfError
from skcdf.lock import held
from skcdf.project import PARTS, Project
from skcdf.project_parts import remove_part

links = pytest.mark.skipif(os.name == "nt", reason="links need a right there")


def fill(project: Project, bundle: Path) -> None:
    """What a project gathers: cases, revisions, versions, runs, logs, cache."""
    pool, store = project.pool(), project.store()
    pool.add_case("a", scan(0), drawn(1, 2, 3), subject="a", split="training")
    pool.add_case("b", scan(1), drawn(1, 2, 3), subject="b", split="validation")
    pool.add_case("c", scan(2), None, subject="c")
    pool.revise("c", drawn(1, 2, 3))
    for _ in range(2):
        store.add(project.line(), bundle, **FACTS)
    store.promote(project.line(), "v1")
    run = project.new_run()
    shutil.copytree(bundle, run / "model")
    (run / "log.txt").write_text("2026-11-26 10:00:00  begun\n", encoding="utf-8")
    for folder in (project.logs_folder, project.cache_folder / "review"):
        folder.mkdir(exist_ok=True)
        (folder / "some.txt").write_text("x", encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, bundle: Path) -> Project:
    made = Project.create(tmp_path / "project", LABELS, "CT")
    fill(made, bundle)
    return made


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


class TestWhole:
    def test_nothing_is_left(self, project: Project) -> None:
        assert project.delete("project") == ()
        assert not project.root.exists()

    def test_what_file_managers_left_does_not_keep_the_folder(self, project: Project) -> None:
        for folder in (project.root, project.pool_folder / "imagesTr"):
            (folder / ".DS_Store").write_bytes(b"\0")
        assert project.delete("project") == ()
        assert not project.root.exists()

    @pytest.mark.parametrize(
        "place",
        [
            "letter.txt",
            "scans/patient.nii.gz",
            "pool/notes.txt",
            "pool/imagesTr/my_scan.nii.gz",
            "pool/leftovers/mine.nii.gz",
            "models/readme.txt",
            "models/project/versions/v1/slides.pptx",
            "runs/my_experiment/checkpoint.safetensors",
            "runs/notes.txt",
        ],
    )
    def test_a_persons_own_file_stays_and_is_told(self, place: str, project: Project) -> None:
        own = project.root / place
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text("mine", encoding="utf-8")
        left = project.delete("project")
        assert files_of(project.root) == {place}
        assert own == left[0] or own.is_relative_to(left[0])

    @pytest.mark.slow
    @given(
        places=st.lists(
            st.tuples(
                st.sampled_from(
                    ["", *PARTS, "pool/imagesTr", "pool/cases", "models/project/versions", "runs"]
                ),
                st.from_regex(r"[a-z]{1,6}(\.(txt|nii\.gz|nrrd|dcm|pth))?", fullmatch=True),
            ),
            max_size=6,
        )
    )
    @settings(max_examples=15, deadline=None)
    def test_whatever_lies_where_only_known_files_go(self, places, tmp_path_factory, bundle) -> None:
        made = Project.create(tmp_path_factory.mktemp("any") / "project", LABELS, "CT")
        fill(made, bundle)
        own = {f"{folder}/{name}".lstrip("/") for folder, name in places}
        own = {
            path for path in own if path.split("/")[0] not in ("logs", "cache") or path in ("logs", "cache")
        }
        for path in sorted(own):
            target = made.root / path
            if not target.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text("mine", encoding="utf-8")
        mine = {path for path in own if (made.root / path).is_file()}
        made.delete("project")
        assert (files_of(made.root) if made.root.exists() else set()) == mine

    def test_a_folder_without_project_file_is_not_touched(self, project: Project) -> None:
        (project.root / "project.json").unlink()
        before = files_of(project.root)
        with pytest.raises(SkcdfError, match="no project"):
            project.delete("project")
        assert files_of(project.root) == before

    def test_a_pool_that_is_broken_goes_with_the_project(self, project: Project) -> None:
        (project.pool_folder / "pool.json").write_text("{", encoding="utf-8")
        assert project.delete("project") == ()
        assert not project.root.exists()


class TestParts:
    def test_runs_cache_and_logs_go_and_their_folders_stay(self, project: Project) -> None:
        project.delete("runs", "cache", "logs")
        for folder in (project.runs_folder, project.cache_folder, project.logs_folder):
            assert folder.is_dir() and not list(folder.iterdir())
        assert project.counts().labelled == 2 and project.store().state(project.line()).promoted == "v1"

    def test_without_its_cases_the_pool_is_an_empty_one_with_the_same_labels(self, project: Project) -> None:
        salt = project.pool().description.salt
        assert project.delete("pool") == ()
        pool = Project.open(project.root).pool()
        assert pool.records() == () and pool.label_set == LABELS and pool.description.salt == salt
        assert not [path for path in files_of(pool.root) if path.endswith(".nii.gz")]
        assert pool.verify().problems == ()
        pool.add_case("a", scan(0), drawn(1, 2, 3), subject="a")
        assert project.counts().labelled == 1

    def test_without_its_models_the_store_is_an_empty_one(self, project: Project, bundle: Path) -> None:
        assert project.delete("models") == ()
        assert project.store().lines() == ()
        assert project.store().add(project.line(), bundle, **FACTS).version == "v1"

    def test_a_part_that_is_not_known_deletes_nothing(self, project: Project) -> None:
        before = files_of(project.root)
        for parts in (("runs", "home"), (), ("..",)):
            with pytest.raises(SkcdfError):
                project.delete(*parts)
        assert files_of(project.root) == before


class TestBusy:
    @pytest.mark.parametrize(
        ("part", "lock"),
        [
            ("runs", "runs/2026-11-26_9/run.lock"),
            ("pool", "pool/locks/a.lock"),
            ("pool", "pool/locks/.pool.lock"),
            ("models", "models/project/.lock"),
        ],
    )
    @pytest.mark.parametrize("whole", [True, False])
    def test_where_a_program_works_nothing_is_deleted(self, part, lock, whole, project: Project) -> None:
        with held(project.root / lock, "working"):
            before = files_of(project.root)
            with pytest.raises(SkcdfError, match=r"is held by .*: working"):
                project.delete("project" if whole else part)
            assert files_of(project.root) == before
        project.delete("project")
        assert not project.root.exists()

    @pytest.mark.parametrize("part", ["pool", "models"])
    def test_what_a_training_needs_stays_while_it_runs(self, part: str, project: Project) -> None:
        with held(project.runs_folder / "2026-11-26_9" / "run.lock", "training"):
            before = files_of(project.root)
            with pytest.raises(SkcdfError, match=r"is held by .*: training"):
                project.delete(part)
            assert files_of(project.root) == before
            assert project.delete("cache") == ()
        assert project.delete(part) == ()

    def test_a_file_that_cannot_be_removed_is_told_and_the_rest_can_be_deleted_later(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Path.unlink

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if path.name == "model.json":
                raise PermissionError(13, "The process cannot access the file", str(path))
            real(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        with pytest.raises(SkcdfError, match=r"model\.json: cannot be deleted"):
            project.delete("project")
        assert (project.root / "project.json").is_file()
        monkeypatch.undo()
        assert Project.open(project.root).delete("project") == ()
        assert not project.root.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no folders that only reading is allowed in")
class TestReadOnly:
    @pytest.fixture
    def closed(self, bundle: Path) -> Iterator[Project]:
        """A project in which nothing may be written, which others than the user who runs the tests may enter."""
        folder = Path(tempfile.mkdtemp())
        project = Project.create(folder / "project", LABELS, "CT")
        fill(project, bundle)
        shutil.rmtree(project.cache_folder / "review")
        for path in (*project.root.rglob("*"), project.root, folder):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield project
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(folder)

    def deleted(self, project: Project, part: str) -> str:
        """What a user who may only read is told."""
        code = f"""
import os, sys
import skcdf
from skcdf.errors import SkcdfError
from skcdf.project import Project
project = Project.open(sys.argv[1])
{"os.setuid(65534)" if os.geteuid() == 0 else ""}
try:
    print("deleted", project.delete("{part}"))
except SkcdfError as error:
    print(error)
"""
        environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
        command = [sys.executable, "-c", code, str(project.root)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment, check=True
        ).stdout

    @pytest.mark.parametrize(
        "part",
        [
            "cache",
            "project",
            *(pytest.param(each, marks=pytest.mark.slow) for each in ("logs", "models", "pool")),
        ],
    )
    def test_is_told_before_anything_goes_even_where_a_part_is_empty(
        self, part: str, closed: Project
    ) -> None:
        before = files_of(closed.root)
        assert "nothing can be deleted there" in self.deleted(closed, part)
        assert files_of(closed.root) == before


@links
class TestLinks:
    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> Path:
        folder = tmp_path / "elsewhere"
        (folder / "2026-11-26_1").mkdir(parents=True)
        for name in ("scan_0123456789abcdef_0000.nii.gz", "2026-11-26_1/log.txt"):
            (folder / name).write_text("another's", encoding="utf-8")
        return folder

    def test_a_part_that_is_a_link_is_refused(self, project: Project, elsewhere: Path) -> None:
        shutil.rmtree(project.runs_folder)
        project.runs_folder.symlink_to(elsewhere)
        before = files_of(project.root)
        with pytest.raises(SkcdfError, match="is a link"):
            project.delete("project")
        assert files_of(project.root) == before and len(files_of(elsewhere)) == 2

    @pytest.mark.parametrize("place", ["pool/imagesTr", "runs", "runs/2026-11-26_1", "cache", "logs"])
    def test_links_within_are_left_and_what_they_lead_to_stays(self, place, project, elsewhere) -> None:
        (project.root / place).mkdir(exist_ok=True)
        for name, target in (("2026-11-26_7", elsewhere), ("scan_00000000000000aa_0000.nii.gz", elsewhere)):
            (project.root / place / name).symlink_to(target)
        left = project.delete("project")
        assert {path.name for path in left} >= {"2026-11-26_7", "scan_00000000000000aa_0000.nii.gz"}
        assert len(files_of(elsewhere)) == 2

    def test_a_project_opened_through_a_link_is_deleted_where_it_is(self, project, tmp_path) -> None:
        (tmp_path / "link").symlink_to(project.root)
        Project.open(tmp_path / "link").delete("project")
        assert files_of(project.root) == set()


def test_a_part_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert [remove_part(tmp_path, part, whole=True) for part in PARTS] == [()] * len(PARTS)
