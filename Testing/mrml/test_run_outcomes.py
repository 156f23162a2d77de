"""Trainings of a project found again from their files, and what is decided about them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

from skcdf.errors import SkcdfError
from skcdf.fine_tune_run import RunRecord
from skcdf.labels import LabelSet
from skcdf.models import DEFAULT_MODEL, find_model, list_models
from skcdf.project import Project
from skcdf.resources import resource
from SKCDFSegmenterLib.RunOutcomes import runOfVersion, runOutcomes, undecidedOutcome
from SKCDFSegmenterLib.TrainingChoices import (
    FROM_NOTHING,
    SUGGESTED,
    startChoices,
    startReference,
    suggestedStart,
)
from SKCDFSegmenterLib.VersionRows import versionRows


@pytest.fixture
def project(tmp_path) -> Project:
    return Project.create(tmp_path / "abdomen", LabelSet.load("phantom13"), "CT", "Abdomen", synthetic=True)


def addVersion(project: Project, parent: str | None = None) -> str:
    shipped = find_model("phantom13")
    version = project.store().add(
        project.line(),
        shipped.folder,
        parent=parent,
        data_hash="",
        config={"method": "skcdf"},
        metrics=shipped.metrics,
    )
    return version.version


def addRun(project: Project, version: str | None, age_s: float = 0, kept: str = "training") -> Path:
    folder = project.new_run()
    folder.mkdir()
    finished = version is not None or kept == "start"
    RunRecord("", "", project.line(), version=version, finished=finished, kept=kept).save(folder)
    (folder / "report.html").write_text("<html></html>")
    path = folder / "fine_tuning.json"
    time = path.stat().st_mtime - age_s
    os.utime(path, (time, time))
    return folder


def test_the_newest_training_waits_for_a_decision_until_the_old_model_is_kept(project):
    old, new = addVersion(project), addVersion(project)
    addRun(project, old, age_s=60)
    folder = addRun(project, new)
    outcome = undecidedOutcome(project)
    assert (outcome.version, outcome.folder, outcome.report) == (new, folder, folder / "report.html")
    assert outcome.comparison is None
    outcome.keepOld()
    assert undecidedOutcome(project) is None
    assert runOfVersion(project, project.line(), new).isDecided


def test_a_promoted_model_is_decided(project):
    version = addVersion(project)
    addRun(project, version)
    project.store().promote(project.line(), version)
    assert undecidedOutcome(project) is None


def test_a_training_that_gained_nothing_waits_without_a_version_until_that_is_seen(project):
    addRun(project, addVersion(project), age_s=60)
    folder = addRun(project, None, kept="start")
    outcome = undecidedOutcome(project)
    assert (outcome.folder, outcome.version, outcome.gained) == (folder, "", False)
    outcome.keepOld()
    assert undecidedOutcome(project) is None, "the candidate before it is not asked about again"
    assert runOfVersion(project, project.line(), "v1").gained


def test_the_changed_start_of_a_training_is_a_candidate_that_gained_nothing(project):
    addRun(project, addVersion(project), kept="converted start")
    outcome = undecidedOutcome(project)
    assert (outcome.version, outcome.gained) == ("v1", False)


def test_runs_without_a_model_and_damaged_ones_are_none(project):
    addRun(project, None)
    broken = addRun(project, "v1")
    (broken / "fine_tuning.json").write_text("{")
    (addRun(project, "v2") / "fine_tuning.json").write_text(json.dumps(["no", "object"]))
    assert runOutcomes(project) == ()
    assert undecidedOutcome(project) is None


def test_versions_are_listed_newest_first_with_state_and_parent(project):
    first = addVersion(project)
    addVersion(project, parent=f"{project.line()}@{first}")
    project.store().promote(project.line(), first)
    rows = versionRows(project)
    assert [row.cells[0] for row in rows] == ["v2", "v1"]
    assert [row.cells[1] for row in rows] == ["candidate", "in use"]
    assert [row.cells[3] for row in rows] == [f"{project.line()}@v1", "nothing"]
    assert "Method: With unlabelled scans (SKCDF)." in rows[0].details


def test_versions_of_another_line_have_its_name(project):
    addVersion(project)
    project.store().add("other", find_model("phantom13").folder, parent=None, data_hash="", config={})
    assert [row.cells[0] for row in versionRows(project)] == ["v1", "other@v1"]


def choices(project):
    from SKCDFSegmenterLib.ModelCatalogue import modelChoices

    return modelChoices(project)


def test_a_project_of_phantoms_starts_from_the_shipped_model_until_it_has_its_own(project):
    assert startReference(SUGGESTED, choices(project), project) == "phantom13"
    version = addVersion(project)
    project.store().promote(project.line(), version)
    assert startReference(SUGGESTED, choices(project), project) == f"{project.line()}@{version}"
    assert startReference(FROM_NOTHING, choices(project), project) == ""


def test_models_that_ship_can_be_used_while_the_projects_own_cannot_be_read(project):
    addVersion(project)
    (project.store_folder / "store.json").write_text("{", encoding="utf-8")
    assert {choice.state for choice in choices(project)} == {"shipped"}
    (project.store_folder / "store.json").unlink()
    assert {choice.state for choice in choices(project)} == {"shipped"}


def test_of_those_that_ship_the_default_one_comes_first(project):
    shipped = [choice.reference for choice in choices(project)]
    assert shipped[0] == DEFAULT_MODEL and sorted(shipped) == [
        each.name for each in list_models(resource("Models"))
    ]


def test_a_model_of_phantoms_is_not_suggested_for_real_scans(tmp_path):
    real = Project.create(tmp_path / "real", LabelSet.load("synapse13"), "CT")
    assert suggestedStart(choices(real), real) is None
    assert startReference(SUGGESTED, choices(real), real) == ""
    assert "a new model" in startChoices(choices(real), real)[0].text


def test_a_start_that_is_gone_is_told_by_name(project):
    with pytest.raises(SkcdfError, match="abdomen@v9"):
        startReference("abdomen@v9", choices(project), project)


def test_every_model_can_be_chosen_as_the_start(project):
    addVersion(project)
    values = [choice.value for choice in startChoices(choices(project), project)]
    shipped = [choice.reference for choice in choices(project) if choice.state == "shipped"]
    assert values == [SUGGESTED, f"{project.line()}@v1", *shipped, FROM_NOTHING]
