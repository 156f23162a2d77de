"""Training in the section Teach with a real training of toy scans: train, stop, quit, resume, compare, decide."""

from __future__ import annotations

import pytest
from user import choose, click

pytest_plugins = ("teaching",)
pytestmark = pytest.mark.usefixtures("slicer")
TRAINING_S = 240
WORKER_S = 90


def cells(table):
    return [
        [table.item(row, column).text() for column in range(table.columnCount)]
        for row in range(table.rowCount)
    ]


@pytest.mark.slow
def test_stop_quit_and_resume_until_there_is_a_new_model(teach, opened, toys, pump, slicer, picture):
    from teaching import openedTeachPanel

    from SKCDFSegmenterLib.Panels.QuitGuard import QuitGuard

    opened(toys)
    box, teaching = teach.panel.training, teach.workspace.teaching
    assert box.ui.trainButton.text == "Train"
    assert "Toys v1 (in use)" in box.ui.startComboBox.currentText
    choose(box.ui.methodComboBox, "Labelled cases only (supervised)")
    choose(box.ui.presetComboBox, "Quick: a first look")
    assert (teach.parameters.method, teach.parameters.preset) == ("supervised", "quick")
    box.ui.timeBudgetSpinBox.value = 0
    assert teach.parameters.timeBudgetMinutes == 0
    picture(teach.window, "teach-before-training")

    click(box.ui.trainButton)
    assert box.ui.trainButton.text == "Stop"
    assert not box.ui.methodComboBox.enabled
    assert pump(lambda: "Training:" in box.ui.progressLabel.text, WORKER_S), box.ui.statusLabel.text
    assert pump(lambda: box.ui.progressBar.value > 100, WORKER_S)
    assert "as much as background: Spleen" in box.ui.balanceLabel.text
    picture(teach.window, "teach-training")
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    before = layout.GetViewArrangement()
    click(box.ui.curvesButton)
    assert box.ui.curvesButton.text == "Back to the old layout"
    assert layout.GetViewArrangement() != before
    click(box.ui.curvesButton)
    assert box.ui.curvesButton.text == "Show curves"
    assert layout.GetViewArrangement() == before

    window, guard = slicer.util.mainWindow(), QuitGuard(teach.workspace, teach.dialogs)
    window.show()
    window.close()
    assert "A training is running" in teach.dialogs.asked[-1]
    assert window.isVisible() and teaching.running
    teach.dialogs.buttons.append("Stop training and quit")
    window.close()
    assert not window.isVisible() and not teaching.running
    guard.cleanup()
    assert "What was trained in" in box.ui.statusLabel.text

    with openedTeachPanel(teach.workspace) as later:  # Slicer starts again
        box = later.panel.training
        assert box.ui.trainButton.text == "Resume"
        assert "was stopped after" in box.ui.resumeLabel.text
        assert box.ui.anewButton.isVisible()
        picture(later.window, "teach-resume")
        click(box.ui.trainButton)
        assert box.ui.trainButton.text == "Stop"
        assert pump(lambda: not teaching.running, TRAINING_S)
        assert "Done" in box.ui.statusLabel.text
        assert teaching.candidate.version == "v2"
        assert later.panel.outcome.widget.isVisible()
        picture(later.window, "teach-done")
        click(later.panel.outcome.ui.keepButton)
        assert not box.ui.statusLabel.isVisible(), "there is nothing below to be seen any more"


@pytest.mark.slow
def test_a_stop_before_the_first_checkpoint_says_that_training_begins_anew(teach, opened, toys, pump):
    opened(toys)
    box, teaching = teach.panel.training, teach.workspace.teaching
    click(box.ui.trainButton)
    # The engine imports PyTorch now, which takes seconds: it has not begun to read.
    assert pump(lambda: teaching.process.hello, WORKER_S)
    assert box.ui.trainButton.isVisible() and box.ui.trainButton.isEnabled()
    box.ui.trainButton.click()  # without the event loop, in which the training might end before one looks
    assert box.ui.trainButton.text == "Stopping…"
    assert not box.ui.trainButton.enabled
    assert pump(lambda: not teaching.running, WORKER_S)
    assert "Stopped before anything was trained" in box.ui.statusLabel.text
    assert box.ui.trainButton.text == "Train"


@pytest.mark.slow
def test_cases_can_be_added_while_a_training_runs_and_count_for_the_next_one(
    teach, opened, toys, pump, picture
):
    import qt
    from teaching import loadToyCase

    opened(toys)
    teach.parameters.inputVolume, teach.parameters.outputSegmentation = loadToyCase(7)
    click(teach.panel.training.ui.trainButton)
    assert "counts for the next one" in teach.panel.cases.ui.caseLabel.text
    box = teach.panel.unlabelled
    box.ui.group.collapsed = False
    box.ui.volumesList.item(0).setCheckState(qt.Qt.Checked)
    click(box.ui.addVolumesButton)
    assert pump(lambda: box._request is None, WORKER_S)
    assert "1 scan was added." in box.ui.statusLabel.text
    assert "counts for the next one" in box.ui.statusLabel.text
    assert teach.workspace.teaching.running
    click(teach.panel.training.ui.trainButton)
    assert pump(lambda: not teach.workspace.teaching.running, 30)


