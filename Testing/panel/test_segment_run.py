"""Section 1 during a run: one click, cancel, and everything that may happen meanwhile."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")

import user

pytest_plugins = ("segment_bench",)


def segmentations(slicer):
    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


class TestARun:
    def test_one_click_and_the_organs_are_there(self, slicer, sections, ui, scan):
        volume = scan()
        sections.settle()
        sections.run()
        (node,) = segmentations(slicer)
        assert sections.parameters.outputSegmentation is node
        assert list(node.GetSegmentation().GetSegmentIDs()) == ["left_kidney"]
        assert slicer.util.arrayFromSegmentBinaryLabelmap(node, "left_kidney", volume).sum() == 3 * 4 * 5
        assert "1 organ found." in ui.summaryLabel.text
        assert "There is 1 place to look at first" in ui.summaryLabel.text
        assert ui.show3DButton.segmentationNode() is node
        assert ui.segmentButton.enabled and ui.statusLabel.isHidden()

    def test_the_button_is_cancel_meanwhile_and_the_phase_is_told(
        self, slicer, sections, ui, scan, screenshot
    ):
        sections.useEngine("--late-result")
        scan()
        sections.settle()
        sections.checked()
        user.click(ui.segmentButton)
        assert user.pump(lambda: ui.statusLabel.text == "Segmenting, a few seconds left")
        assert ui.segmentButton.text == "Cancel" and ui.progressBar.value > 10
        user.click(ui.segmentButton)
        assert ui.segmentButton.text == "Cancelling…" and not ui.segmentButton.enabled
        screenshot(sections.window, "segment_cancelling")
        sections.end()
        assert ui.statusLabel.text == "Cancelled. The scene is as it was."
        assert segmentations(slicer) == [] and ui.segmentButton.enabled

    @pytest.mark.slow
    def test_an_engine_that_does_not_obey_is_ended_within_seconds(self, slicer, sections, ui, scan):
        sections.useEngine("--stubborn")
        scan()
        sections.settle()
        user.click(ui.segmentButton)
        user.pump(seconds=0.5)
        user.click(ui.segmentButton)
        sections.end(6)
        assert ui.statusLabel.text == "Cancelled. The scene is as it was."
        sections.useEngine()
        sections.run()
        assert len(segmentations(slicer)) == 1

    def test_an_engine_that_crashes_is_told_in_words(self, slicer, sections, ui, scan, dialogs, screenshot):
        sections.useEngine("--crashes")
        scan()
        sections.settle()
        sections.run()
        assert ui.statusLabel.text.startswith("Not segmented: ")
        assert segmentations(slicer) == [] and dialogs.shown == [] and ui.segmentButton.enabled
        screenshot(sections.window, "segment_failed")

    def test_a_long_path_in_an_error_does_not_widen_the_panel(
        self, sections, ui, scan, tmp_path, monkeypatch
    ):
        place = tmp_path.joinpath(*["a_folder_with_quite_a_long_name"] * 5)
        place.parent.mkdir(parents=True)
        place.write_text("no folder")
        monkeypatch.setattr(sections.workspace.segmenter, "_root", place)
        scan("a_scan_whose_name_was_made_by_a_program_that_joins_all_it_knows_of_the_series")
        sections.settle()
        said = sections.checked().replace("\u200b", "")
        assert f"{place}: no folder can be made there" in said
        user.click(ui.segmentButton)
        assert f"Not segmented: {place}" in ui.statusLabel.text.replace("\u200b", "")
        user.pump(seconds=0.1)
        assert sections.window.horizontalScrollBar().maximum == 0

    def test_another_choice_takes_the_old_message_away(self, sections, ui, scan):
        sections.useEngine("--refuses")
        scan("first")
        sections.settle()
        sections.run()
        assert ui.statusLabel.text == "Not segmented: scan.nrrd: holds NaN. Save it again."
        user.choose(ui.inputSelector, None)
        scan("second")
        sections.settle()
        assert ui.statusLabel.isHidden()

    def test_a_scan_deleted_meanwhile_gets_no_result(self, slicer, sections, ui, scan):
        volume = scan()
        sections.settle()
        user.click(ui.segmentButton)
        slicer.mrmlScene.RemoveNode(volume)
        sections.end()
        ended, missing = ui.statusLabel.text.split("\n")
        assert "CT: the volume was closed during the segmentation; the result was dropped." in ended
        assert missing.startswith("Choose a scan")
        assert segmentations(slicer) == []

    def test_a_scan_changed_meanwhile_gets_no_result(self, slicer, sections, ui, scan):
        volume = scan()
        sections.settle()
        user.click(ui.segmentButton)
        slicer.util.arrayFromVolume(volume)[:] = 7
        slicer.util.arrayFromVolumeModified(volume)
        sections.end()
        assert "was changed during the segmentation" in ui.statusLabel.text
        assert segmentations(slicer) == []

    @pytest.mark.slow
    def test_closing_the_scene_ends_the_run_and_the_next_scene_works(self, slicer, sections, ui, scan):
        sections.useEngine("--late-result")
        scan()
        sections.settle()
        user.click(ui.segmentButton)
        assert user.pump(lambda: "Segmenting" in ui.statusLabel.text)
        user.closeScene()
        sections.end()
        assert segmentations(slicer) == [] and not ui.segmentButton.enabled and ui.resultBox.isHidden()
        sections.useEngine()
        volume = scan("next")
        sections.settle()
        assert sections.parameters.inputVolume is volume
        sections.run()
        assert len(segmentations(slicer)) == 1

    def test_a_result_that_comes_while_another_module_is_open_is_there_afterwards(
        self, slicer, sections, ui, scan
    ):
        scan()
        sections.settle()
        user.click(ui.segmentButton)
        sections.exit()
        assert user.pump(lambda: segmentations(slicer))
        user.pump(seconds=0.1)
        sections.enter()
        (node,) = segmentations(slicer)
        assert sections.parameters.outputSegmentation is node
        assert "1 organ found." in ui.summaryLabel.text
