"""What the section Teach says goes with the state that it was about, and a stopped training tells its own settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from user import choose, click, write

pytest_plugins = ("teaching",)
pytestmark = pytest.mark.usefixtures("slicer")
WORKER_S = 120


@pytest.fixture(scope="module")
def stopped(toys, tmp_path_factory) -> Path:
    """The toy project with a training that was stopped after one step of hundred."""
    from toy_project import stopToyTraining

    folder = shutil.copytree(toys, tmp_path_factory.mktemp("stopped") / "project")
    stopToyTraining(folder, 100)
    return folder


@pytest.mark.slow
def test_after_rolling_back_only_one_line_says_which_model_is_in_use(teach, opened, trained):
    opened(trained)
    outcome, versions = teach.panel.outcome, teach.panel.versions
    versions.ui.group.collapsed = False
    click(outcome.ui.useButton)
    assert "Toys v2 is in use now" in outcome.ui.statusLabel.text
    click(versions.ui.rollBackButton)
    assert "Toys@v1 is in use again" in versions.ui.statusLabel.text
    assert "v2" not in outcome.ui.statusLabel.text and not outcome.widget.isVisible()
    versions.ui.table.selectRow(0)
    click(versions.ui.useButton)
    assert versions.ui.statusLabel.text == "Toys@v2 is in use now."
    teach.workspace.teaching.rollBack()  # from elsewhere
    assert not versions.ui.statusLabel.text


@pytest.mark.slow
def test_that_the_pool_has_no_case_is_not_said_any_more_when_it_has_one(teach, pump, tmp_path):
    from teaching import loadToyCase

    from skcdf.labels import LabelSet

    labels = LabelSet.from_names("toy", ("spleen", "right_kidney", "left_kidney"))
    teach.workspace.createProject(tmp_path / "empty", labels, "CT", synthetic=True)
    teach.parameters.inputVolume, teach.parameters.outputSegmentation = loadToyCase(7)
    training, cases, review = teach.panel.training, teach.panel.cases, teach.panel.review
    review.ui.group.collapsed = False
    click(training.ui.trainButton)
    assert "no labelled case to train on" in training.ui.statusLabel.text
    click(review.ui.nextButton)
    assert "The pool has no scan without labels" in review.ui.statusLabel.text
    click(cases.ui.checkAllButton)
    click(cases.ui.addButton)
    assert "Nobody knows whose scan it is" in cases.ui.statusLabel.text
    write(cases.ui.subjectEdit, "somebody")
    cases.ui.subjectEdit.textEdited("somebody")
    assert not cases.ui.statusLabel.isVisible()
    for _ in range(2):  # the preview, then the pool
        click(cases.ui.addButton)
        assert pump(lambda: cases.ui.addButton.isEnabled(), WORKER_S)
    assert "Added as case_001" in cases.ui.statusLabel.text
    assert not training.ui.statusLabel.isVisible()
    assert not review.ui.statusLabel.isVisible()


@pytest.mark.slow
def test_that_the_pool_has_no_case_is_not_said_any_more_after_an_import(teach, pump, tmp_path):
    from teaching import UI, loadToyCase

    from skcdf.labels import LabelSet
    from SKCDFSegmenterLib.Panels.Dialogs import Dialogs
    from SKCDFSegmenterLib.Panels.ImportDialog import ImportDialog

    labels = LabelSet.from_names("toy", ("spleen", "right_kidney", "left_kidney"))
    teach.workspace.createProject(tmp_path / "empty", labels, "CT", synthetic=True)
    loadToyCase(7)
    click(teach.panel.training.ui.trainButton)
    assert "no labelled case to train on" in teach.panel.training.ui.statusLabel.text
    window = ImportDialog(UI, teach.workspace, Dialogs())
    try:
        window.open()
        click(window.ui.loadedButton)
        for button in (window.ui.checkButton, window.ui.importButton):
            click(button)
            assert pump(lambda: not window.ui.cancelButton.isVisible(), WORKER_S)
    finally:
        window.cleanup()
    assert teach.workspace.project.counts().labelled == 1
    assert not teach.panel.training.ui.statusLabel.isVisible()


@pytest.mark.slow
def test_another_choice_takes_back_what_was_said_of_the_one_before(teach, opened, toys, monkeypatch):
    opened(toys)
    box = teach.panel.training
    monkeypatch.setattr(teach.workspace, "_slicerHome", "/nowhere")
    for change in (
        lambda: choose(box.ui.methodComboBox, "Labelled cases only (supervised)"),
        lambda: choose(box.ui.presetComboBox, "Quick: a first look"),
        lambda: choose(box.ui.startComboBox, "Nothing: a new model"),
        lambda: setattr(box.ui.timeBudgetSpinBox, "value", 77),
    ):
        click(box.ui.trainButton)
        assert "Not done." in box.ui.statusLabel.text
        change()
        assert not box.ui.statusLabel.isVisible()


@pytest.mark.slow
class TestStopped:
    def test_its_own_settings_stand_there_beside_what_is_chosen(self, teach, opened, stopped, picture):
        opened(stopped)
        box = teach.panel.training
        choose(box.ui.presetComboBox, "Standard")
        lines = box.ui.resumeLabel.text.split("\n")
        assert lines == [
            "A training was stopped after 1 of 100 steps.",
            "Its own settings: Labelled cases only (supervised); Quick: a first look; from Toys v1; "
            "60 min at most, less than 1 min trained so far.",
            "Resume goes on from there, with these.",
            "Train anew takes what is chosen above.",
        ]
        assert box.ui.trainButton.text == "Resume" and box.ui.anewButton.isVisible()
        picture(teach.window, "teach-resume-settings")

    def test_whose_time_is_nearly_used_says_so_beforehand(self, teach, opened, stopped):
        folder = opened(stopped)
        record = folder / "runs" / "2026-11-26_1" / "fine_tuning.json"
        content = json.loads(record.read_text("utf-8"))
        record.write_text(json.dumps({**content, "stop_after_s": 0.001}), "utf-8")
        teach.workspace.openProject(folder)
        said = teach.panel.training.ui.resumeLabel.text
        assert "Its time is nearly used: Resume will finish it and compare." in said


@pytest.mark.slow
class TestTime:
    def test_comes_with_how_much_is_chosen(self, teach, opened, toys):
        opened(toys)
        ui = teach.panel.training.ui
        for preset, minutes in (
            ("Quick: a first look", 10),
            ("As published: many hours on a GPU", 0),
            ("Standard", 30),
        ):
            choose(ui.presetComboBox, preset)
            assert ui.timeBudgetSpinBox.value == teach.parameters.timeBudgetMinutes == minutes

    def test_of_the_users_own_stays(self, teach, opened, toys):
        opened(toys)
        ui = teach.panel.training.ui
        ui.timeBudgetSpinBox.value = 45
        for preset in ("Quick: a first look", "As published: many hours on a GPU", "Standard"):
            choose(ui.presetComboBox, preset)
            assert ui.timeBudgetSpinBox.value == teach.parameters.timeBudgetMinutes == 45