def test_a_pool_without_labelled_cases_is_told_in_a_line(teach, tmp_path):
    from skcdf.labels import LabelSet

    teach.workspace.createProject(tmp_path / "empty", LabelSet.load("phantom13"), "CT", synthetic=True)
    click(teach.panel.training.ui.trainButton)
    assert "no labelled case to train on" in teach.panel.training.ui.statusLabel.text
    assert teach.panel.training.ui.trainButton.text == "Train"


@pytest.mark.slow
def test_an_engine_that_cannot_start_is_told_and_train_is_offered_again(
    teach, opened, toys, pump, monkeypatch
):
    opened(toys)
    monkeypatch.setattr(teach.workspace, "_slicerHome", "/nowhere")
    click(teach.panel.training.ui.trainButton)
    assert "Not done." in teach.panel.training.ui.statusLabel.text
    assert teach.panel.training.ui.trainButton.text == "Train"
    assert teach.panel.training.ui.methodComboBox.enabled


@pytest.mark.slow
def test_the_model_of_a_night_waits_with_its_table_and_can_be_put_into_use(teach, opened, trained, picture):
    opened(trained)
    teach.parameters.modelReference = "Toys@v1"
    box = teach.panel.outcome
    assert box.widget.isVisible()
    table = cells(box.ui.table)
    organs, verdicts = zip(*(row[0].split("\n") for row in table), strict=True)
    assert organs == ("Mean of organs", "Spleen", "Right kidney", "Left kidney")
    assert set(verdicts) <= {f"{verdict}, 3 cases" for verdict in ("better", "worse", "cannot tell")}
    assert all("→" in row[1] for row in table)
    assert box.ui.recommendationLabel.text
    assert "Toys v1, in use, and Toys v2, new, on the same 3 validation cases." in box.ui.modelsLabel.text
    picture(teach.window, "teach-outcome")
    click(box.ui.useButton)
    assert "Toys v2 is in use now, and Segment takes it. Roll back" in box.ui.statusLabel.text
    assert teach.parameters.modelReference == "", "step 1 follows"
    assert not box.ui.table.isVisible()
    assert teach.workspace.project.store().promoted("Toys").version == "v2"
    assert "Toys v2 (in use)" in teach.panel.training.ui.startComboBox.currentText


@pytest.mark.slow
def test_keeping_the_old_model_is_remembered(teach, opened, trained):
    folder = opened(trained)
    box = teach.panel.outcome
    click(box.ui.keepButton)
    assert "The old model stays in use" in box.ui.statusLabel.text
    assert teach.workspace.project.store().promoted("Toys").version == "v1"
    teach.workspace.closeProject()
    teach.workspace.openProject(folder)
    assert not box.widget.isVisible()


@pytest.mark.slow
def test_versions_show_state_date_and_parent_and_lead_back(teach, opened, trained, picture):
    opened(trained)
    box = teach.panel.versions
    box.ui.group.collapsed = False
    rows = cells(box.ui.table)
    assert [row[:2] for row in rows] == [["v2", "candidate"], ["v1", "in use"]]
    assert [row[3] for row in rows] == ["Toys@v1", "nothing"]
    assert not box.ui.useButton.enabled
    box.ui.table.selectRow(0)
    assert "Toys@v2" in box.ui.detailsLabel.text
    click(box.ui.useButton)
    assert cells(box.ui.table)[0][1] == "in use"
    assert not teach.panel.outcome.ui.table.isVisible()
    picture(teach.window, "teach-versions")
    teach.parameters.modelReference = "Toys@v2"
    click(box.ui.rollBackButton)
    assert "Toys@v1 is in use again." in box.ui.statusLabel.text
    assert teach.parameters.modelReference == "", "step 1 follows"
    assert [row[1] for row in cells(box.ui.table)] == ["retired", "in use"]
    click(box.ui.rollBackButton)
    assert "Not done." in box.ui.statusLabel.text


@pytest.mark.slow
def test_the_report_opens_in_the_browser_and_a_deleted_one_is_told(teach, opened, trained, monkeypatch):
    import qt

    from SKCDFSegmenterLib.Panels import ReportLink

    folder, seen = opened(trained), []
    monkeypatch.setattr(
        ReportLink,
        "qt",
        type(
            "Recorder",
            (),
            {
                "QUrl": qt.QUrl,
                "QDesktopServices": type(
                    "Services",
                    (),
                    {"openUrl": staticmethod(lambda url: seen.append(url.toLocalFile()) or True)},
                ),
            },
        ),
    )
    click(teach.panel.outcome.ui.reportButton)
    report = folder / "runs" / "2026-11-26_1" / "report.html"
    assert seen == [str(report)]
    box = teach.panel.versions
    box.ui.group.collapsed = False
    box.ui.table.selectRow(0)
    report.unlink()
    click(box.ui.reportButton)
    assert "There is no report of that training" in box.ui.statusLabel.text


