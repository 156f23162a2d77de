"""All sections together, with real children: from *Try the phantom* to a model that has learnt from the correction."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")
pytest.importorskip("torch", reason="PyTorch is not installed")

import user

PATIENCE_S = 300


@pytest.fixture
def panel(module, slicer):
    slicer.util.mainWindow().resize(1200, 1400)
    return module.panel


def finish(panel):
    """Waits for the end of a run in step 1."""
    assert user.pump(lambda: panel.segment.ui.progressBar.isHidden(), PATIENCE_S), "the run does not end"
    user.pump(seconds=0.3)


@pytest.mark.slow
def test_from_the_phantom_to_a_model_that_was_taught(panel, slicer, dialogs, tmp_path, screenshot):
    head, segment, correct = panel.project.ui, panel.segment.ui, panel.correct.ui
    dialogs.answer("A project folder for the phantom will be made", "Choose another folder…")
    dialogs.answer("Folder in which the phantom's project is made", str(tmp_path))
    user.click(head.phantomButton)
    assert user.pump(lambda: "Estimate: " in segment.checkLabel.text, PATIENCE_S), segment.checkLabel.text
    assert segment.segmentButton.text == "Segment", "nothing speaks against the model of phantoms"

    user.click(segment.segmentButton)
    assert user.pump(lambda: " left" in segment.statusLabel.text, PATIENCE_S)
    finish(panel)
    assert "13 organs found." in segment.summaryLabel.text
    segmentation = panel.segment.parameterNode.outputSegmentation
    assert segmentation.GetSegmentation().GetNumberOfSegments() == segment.organTable.rowCount == 13

    user.unfold(correct.correctCollapsible)
    user.pump(seconds=1)
    user.click(correct.nextPlaceButton)
    assert correct.placeLabel.text.startswith("1 of 10: ")
    cases = panel.teach.cases.ui
    user.write(cases.subjectEdit, "nobody")
    correct.statesTable.selectAll()
    user.click(correct.completeButton)
    for expected in ("Nothing is stored yet.", ""):  # the preview, then the pool
        user.click(cases.addButton)
        assert user.pump(lambda: cases.progressBar.isHidden(), PATIENCE_S)
        assert cases.previewLabel.text.startswith(expected), cases.statusLabel.text
    assert "Added as case_001." in cases.statusLabel.text
    assert "1 labelled" in panel.teach.ui.countsLabel.text and "1 labelled" in head.countsLabel.text

    training = panel.teach.training.ui
    user.choose(training.presetComboBox, "Quick: a first look")
    training.timeBudgetSpinBox.value = 1
    user.click(training.trainButton)
    assert user.pump(lambda: not panel.workspace.teaching.running, PATIENCE_S), training.progressLabel.text
    assert "Done: see below" in training.statusLabel.text, training.statusLabel.text
    screenshot(panel.widget, "whole_panel_taught")
    user.click(panel.teach.outcome.ui.useButton)
    assert "Phantom v1 (in use)" in segment.modelSelector.currentText, "step 1 goes on with it"
    assert "Other models can be chosen in step 1." in panel.teach.outcome.ui.statusLabel.text

    assert user.pump(lambda: "Estimate: " in segment.checkLabel.text, PATIENCE_S), segment.checkLabel.text
    user.click(segment.segmentButton)
    finish(panel)
    assert "Phantom v1" in segment.summaryLabel.text, segment.statusLabel.text
    assert panel.segment.parameterNode.outputSegmentation is not segmentation, "the completed one stays"


@pytest.mark.slow
def test_without_a_project_adding_the_first_case_asks_for_its_folder(panel, slicer, dialogs, tmp_path):
    from SKCDFSegmenterLib.SampleScans import addPhantomVolume

    volume = addPhantomVolume()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Organs")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    liver = segmentation.GetSegmentation().AddEmptySegment("liver", "Liver")
    array = slicer.util.arrayFromVolume(volume) * 0
    array[20:40, 40:80, 40:80] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(array.astype("uint8"), segmentation, liver, volume)
    parameters, cases = panel.teach.parameterNode, panel.teach.cases.ui
    parameters.inputVolume, parameters.outputSegmentation = volume, segmentation
    assert panel.workspace.project is None
    user.click(cases.checkAllButton)
    user.write(cases.subjectEdit, "nobody")
    folder = tmp_path / "first"
    folder.mkdir()
    dialogs.answer("Folder of a project, or an empty one for a new project", str(folder))
    user.click(cases.addButton)
    assert user.pump(lambda: cases.previewLabel.text.startswith("Nothing is stored yet."), PATIENCE_S)
    assert panel.workspace.project.root == folder and parameters.projectFolder == str(folder)
    user.click(cases.addButton)
    assert user.pump(lambda: "Added as case_001." in cases.statusLabel.text, PATIENCE_S)
    assert panel.workspace.project.counts().partly == 1
