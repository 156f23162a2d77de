"""Section 2, used like a user does: places, editor, states, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")

import correcting
import user
from correcting import centre, left, rows

# the fixtures of this file
sections, ui, scan, segmentation, opened = (
    correcting.sections,
    correcting.ui,
    correcting.scan,
    correcting.segmentation,
    correcting.opened,
)


class TestUnsurePlaces:
    def test_next_moves_views_and_cross_hair_and_says_why(self, slicer, sections, opened, screenshot):
        assert opened.placeLabel.text == "3 places where the model was unsure, the most useful first."
        user.click(opened.nextPlaceButton)
        assert opened.placeLabel.text == "1 of 3: Left kidney: pale."
        assert centre(slicer) == (3.0, (-1.0, -2.0, 3.0))
        user.click(opened.nextPlaceButton)
        assert opened.placeLabel.text == "2 of 3: Liver: outer border."
        assert centre(slicer) == (2.0, (3.0, 4.0, 2.0))
        screenshot(sections.correct.widget, "correct_place")

    def test_previous_goes_back(self, slicer, sections, opened):
        assert not opened.previousPlaceButton.enabled
        user.click(opened.nextPlaceButton), user.click(opened.nextPlaceButton)
        user.click(opened.previousPlaceButton)
        assert opened.placeLabel.text.startswith("1 of 3") and centre(slicer)[0] == 3.0
        assert not opened.previousPlaceButton.enabled

    def test_the_organ_of_the_place_is_under_the_brush(self, sections, opened):
        editor = sections.correct._editor.widget
        user.click(opened.nextPlaceButton)
        assert editor.currentSegmentID() == "left_kidney"
        user.click(opened.nextPlaceButton)
        assert editor.currentSegmentID() == "liver"

    def test_the_editors_list_shows_which_organ_is_chosen(self, sections, opened, screenshot):
        editor = sections.correct._editor.widget
        table = editor.findChild("qMRMLSegmentsTableView")
        for organ in ("left_kidney", "liver", "liver"):
            user.click(opened.nextPlaceButton)
            sections.settle()
            assert table.selectedSegmentIDs() == [organ]
        screenshot(sections.correct.widget, "correct_chosen_row")

    def test_when_every_organ_is_completed_it_says_that_nothing_is_left(self, sections, opened, screenshot):
        user.click(opened.nextPlaceButton)
        for row in range(2):
            opened.statesTable.selectRow(row)
            user.click(opened.completeButton)
        assert opened.placeLabel.text == (
            "All organs are completed: nothing is left to check. Reopen takes an organ back."
        )
        assert not opened.nextPlaceButton.enabled
        screenshot(sections.correct.widget, "correct_all_completed")
        user.click(opened.reopenButton)
        assert opened.nextPlaceButton.enabled and "completed" not in opened.placeLabel.text

    def test_where_the_user_is_survives_a_visit_to_another_module(self, sections, opened):
        user.click(opened.nextPlaceButton)
        sections.exit()
        sections.enter()
        assert opened.placeLabel.text.startswith("1 of 3")

    def test_an_organ_that_was_not_found_can_be_added_and_is_then_under_the_brush(
        self, sections, opened, segmentation, screenshot
    ):
        from SKCDFSegmenterLib.UnsurePlaces import storePlaces

        place = {"position": [0, 0, 0], "unsure": 0.4, "volume_ml": 1.0, "reason": "not found; look here"}
        storePlaces(segmentation, [{"organ": "esophagus", **place}])
        assert opened.addOrganButton.isHidden()
        user.click(opened.nextPlaceButton)
        assert opened.placeLabel.text == "1 of 1: Esophagus: not found; look here."
        assert opened.addOrganButton.text == "Add Esophagus to draw it"
        screenshot(sections.correct.widget, "correct_missing_organ")
        user.click(opened.addOrganButton)
        assert sections.correct._editor.widget.currentSegmentID() == "esophagus"
        assert rows(opened)[-1] == ["Esophagus", "drawn by hand"] and opened.addOrganButton.isHidden()

    def test_a_segmentation_without_places_says_so(self, slicer, sections, opened):
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
        user.choose(opened.segmentationSelector, other)
        assert opened.placeLabel.text.startswith("No model has named places")
        assert not opened.nextPlaceButton.enabled


class TestTheEditor:
    def test_it_edits_this_segmentation_in_the_scan_it_came_from(self, sections, opened, segmentation, scan):
        editor = sections.correct._editor.widget
        assert editor.segmentationNode() is segmentation and editor.sourceVolumeNode() is scan
        assert editor.mrmlSegmentEditorNode().GetSingletonTag() == "SKCDFSegmenter"

    @pytest.mark.parametrize("leave", ["fold", "exit", "closeScene", "chooseNone"])
    def test_nothing_of_it_is_left_behind(self, sections, opened, leave):
        editor = sections.correct._editor.widget
        editor.setActiveEffectByName("Paint")
        editor.setupViewObservations()
        assert left(sections) == ["active effect", "view observations", "keyboard shortcuts"]
        {
            "fold": lambda: user.unfold(opened.correctCollapsible, False),
            "exit": sections.exit,
            "closeScene": user.closeScene,
            "chooseNone": lambda: user.choose(opened.segmentationSelector, None),
        }[leave]()
        assert left(sections) == []

    def test_its_keys_are_installed_once_however_often_the_user_comes_back(self, sections, opened):
        editor = sections.correct._editor.widget
        before = len(editor._shortcuts)
        for _ in range(3):
            sections.exit()
            sections.enter()
        assert len(editor._shortcuts) == before
        user.unfold(opened.correctCollapsible, False)
        user.unfold(opened.correctCollapsible)
        assert len(editor._shortcuts) == before

    def test_a_folded_section_takes_no_keys_when_the_module_is_opened(self, sections, segmentation):
        sections.exit()
        sections.enter()
        assert left(sections) == []

    def test_after_a_closed_scene_the_next_segmentation_can_be_corrected(self, slicer, sections, opened):
        user.closeScene()
        assert opened.correctBox.isHidden()
        slicer.util.setSliceViewerLayers(
            background=slicer.util.addVolumeFromArray(np.full((4, 4, 4), 1000, np.int16))
        )
        sections.settle()
        sections.run()
        sections.settle()
        editor = sections.correct._editor.widget
        assert editor.segmentationNode() is sections.parameters.outputSegmentation is not None
        assert rows(opened) == [["Left kidney", "proposed"]]
        assert left(sections) == ["keyboard shortcuts"]

    def test_a_segmentation_deleted_while_it_is_edited_leaves_an_empty_section(
        self, slicer, sections, opened, segmentation
    ):
        sections.correct._editor.widget.setActiveEffectByName("Paint")
        slicer.mrmlScene.RemoveNode(segmentation)
        sections.settle()
        assert opened.correctBox.isHidden() and left(sections) == []


class TestStates:
    def test_each_organ_has_its_state_in_words(self, opened):
        assert rows(opened) == [["Left kidney", "proposed"], ["Liver", "drawn by hand"]]
        assert not opened.completeButton.enabled and not opened.reopenButton.enabled

    def test_completed_is_slicers_segment_status_and_can_be_taken_back(
        self, slicer, opened, segmentation, sections, screenshot
    ):
        from SKCDFSegmenterLib.SegmentRecord import isCompleted

        segment = segmentation.GetSegmentation().GetSegment("left_kidney")
        opened.statesTable.selectRow(0)
        user.click(opened.completeButton)
        assert isCompleted(segment) and rows(opened)[0] == ["Left kidney", "completed"]
        screenshot(sections.correct.widget, "correct_completed")
        assert not opened.completeButton.enabled
        user.click(opened.reopenButton)
        assert not isCompleted(segment) and rows(opened)[0] == ["Left kidney", "proposed"]

    def test_places_of_completed_organs_are_left_out(self, sections, opened):
        opened.statesTable.selectRow(1)
        user.click(opened.completeButton)
        for _ in range(3):
            user.click(opened.nextPlaceButton)
            assert opened.placeLabel.text.startswith("1 of 3")
        opened.statesTable.selectRow(0)
        user.click(opened.completeButton)
        assert not opened.nextPlaceButton.enabled

    def test_a_status_set_in_the_editors_own_list_is_seen(self, sections, opened, segmentation):
        from SKCDFSegmenterLib.SegmentRecord import setCompleted

        setCompleted(segmentation.GetSegmentation().GetSegment("liver"), True)
        sections.settle()
        assert rows(opened)[1] == ["Liver", "completed"]

    def test_an_edit_is_recognised_when_the_tool_is_put_down(
        self, slicer, sections, opened, segmentation, scan
    ):
        from segment_editing import SegmentEditor

        SegmentEditor(slicer, segmentation, scan).erase("left_kidney", np.ones((6, 9, 12), bool))
        sections.settle()
        assert rows(opened)[0] == ["Left kidney", "edited"]

    def test_the_organ_under_the_brush_counts_as_edited_at_once(
        self, slicer, sections, opened, segmentation, scan
    ):
        from segment_editing import SegmentEditor

        editor = sections.correct._editor.widget
        editor.setCurrentSegmentID("left_kidney")
        editor.setActiveEffectByName("Paint")
        sections.settle()
        assert rows(opened)[0] == ["Left kidney", "proposed"], "taking a tool is no edit"
        SegmentEditor(slicer, segmentation, scan).erase("left_kidney", np.ones((6, 9, 12), bool))
        sections.settle()
        assert rows(opened)[0] == ["Left kidney", "edited"]


class TestTheWayBack:
    def test_without_a_run_into_it_there_is_nothing_to_restore(self, opened):
        assert not opened.restoreButton.enabled
        assert opened.restoreLabel.text == "No run has replaced anything in this segmentation."

    def test_what_the_last_run_replaced_comes_back_and_goes_again(
        self, slicer, sections, opened, segmentation, scan, screenshot
    ):
        def voxels():
            return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "left_kidney", scan).copy()

        segmentation.GetSegmentation().RemoveSegment("liver")
        before = voxels()
        array = slicer.util.arrayFromVolume(scan)
        array[:] = np.roll(array, 2, axis=2)
        slicer.util.arrayFromVolumeModified(scan)
        user.unfold(sections.ui.optionsBox)
        user.choose(sections.ui.resultSelector, segmentation)
        sections.run()
        sections.settle()
        after = voxels()
        assert (after != before).any() and opened.restoreButton.enabled
        screenshot(sections.correct.widget, "correct_restore")
        user.click(opened.restoreButton)
        assert (voxels() == before).all()
        user.click(opened.restoreButton)
        assert (voxels() == after).all()

    def test_the_editors_undo_takes_back_a_run_and_then_the_stroke_before_it(
        self, slicer, sections, opened, segmentation, scan
    ):
        from SKCDFSegmenterLib.SegmentRecord import segmentState

        def voxels(organ):
            return int(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, organ, scan).sum())

        def paint(slices):
            array = np.zeros((6, 9, 12), np.uint8)
            array[slices] = 1
            slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, "liver", scan)

        editor = sections.correct._editor.widget
        paint(slice(4, 6))
        before = voxels("left_kidney"), voxels("liver")
        editor.saveStateForUndo()  # as effects do before a stroke
        paint(slice(5, 6))
        stroke = voxels("left_kidney"), voxels("liver")
        scanned = slicer.util.arrayFromVolume(scan)
        scanned[3] = 0  # the run finds less of the kidney
        slicer.util.arrayFromVolumeModified(scan)
        user.unfold(sections.ui.optionsBox)
        user.choose(sections.ui.resultSelector, segmentation)
        sections.run()
        assert voxels("left_kidney") < stroke[0]
        editor.undo()
        assert (voxels("left_kidney"), voxels("liver")) == stroke
        assert segmentState(segmentation, "left_kidney") == "proposed"
        editor.undo()
        assert (voxels("left_kidney"), voxels("liver")) == before
