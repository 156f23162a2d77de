"""The head of the panel: projects are made, opened and closed, and what is missing is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import user
from section_bench import SectionBench, makeWorkspace, parameters

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.project import Project

ABDOMEN = LabelSet.load("synapse13")


@pytest.fixture
def bench(slicer):
    """The head by itself, before any look at the computer."""
    from SKCDFSegmenterLib.Panels.ProjectPanel import ProjectPanel

    made = SectionBench(ProjectPanel, makeWorkspace(), parameters(), installs=True)
    yield made
    made.close()


def newProject(bench: Any, name: str, place: Path, dialogs: Any) -> Any:
    """Opens the window, and fills in name and place."""
    user.click(bench.ui.newButton if bench.ui.newButton.isVisible() else bench.ui.newOtherButton)
    window = bench.section.newProjectDialog
    user.write(window.ui.nameEdit, name)
    dialogs.answer("Folder in which", place)
    user.click(window.ui.placeButton)
    return window


def test_it_begins_with_three_ways_and_neither_dialog_nor_child(bench, dialogs, screenshot):
    for button in (bench.ui.phantomButton, bench.ui.openButton, bench.ui.newButton):
        assert button.isVisible() and button.enabled
    assert not bench.ui.importButton.isVisible() and not bench.ui.setUpBox.isVisible()
    assert not dialogs.shown and not bench.workspace.installation.checking
    screenshot(bench.section.widget, "project_empty")


def test_a_project_is_made_from_a_shipped_list(bench, dialogs, tmp_path, screenshot):
    window = newProject(bench, "Abdomen CT", tmp_path, dialogs)
    assert "13 with standard codes" in window.ui.organsLabel.text
    screenshot(window.window, "new_project")
    user.click(window.ui.createButton)
    assert not window.isOpen
    project = Project.open(tmp_path / "Abdomen CT")
    assert project.pool().label_set.names == ABDOMEN.names
    assert bench.parameterNode.projectFolder == str(project.root)
    assert "Abdomen CT: CT, 13 organs" in bench.ui.projectLabel.text
    assert "No cases yet" in bench.ui.countsLabel.text
    assert bench.ui.importButton.isVisible() and not bench.ui.phantomButton.isVisible()
    screenshot(bench.section.widget, "project_open")


def test_a_project_is_made_for_organs_that_are_typed(bench, dialogs, tmp_path):
    window = newProject(bench, "Kidneys", tmp_path, dialogs)
    user.choose(window.ui.modalityCombo, "MR (magnetic resonance)")
    user.click(window.ui.ownButton)
    assert not window.ui.createButton.enabled and "No organ is named" in window.ui.stateLabel.text
    user.write(window.ui.organsEdit, "left kidney, right kidney, cyst")
    assert "check the spelling" in window.ui.organsLabel.text
    user.click(window.ui.createButton)
    pool = bench.workspace.project.pool()
    assert pool.description.modality == "MR"
    assert pool.label_set.names == ("left kidney", "right kidney", "cyst")
    assert pool.label_set.labels[0].partner == 2


def test_it_says_what_is_missing_before_the_click(bench, dialogs, tmp_path):
    user.click(bench.ui.newButton)
    window = bench.section.newProjectDialog
    assert not window.ui.createButton.enabled and "no name" in window.ui.stateLabel.text
    (tmp_path / "Abdomen").mkdir()
    (tmp_path / "Abdomen" / "letter.txt").write_text("Dear")
    newProject(bench, "Abdomen", tmp_path, dialogs)
    assert not window.ui.createButton.enabled and "not empty" in window.ui.stateLabel.text
    user.write(window.ui.nameEdit, "Abdomen 2")
    assert window.ui.createButton.enabled


def test_a_synchronised_folder_is_warned_of_before_and_after(bench, dialogs, tmp_path, screenshot):
    place = tmp_path / "Nextcloud"
    place.mkdir()
    window = newProject(bench, "Abdomen", place, dialogs)
    assert "Nextcloud" in window.ui.stateLabel.text and window.ui.createButton.enabled
    user.click(window.ui.createButton)
    assert bench.ui.warningLabel.isVisible() and "Nextcloud" in bench.ui.warningLabel.text
    screenshot(bench.section.widget, "project_cloud")


def test_a_project_is_opened_and_closed_and_opened_again(bench, dialogs, tmp_path):
    Project.create(tmp_path / "Abdomen", ABDOMEN, "CT")
    dialogs.answer("Open a project", tmp_path / "Abdomen")
    user.click(bench.ui.openButton)
    assert bench.workspace.project.name == "Abdomen"
    user.click(bench.ui.closeButton)
    assert bench.workspace.project is None and bench.parameterNode.projectFolder == ""
    assert bench.ui.reopenButton.text == "Open Abdomen again"
    user.click(bench.ui.reopenButton)
    assert bench.workspace.project.name == "Abdomen"


def test_a_folder_that_is_no_project_is_told_in_the_panel(bench, dialogs, tmp_path, screenshot):
    dialogs.answer("Open a project", tmp_path)
    user.click(bench.ui.openButton)
    assert bench.ui.warningLabel.isVisible() and "no project" in bench.ui.warningLabel.text
    assert bench.workspace.project is None
    screenshot(bench.section.widget, "project_refused")


def test_a_question_that_is_cancelled_changes_nothing(bench, dialogs):
    dialogs.answer("Open a project", None)
    user.click(bench.ui.openButton)
    dialogs.answer("Try the phantom", "Cancel")
    user.click(bench.ui.phantomButton)
    assert bench.workspace.project is None and bench.parameterNode.inputVolume is None


def test_a_scene_brings_its_project_along(bench, tmp_path):
    project = Project.create(tmp_path / "Abdomen", ABDOMEN, "CT")
    bench.parameterNode.projectFolder = str(project.root)
    bench.changed()
    assert bench.workspace.project.root == project.root


def test_a_project_that_was_left_can_be_asked_for_again(bench, tmp_path):
    first, second = (Project.create(tmp_path / name, ABDOMEN, "CT") for name in ("first", "second"))
    for project in (first, second, first):
        bench.parameterNode.projectFolder = str(project.root)
        bench.changed()
        assert bench.workspace.project.root == project.root


def test_the_window_forgets_the_name_of_the_last_project(bench, dialogs, tmp_path):
    user.click(newProject(bench, "Abdomen", tmp_path, dialogs).ui.createButton)
    user.click(bench.ui.newOtherButton)
    assert bench.section.newProjectDialog.ui.nameEdit.text == ""


def test_a_scene_whose_project_is_gone_is_told_once_and_keeps_what_is_open(bench, tmp_path):
    bench.workspace.createProject(tmp_path / "Abdomen", ABDOMEN, "CT")
    bench.parameterNode.projectFolder = str(tmp_path / "gone")
    bench.changed()
    assert "no project" in bench.ui.warningLabel.text
    assert bench.workspace.project.name == "Abdomen"
    bench.parameterNode.keepWarmMinutes = 7
    bench.changed()
    assert bench.workspace.project.name == "Abdomen"


def test_a_new_scene_gets_the_project_that_is_open(slicer, bench, tmp_path):
    bench.workspace.createProject(tmp_path / "Abdomen", ABDOMEN, "CT")
    bench.bind(None)
    user.closeScene()
    bench.bind(parameters())
    assert bench.parameterNode.projectFolder == str(tmp_path / "Abdomen")


def test_counts_follow_the_pool(bench, tmp_path):
    from skcdf.phantom import make_phantom

    bench.workspace.createProject(tmp_path / "Phantoms", LabelSet.load("phantom13"), "CT", synthetic=True)
    assert "no scans of people" in bench.ui.projectLabel.text
    pool = bench.workspace.project.pool()
    scan, labels = make_phantom(1, shape=(24, 32, 32), spacing=(10.0, 12.0, 12.0))
    pool.add_case("one", scan, labels, subject="1", split="training")
    pool.add_case(
        "two", make_phantom(2, shape=(24, 32, 32), spacing=(10.0, 12.0, 12.0))[0], None, subject="2"
    )
    bench.workspace.poolChanged.emit()
    assert "2 cases: 1 labelled, 1 without labels" in bench.ui.countsLabel.text


def test_a_broken_pool_is_told_and_nothing_is_raised(bench, tmp_path):
    bench.workspace.createProject(tmp_path / "Abdomen", ABDOMEN, "CT")
    (tmp_path / "Abdomen" / "pool" / "pool.json").write_text("{")
    bench.workspace.poolChanged.emit()
    assert "pool.json" in bench.ui.countsLabel.text


class TestPhantom:
    def test_one_question_and_the_next_click_is_segment(self, slicer, bench, dialogs, tmp_path, screenshot):
        dialogs.answer("Try the phantom", "Choose another folder…")
        dialogs.answer("Folder in which the phantom", tmp_path)
        user.click(bench.ui.phantomButton)
        node = bench.parameterNode
        assert node.inputVolume.GetImageData().GetDimensions()[2] > 40
        assert node.modelReference == "phantom13"
        shown = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
        assert shown.GetBackgroundVolumeID() == node.inputVolume.GetID()
        assert bench.workspace.project.pool().description.synthetic
        assert "Segment" in bench.ui.warningLabel.text
        screenshot(bench.section.widget, "project_phantom")
        node.outputSegmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        bench.changed()
        assert "Segment" not in bench.ui.warningLabel.text

    @pytest.mark.slow
    def test_the_second_time_nothing_is_asked(self, bench, dialogs, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        dialogs.answer("Try the phantom", "Make it here")
        user.click(bench.ui.phantomButton)
        folder = bench.workspace.project.root
        assert folder.is_relative_to(tmp_path)
        user.click(bench.ui.closeButton)
        user.click(bench.ui.phantomButton)
        assert bench.workspace.project.root == folder

    def test_a_folder_that_cannot_be_taken_is_told(self, bench, dialogs, tmp_path):
        (tmp_path / "SKCDF phantom").write_text("a file")
        dialogs.answer("Try the phantom", "Choose another folder…")
        dialogs.answer("Folder in which the phantom", tmp_path)
        user.click(bench.ui.phantomButton)
        assert any("SKCDF phantom" in text for text in dialogs.texts)
        assert bench.workspace.project is None


def test_while_a_training_runs_the_project_stays(bench, tmp_path, monkeypatch):
    bench.workspace.createProject(tmp_path / "Abdomen", ABDOMEN, "CT")
    other = Project.create(tmp_path / "other", ABDOMEN, "CT")
    monkeypatch.setattr(type(bench.workspace.teaching), "running", property(lambda self: True))
    user.click(bench.ui.closeButton)
    assert bench.workspace.project.name == "Abdomen"
    assert "training is running" in bench.ui.warningLabel.text
    bench.parameterNode.projectFolder = str(other.root)
    bench.changed()
    assert bench.workspace.project.name == "Abdomen"
    monkeypatch.setattr(type(bench.workspace.teaching), "running", property(lambda self: False))
    bench.workspace.trainingChanged.emit()
    assert not bench.ui.warningLabel.isVisible(), "nothing is in the way any more"


def test_an_error_of_the_disk_while_creating_stays_in_the_window(bench, dialogs, tmp_path, monkeypatch):
    window = newProject(bench, "Abdomen", tmp_path, dialogs)

    def full(*arguments: Any, **options: Any) -> None:
        raise SkcdfError("The disk is full.", "Make room.")

    monkeypatch.setattr(bench.workspace, "createProject", full)
    user.click(window.ui.createButton)
    assert window.isOpen and "The disk is full. Make room." in window.ui.stateLabel.text
