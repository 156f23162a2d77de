"""Adding cases in the section Teach, as a user does it, into a real pool by the real worker."""

from __future__ import annotations

import json

import numpy as np
import pytest
import teach_case
from teach_case import WORKER_S, check, idle, isChecked, leftovers, preview
from user import click, write

pytest_plugins = ("teaching",)
pytestmark = pytest.mark.usefixtures("slicer")

project, case = teach_case.project, teach_case.case  # the fixtures of this file


def test_without_a_project_the_section_says_so_and_offers_the_first_case(teach, picture):
    assert "No project folder is open" in teach.panel.ui.hintLabel.text
    assert teach.panel.cases.widget.isVisible()
    assert not teach.panel.training.widget.isVisible()
    assert not teach.panel.cases.ui.addButton.enabled
    picture(teach.window, "teach-no-project")


def test_completed_organs_are_checked_and_stay_so(teach, project, case, pump, picture):
    box = teach.panel.cases
    assert isChecked(box, "Spleen") and isChecked(box, "Left kidney")
    assert not isChecked(box, "Right kidney")
    check(box, "Spleen", False)
    assert isChecked(box, "Spleen")
    assert "Spleen is completed" in box.ui.statusLabel.text
    picture(teach.window, "teach-add-case")


def test_what_was_ticked_typed_and_looked_at_is_still_there_after_a_look_at_another_module(
    teach, project, case, pump
):
    box = teach.panel.cases
    check(box, "Right kidney")
    write(box.ui.subjectEdit, "Person 1")
    click(box.ui.addButton)
    teach.leave()
    assert pump(idle(box), WORKER_S)
    teach.comeBack()
    assert isChecked(box, "Right kidney")
    assert box.ui.subjectEdit.text == "Person 1"
    assert "Checked: Spleen, Right kidney, Left kidney." in box.ui.previewLabel.text
    assert box.ui.addButton.text == "Add to the pool"


def test_a_case_that_was_deleted_meanwhile_is_not_there_any_more(teach, project, case, slicer):
    box = teach.panel.cases
    write(box.ui.subjectEdit, "Person 1")
    teach.leave()
    for node in case:
        slicer.mrmlScene.RemoveNode(node)
    teach.comeBack()
    assert box.ui.caseLabel.text == "No volume is chosen in step 1."
    assert box.ui.subjectEdit.text == "" and not box.ui.addButton.enabled


@pytest.mark.slow
def test_what_was_completed_just_before_the_click_is_in_the_preview(teach, project, case, pump):
    from SKCDFSegmenterLib.SegmentRecord import setCompleted

    write(teach.panel.cases.ui.subjectEdit, "Person 1")
    setCompleted(case[1].GetSegmentation().GetSegment("right_kidney"), True)
    box = preview(teach, pump, person="")
    pump(seconds=0.5)
    assert "Checked: Spleen, Right kidney, Left kidney." in box.ui.previewLabel.text, box.ui.statusLabel.text


def test_a_case_goes_into_the_pool_only_after_the_user_has_seen_what_is_stored(
    teach, project, case, pump, picture, slicer
):
    box = preview(teach, pump)
    assert "Nothing is stored yet" in box.ui.previewLabel.text
    assert "A new case for the pool: case_001" in box.ui.previewLabel.text
    assert "For training" in box.ui.previewLabel.text
    assert "Checked: Spleen, Left kidney." in box.ui.previewLabel.text
    assert project.pool().records() == ()
    assert box.ui.addButton.text == "Add to the pool"
    picture(teach.window, "teach-add-case-preview")
    click(box.ui.addButton)
    assert pump(idle(box), WORKER_S)
    assert box.ui.statusLabel.text.startswith("Added as case_001.")
    (record,) = project.pool().records()
    assert record.current.annotated == ("spleen", "left_kidney")
    assert "1 partly annotated" in teach.panel.ui.countsLabel.text
    assert "Person 1" not in json.dumps(record.to_json())
    assert leftovers(slicer) == []
    picture(teach.window, "teach-case-added")


def test_what_the_pool_does_not_get_is_said_before(teach, project, case, pump, slicer):
    volume, segmentation = case
    spleen = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "spleen", volume).copy()
    segmentation.GetSegmentation().AddEmptySegment("Segment_1", "Tumour")
    for segmentID in ("Segment_1", "right_kidney"):
        drawn = spleen | slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentID, volume)
        slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, segmentation, segmentID, volume)
    pump(seconds=0.5)
    check(teach.panel.cases, "Right kidney")
    box = preview(teach, pump)
    said = box.ui.previewLabel.text
    assert "Left out, since the pool has no such organ: Tumour." in said, box.ui.statusLabel.text
    assert f"{int(spleen.sum())} voxels of Right kidney lie in Spleen, too: Spleen, the smaller one" in said


