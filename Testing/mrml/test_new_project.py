"""What the window *New project* says before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.project import Project
from SKCDFSegmenterLib.NewProject import (
    cloudWarning,
    folderName,
    newProject,
    organLines,
    ownLabelSet,
    phantomFolder,
    shippedLabelSets,
)

ABDOMEN = LabelSet.load("synapse13")


def test_typed_organs_may_stand_between_commas_semicolons_or_on_lines(slicer):
    names = ownLabelSet("liver, spleen;left kidney\nright kidney\n").names
    assert names == ("liver", "spleen", "left kidney", "right kidney")


@pytest.mark.parametrize("text", ["", "  ", ",;\n,"])
def test_without_an_organ_it_says_what_to_type(slicer, text):
    with pytest.raises(SkcdfError) as caught:
        ownLabelSet(text)
    assert "Type the organs' names" in caught.value.hint


def test_an_organ_the_program_does_not_know_is_told_apart_from_those_with_a_code(slicer):
    coded, named = organLines(ownLabelSet("liver, pancrease")).splitlines()
    assert "1 with standard codes" in coded and "Liver" in coded
    assert "check the spelling" in named and "pancrease" in named


def test_shipped_lists_can_be_chosen_and_the_phantoms_is_the_last(slicer):
    sets = shippedLabelSets()
    assert len(sets) > 3
    assert sets[-1].name == "phantom13"


def test_the_folder_has_the_projects_name_and_nothing_is_written(slicer, tmp_path):
    plan = newProject("  Abdomen   CT ", tmp_path, ABDOMEN, "CT")
    assert (plan.name, plan.folder) == ("Abdomen CT", tmp_path / "Abdomen CT")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "folder"), [("Liver: before/after?", "Liver_ before_after_"), ("…", "…"), ("..", "project")]
)
def test_a_name_that_folders_cannot_have_becomes_one_that_they_can(slicer, name, folder):
    assert folderName(name) == folder


def test_a_project_can_be_made_as_planned(slicer, tmp_path):
    plan = newProject("Leber: Verlauf", tmp_path, ownLabelSet("liver"), "MR")
    project = Project.create(plan.folder, plan.labelSet, plan.modality, plan.name)
    assert (project.name, project.pool().description.modality) == ("Leber: Verlauf", "MR")


def test_a_name_and_a_place_are_needed(slicer, tmp_path):
    with pytest.raises(SkcdfError, match="no name"):
        newProject("  ", tmp_path, ABDOMEN, "CT")
    with pytest.raises(SkcdfError, match="No folder"):
        newProject("Abdomen", "", ABDOMEN, "CT")


def test_a_project_that_is_there_is_to_be_opened(slicer, tmp_path):
    Project.create(tmp_path / "Abdomen", ABDOMEN, "CT")
    with pytest.raises(SkcdfError) as caught:
        newProject("Abdomen", tmp_path, ABDOMEN, "CT")
    assert "Open it" in caught.value.hint


def test_somebody_elses_folder_is_left_alone(slicer, tmp_path):
    (tmp_path / "Abdomen").mkdir()
    (tmp_path / "Abdomen" / "letter.txt").write_text("Dear")
    with pytest.raises(SkcdfError, match="not empty"):
        newProject("Abdomen", tmp_path, ABDOMEN, "CT")


def test_an_empty_folder_of_that_name_is_taken(slicer, tmp_path):
    (tmp_path / "Abdomen").mkdir()
    assert newProject("Abdomen", tmp_path, ABDOMEN, "CT").folder == tmp_path / "Abdomen"


@pytest.mark.skipif(
    os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root may write everywhere"
)
def test_a_place_that_cannot_be_written_is_told_before_the_click(slicer, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(SkcdfError, match="may not write"):
        newProject("Abdomen", locked, ABDOMEN, "CT")


def test_a_file_in_the_place_of_a_folder_is_told_before_the_click(slicer, tmp_path):
    (tmp_path / "notes").write_text("text")
    with pytest.raises(SkcdfError, match="may not write"):
        newProject("Abdomen", tmp_path / "notes", ABDOMEN, "CT")


def test_a_folder_that_is_copied_to_other_computers_is_warned_of(slicer, tmp_path):
    plan = newProject("Abdomen", tmp_path / "Nextcloud", ABDOMEN, "CT")
    assert "Nextcloud" in plan.warning and "other computers" in plan.warning
    assert cloudWarning(tmp_path) == ""


def test_the_phantom_goes_to_the_documents_unless_they_are_copied_elsewhere(slicer, tmp_path):
    home = tmp_path / "person"
    assert phantomFolder(home / "Documents", home).parent == home / "Documents"
    assert phantomFolder(home / "OneDrive" / "Documents", home).parent == home
    assert phantomFolder("", Path(home)).parent == home