@pytest.mark.slow
def test_the_next_case_to_review_comes_beside_what_is_in_the_scene(
    teach, opened, toys, pump, slicer, picture
):
    from teaching import loadToyCase

    opened(toys)
    mine, segmentation = loadToyCase(9, "Mine")
    teach.parameters.inputVolume, teach.parameters.outputSegmentation = mine, segmentation
    box = teach.panel.review
    box.ui.group.collapsed = False
    assert "2 scans without labels wait for review." in box.ui.reviewLabel.text
    click(box.ui.nextButton)
    assert pump(lambda: box._request is None, WORKER_S)
    assert "1 of 2: case_00" in box.ui.reviewLabel.text and "Why:" in box.ui.reviewLabel.text
    first = teach.parameters.inputVolume
    case, _, what = first.GetName().partition(" ")
    assert case in box.ui.reviewLabel.text and what == "(to review)"
    assert f"{first.GetName()} is chosen in step 1 now" in box.ui.statusLabel.text
    assert teach.parameters.outputSegmentation is None
    assert slicer.mrmlScene.IsNodePresent(mine) and slicer.mrmlScene.IsNodePresent(segmentation)
    logic = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert logic.GetBackgroundVolumeID() == first.GetID()
    picture(teach.window, "teach-review")
    click(box.ui.nextButton)
    assert "2 of 2:" in box.ui.reviewLabel.text
    assert teach.parameters.inputVolume is not first
    click(box.ui.nextButton)
    assert "That was the last one" in box.ui.statusLabel.text


@pytest.mark.slow
def test_a_ranking_that_ends_in_another_module_leaves_that_ones_views_alone(
    teach, opened, toys, pump, slicer
):
    from teaching import loadToyCase

    opened(toys)
    mine, segmentation = loadToyCase(9, "Mine")
    teach.parameters.inputVolume, teach.parameters.outputSegmentation = mine, segmentation
    slicer.util.setSliceViewerLayers(background=mine)
    box = teach.panel.review
    box.ui.group.collapsed = False
    click(box.ui.nextButton)
    teach.leave()
    assert pump(lambda: box._request is None, WORKER_S)
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == [mine]
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == mine.GetID()
    teach.comeBack()
    assert teach.parameters.inputVolume is mine and teach.parameters.outputSegmentation is segmentation
    assert "in their order" in box.ui.statusLabel.text and "chosen" not in box.ui.statusLabel.text
    assert "2 scans without labels wait for review." in box.ui.reviewLabel.text
    click(box.ui.nextButton)
    assert box._request is None, "they are in their order already"
    assert "1 of 2: case_00" in box.ui.reviewLabel.text
    assert teach.parameters.inputVolume is not mine


@pytest.mark.slow
def test_a_scan_to_review_that_is_loaded_already_is_not_loaded_again(teach, opened, toys, pump, slicer):
    pool = opened(toys) / "pool"
    for number, file in enumerate(sorted((pool / "imagesUn").glob("*.nii.gz"))):
        slicer.util.loadVolume(str(file), {"name": f"Patient {number}"})
    box = teach.panel.review
    box.ui.group.collapsed = False
    for turn in range(2):
        organs = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "of another scan")
        teach.parameters.outputSegmentation = organs
        click(box.ui.nextButton)
        assert pump(lambda: box._request is None, WORKER_S)
        volume = teach.parameters.inputVolume
        assert f" is {volume.GetName()}, which is loaded already." in box.ui.statusLabel.text, turn
        assert teach.parameters.outputSegmentation is None
    assert {each.GetName() for each in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")} == {
        "Patient 0",
        "Patient 1",
    }


@pytest.mark.slow
def test_the_organs_of_the_scan_that_is_worked_on_stay_chosen(teach, opened, toys, pump, slicer):
    opened(toys)
    box = teach.panel.review
    box.ui.group.collapsed = False
    click(box.ui.nextButton)
    assert pump(lambda: box._request is None, WORKER_S)
    volume = teach.parameters.inputVolume
    organs = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "its organs")
    teach.parameters.outputSegmentation = organs
    pool = teach.workspace.project.pool()
    for record in pool.records():
        if record.state == "unlabelled" and record.name not in volume.GetName():
            pool.withdraw(record.name)
    click(box.ui.nextButton)
    assert "That was the last one" in box.ui.statusLabel.text
    click(box.ui.nextButton)
    assert teach.parameters.inputVolume is volume and teach.parameters.outputSegmentation is organs