def test_the_same_scan_again_is_a_new_version_of_its_case(teach, project, case, pump):
    box = preview(teach, pump)
    click(box.ui.addButton)
    assert pump(idle(box), WORKER_S)
    check(box, "Right kidney")
    preview(teach, pump)
    assert "The pool has this scan: case_001 gets a new version" in box.ui.previewLabel.text
    click(box.ui.addButton)
    assert pump(idle(box), WORKER_S)
    assert "Stored as a new version of case_001" in box.ui.statusLabel.text
    assert project.counts().labelled == 1


def test_what_the_user_changes_after_the_preview_asks_for_another_one(teach, project, case, pump):
    box = preview(teach, pump)
    assert box.ui.addButton.text == "Add to the pool"
    check(box, "Right kidney")
    assert box.ui.addButton.text.startswith("Add this case to the pool")
    preview(teach, pump)
    box.ui.subjectEdit.setText("Person 2")
    box.ui.subjectEdit.textEdited("Person 2")
    assert box.ui.addButton.text.startswith("Add this case to the pool")
    assert project.pool().records() == ()


def test_what_is_drawn_after_the_preview_asks_for_another_one(teach, project, case, pump, slicer):

    volume, segmentation = case
    box = preview(teach, pump)
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "spleen", volume)
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.roll(voxels, 1, 0), segmentation, "spleen", volume)
    assert pump(lambda: box.ui.addButton.text.startswith("Add this case"), 5)
    preview(teach, pump)
    slicer.util.arrayFromVolume(volume)[0] = 5
    slicer.util.arrayFromVolumeModified(volume)
    assert pump(lambda: box.ui.addButton.text.startswith("Add this case"), 5)
    assert leftovers(slicer) == []


def test_another_scan_chosen_during_the_look_is_not_taken_for_the_first(teach, project, case, pump, slicer):
    from teaching import loadToyCase

    box = teach.panel.cases
    write(box.ui.subjectEdit, "Person 1")
    click(box.ui.addButton)
    assert not box.ui.addButton.enabled
    teach.parameters.inputVolume, teach.parameters.outputSegmentation = loadToyCase(8, "Other")
    assert box.ui.addButton.enabled
    assert pump(lambda: not teach.workspace.worker.busy, WORKER_S)
    assert box.ui.addButton.text.startswith("Add this case")
    assert box.ui.subjectEdit.text == ""
    assert leftovers(slicer) == []


def test_cancel_after_the_preview_stores_nothing(teach, project, case, pump):
    box = preview(teach, pump)
    click(box.ui.cancelButton)
    assert box.ui.addButton.text.startswith("Add this case")
    assert not box.ui.previewLabel.isVisible()
    assert project.pool().records() == ()


def test_exchanged_sides_are_refused_until_the_user_says_that_they_are_right(
    teach, project, pump, slicer, picture
):
    from teaching import loadToyCase

    volume, segmentation = loadToyCase(2)
    segments = segmentation.GetSegmentation()
    right, left = segments.GetSegment("right_kidney"), segments.GetSegment("left_kidney")
    one, two = (segment.GetLabelValue() for segment in (right, left))
    right.SetLabelValue(two)
    left.SetLabelValue(one)
    teach.parameters.inputVolume, teach.parameters.outputSegmentation = volume, segmentation
    box = teach.panel.cases
    click(box.ui.checkAllButton)
    assert not box.ui.sidesCheckBox.isVisible()
    preview(teach, pump)
    assert "patient's left" in box.ui.statusLabel.text
    assert box.ui.sidesCheckBox.isVisible() and not box.ui.sidesCheckBox.checked
    picture(teach.window, "teach-sides-refused")
    click(box.ui.sidesCheckBox)
    preview(teach, pump, "")
    assert "Nothing is stored yet" in box.ui.previewLabel.text
    click(box.ui.addButton)
    assert pump(idle(box), WORKER_S)
    assert project.pool().records()[0].current.sides_accepted


def test_nobody_named_and_nothing_checked_are_told_in_a_line(teach, project, case, pump):
    box = teach.panel.cases
    write(box.ui.subjectEdit, "")
    click(box.ui.addButton)
    assert "Nobody knows whose scan it is" in box.ui.statusLabel.text
    for name in ("spleen", "left_kidney"):
        from SKCDFSegmenterLib.SegmentRecord import setCompleted

        setCompleted(case[1].GetSegmentation().GetSegment(name), False)
    assert pump(lambda: not isChecked(box, "Spleen"), 5)
    preview(teach, pump)
    assert "no organ is marked as checked" in box.ui.statusLabel.text


