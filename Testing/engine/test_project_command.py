"""``skcdf project``: made, shown and deleted from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_scans import drawn, scan
from stored_models import FACTS

from skcdf.cli import main
from skcdf.labels import LabelSet
from skcdf.project import Project

ORGANS = "spleen, right_kidney, left_kidney"


@pytest.fixture
def run(capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of ``skcdf project …``."""
        code = main(["project", *map(str, arguments)])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def folder(run, tmp_path) -> Path:
    code, out, _ = run("create", tmp_path / "p", "--organs", ORGANS, "--modality", "CT", "--name", "My Dogs")
    assert code == 0 and "My_Dogs" in out and "SCT:" in out
    return tmp_path / "p"


def test_a_shipped_label_set_can_be_named(run, tmp_path) -> None:
    code, _, _ = run("create", tmp_path / "p", "--labels", "synapse13", "--modality", "CT")
    assert code == 0
    assert Project.open(tmp_path / "p").pool().label_set == LabelSet.load("synapse13")


def test_what_it_holds_is_shown_to_people_and_to_programs(run, folder, bundle) -> None:
    project = Project.open(folder)
    project.pool().add_case("a", scan(0), drawn(1, 2, 3), subject="a")
    project.store().add(project.line(), bundle, **FACTS)
    project.store().promote(project.line(), "v1")
    code, out, _ = run("show", folder)
    assert code == 0 and "1 labelled" in out and "1 versions, v1 in use" in out
    code, out, _ = run("show", folder, "--json")
    content = json.loads(out)
    assert code == 0 and content["counts"]["labelled"] == 1 and content["line"] == "My_Dogs"
    assert content["bytes"] == project.size() and content["unfinished_run"] is None


def test_a_synchronised_folder_is_warned_of(run, tmp_path) -> None:
    folder = tmp_path / "Nextcloud" / "p"
    _, out, _ = run("create", folder, "--organs", ORGANS, "--modality", "CT")
    assert "warning: the folder is synchronised with Nextcloud" in out
    assert "Nextcloud" in run("show", folder)[1]
    assert json.loads(run("show", folder, "--json")[1])["cloud"] == "Nextcloud"


def test_nothing_is_deleted_without_being_said_twice(run, folder) -> None:
    code, _, error = run("delete", folder, "runs", "project")
    assert code == 1 and "nothing was deleted" in error and "--yes" in error
    assert Project.open(folder).counts().labelled == 0


def test_parts_and_then_everything_are_deleted(run, folder) -> None:
    project = Project.open(folder)
    (project.logs_folder / "a.log").write_bytes(b"x" * 5000)
    (project.pool_folder / "notes.txt").write_text("mine", encoding="utf-8")
    code, out, _ = run("delete", folder, "logs", "--yes")
    assert code == 0 and "logs (5 kB)" in out and not list(project.logs_folder.iterdir())
    code, out, _ = run("delete", folder, "project", "--yes")
    assert code == 0 and f"not the project's: {project.pool_folder / 'notes.txt'}" in out
    assert [path.name for path in folder.rglob("*")] == ["pool", "notes.txt"]


def test_a_part_that_is_not_known_is_told(run, folder) -> None:
    code, _, error = run("delete", folder, "scans", "--yes")
    assert code == 1 and "no part scans" in error and "runs, cache, logs, models, pool, project" in error