def test_the_patient_of_the_scene_stands_in_the_field(teach, project, slicer):
    from teaching import loadToyCase

    volume, segmentation = loadToyCase(3)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe^Jane")
    hierarchy.SetItemAttribute(patient, constants.GetDICOMPatientIDAttributeName(), "4711")
    hierarchy.CreateItem(patient, volume)
    teach.parameters.inputVolume, teach.parameters.outputSegmentation = volume, segmentation
    assert teach.panel.cases.ui.subjectEdit.text == "4711"


def test_the_first_case_asks_for_a_project_folder_and_goes_on(teach, case, pump, tmp_path):
    box = teach.panel.cases
    folder = tmp_path / "new project"
    write(box.ui.subjectEdit, "Person 1")
    click(box.ui.addButton)
    assert "new project with the organs of phantom13" in teach.dialogs.asked[0]
    assert teach.workspace.project is None
    teach.dialogs.folders.append(str(folder))
    click(box.ui.addButton)
    assert pump(idle(box), WORKER_S)
    assert teach.workspace.project.root == folder
    assert teach.parameters.projectFolder == str(folder)
    assert "Nothing is stored yet" in box.ui.previewLabel.text
    assert (folder / "project.json").is_file()


def test_a_folder_that_holds_something_else_is_refused_in_a_line(teach, case, tmp_path):
    (tmp_path / "thesis.docx").write_text("x")
    teach.dialogs.folders.append(str(tmp_path))
    write(teach.panel.cases.ui.subjectEdit, "Person 1")
    click(teach.panel.cases.ui.addButton)
    assert "Not done." in teach.panel.cases.ui.statusLabel.text
    assert teach.workspace.project is None


def test_closing_the_scene_during_the_check_is_safe(teach, project, case, pump):
    from user import closeScene

    box = teach.panel.cases
    write(box.ui.subjectEdit, "Person 1")
    click(box.ui.addButton)
    teach.panel.sceneClosing()
    teach.panel.setParameterNode(None)
    closeScene()
    assert pump(lambda: not teach.workspace.worker.busy, WORKER_S)
    assert box.ui.subjectEdit.text == ""
    assert project.pool().records() == ()


def test_organs_that_were_drawn_on_another_scan_are_warned_of(teach, project, case, pump):
    from teaching import loadToyCase

    label = teach.panel.cases.ui.caseLabel
    assert "Warning" not in label.text
    _other, teach.parameters.outputSegmentation = loadToyCase(2, "Yesterday")
    assert pump(lambda: "Yesterday organs" in label.text)
    assert "drawn on another scan, Yesterday" in label.text


def test_a_scan_whose_organs_are_loaded_but_not_chosen_is_not_said_to_have_none(teach, project, case, slicer):
    volume, segmentation = case
    teach.parameters.outputSegmentation = None
    slicer.app.processEvents()
    label = teach.panel.cases.ui.caseLabel
    assert label.text == f"{volume.GetName()} has organs that are drawn already: choose them in step 2."
    slicer.mrmlScene.RemoveNode(segmentation)
    teach.panel.cases.update()
    assert "has no segmentation yet" in label.text


def test_every_control_can_be_read_out_and_explains_itself(teach, project, case):
    import qt

    for box in (teach.panel, *teach.panel.boxes):
        widgets = [item for item in vars(box.ui).values() if isinstance(item, qt.QWidget)]
        controls = [item for item in widgets if item.focusPolicy & qt.Qt.TabFocus]
        assert controls
        for control in controls:
            if not control.name.startswith("qt_"):
                assert control.accessibleName, control.name
                assert control.toolTip or isinstance(control, qt.QLabel), control.name
        labels = [item for item in widgets if isinstance(item, qt.QLabel) and "&" in item.text]
        assert all(label.buddy() is not None for label in labels)


@pytest.mark.parametrize("width", [350, 450])
def test_the_section_fits_a_narrow_panel(teach, project, case, pump, picture, width):
    teach.window.resize(width, 900)
    for box in teach.panel.boxes:
        box.ui.group.collapsed = False
    preview(teach, pump, "a person with a rather long name that goes on and on and on")
    picture(teach.window, f"teach-{width}")
    assert teach.window.horizontalScrollBar().maximum == 0
