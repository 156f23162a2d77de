"""Section 1, used like a user does, with an engine that finds what is bright."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")

import user


@pytest.fixture
def sections(slicer, tmp_path):
    from sections import Sections

    made = Sections(tmp_path)
    made.useEngine()
    yield made
    made.close()


@pytest.fixture
def ui(sections):
    return sections.ui


@pytest.fixture
def scan(slicer):
    """Loads a scan that is dark but for a block; `shown`: in all slice views."""

    def load(name="CT", shown=True):
        array = np.zeros((6, 9, 12), np.int16)
        array[1:4, 2:6, 3:8] = 1000
        volume = slicer.util.addVolumeFromArray(array, name=name)
        if shown:
            slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None)
        return volume

    return load


def segmentations(slicer):
    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


class TestChoosingTheScan:
    def test_without_a_scan_the_panel_says_what_is_needed(self, ui, sections, screenshot):
        assert not ui.segmentButton.enabled
        assert ui.statusLabel.text.startswith("Choose a scan, or load one")
        assert ui.statusLabel.text in ui.segmentButton.toolTip
        screenshot(sections.window, "segment_no_scan")

    def test_the_scan_on_screen_is_chosen_as_soon_as_it_is_loaded(self, sections, ui, scan):
        volume = scan()
        sections.settle()
        assert sections.parameters.inputVolume is volume and ui.inputSelector.currentNode() is volume
        assert ui.segmentButton.enabled and ui.inputHint.isHidden()

    def test_label_maps_are_not_in_the_list(self, slicer, sections, ui, scan):
        scan()
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
        sections.settle()
        assert [node.GetName() for node in ui.inputSelector.nodes()] == ["CT"]

    def test_another_scan_on_screen_is_said_and_taken_with_one_click(self, sections, ui, scan, screenshot):
        scan("first")
        sections.settle()
        second = scan("second")
        sections.settle()
        assert ui.inputSelector.currentNode().GetName() == "first", "the choice stays"
        assert ui.inputHint.text == "The slice views show another scan: second."
        screenshot(sections.window, "segment_other_scan_on_screen")
        user.click(ui.onScreenButton)
        assert sections.parameters.inputVolume is second
        assert ui.inputHint.isHidden() and not ui.onScreenButton.enabled

    def test_of_two_scans_that_nobody_looks_at_none_is_guessed(self, sections, ui, scan):
        scan("a", shown=False)
        sections.settle()
        assert ui.inputSelector.currentNode() is not None, "the only one"
        user.choose(ui.inputSelector, None)
        scan("b", shown=False)
        sections.settle()
        assert ui.inputSelector.currentNode() is None and not ui.segmentButton.enabled


class TestBeforeARun:
    def test_warnings_and_the_estimate_are_told_and_the_run_is_possible_anyway(self, sections, ui, scan):
        scan()
        sections.settle()
        text = sections.checked()
        assert "Warning: " in text and "Look twice." in text
        assert "Estimate: A few seconds and 900 MB of memory on CPU." in text
        assert ui.segmentButton.text == "Segment anyway" and ui.segmentButton.enabled

    def test_the_device_is_named_when_the_engine_is_there(self, sections, ui, scan):
        scan()
        sections.settle()
        sections.checked()
        assert ui.deviceLabel.text == "CPU: ready"

    def test_nothing_is_asked_while_the_section_is_closed(self, sections, ui, scan):
        user.unfold(ui.segmentCollapsible, False)
        scan()
        user.pump(seconds=1.0)
        assert not sections.workspace.worker.running
        user.unfold(ui.segmentCollapsible)
        assert "Estimate" in sections.checked()

    def test_the_settings_that_are_checked_are_those_chosen(self, sections, ui, scan, screenshot):
        import qt

        scan()
        sections.settle()
        user.unfold(ui.optionsBox)
        ui.allOrgansCheckBox.click()
        assert ui.statusLabel.text == "Tick at least one organ, or take all that the model knows."
        assert not ui.segmentButton.enabled and ui.optionsBox.text == "Options: no organ"
        row = next(k for k in range(ui.organsList.count) if "Liver" in ui.organsList.item(k).text())
        assert "SCT 10200004" in ui.organsList.item(row).text()
        ui.organsList.item(row).setCheckState(qt.Qt.Checked)
        assert ui.optionsBox.text == "Options: 1 organ" and sections.parameters.organs == ["liver"]
        screenshot(sections.window, "segment_chosen_organs")
        asked = json.loads(sections.checked().split("Warning: ")[1].rpartition("} ")[0] + "}")
        assert asked["organs"] == ["liver"]

    def test_without_pytorch_it_points_to_the_set_up(self, sections, ui, scan, screenshot):
        sections.useEngine("--torchless")
        scan()
        sections.settle()
        sections.checked()
        user.pump(lambda: not ui.segmentButton.enabled)
        assert ui.statusLabel.text == "PyTorch is needed to segment: set it up at the top of this panel."
        screenshot(sections.window, "segment_no_pytorch")

    def test_an_engine_that_does_not_start_is_a_line_not_a_dialog(self, sections, ui, scan, dialogs):
        sections.useEngine("--dies")
        scan()
        sections.settle()
        assert "ended before it was ready" in sections.checked()
        assert dialogs.shown == []


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
        assert "was closed while it was segmented" in ui.statusLabel.text or ui.statusLabel.text.startswith(
            "Choose a scan"
        )
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


class TestTheTable:
    @pytest.fixture
    def result(self, sections, scan):
        scan()
        sections.settle()
        sections.run()
        return sections.parameters.outputSegmentation

    def test_the_organs_figures_are_there_at_once(self, ui, result):
        titles = [ui.organTable.horizontalHeaderItem(k).text() for k in range(ui.organTable.columnCount)]
        cells = [ui.organTable.item(0, k).text() for k in range(ui.organTable.columnCount)]
        row = dict(zip(titles, cells, strict=True))
        assert ui.organTable.rowCount == 1
        assert row["Organ"] == "Left kidney" and row["State"] == "proposed"
        assert row["mL"] == "0.1" and row["Mean ± SD"] == "1000.0 ± 0.0" and row["Pieces"] == "1"
        assert row["Unsure"] == "10.0 %" and row["Model"] == "phantom13 1"

    def test_it_is_exported_as_csv_and_says_where(self, sections, ui, result, dialogs, tmp_path):
        path = tmp_path / "organs.csv"
        dialogs.answer("Export the table", str(path))
        user.click(ui.exportButton)
        lines = path.read_text("utf-8").splitlines()
        assert lines[0].startswith("organ,volume_ml,mean,sd,pieces") and lines[1].startswith("Left kidney,")
        assert ui.tableHint.text == f"Saved as {path}."

    def test_a_file_that_cannot_be_written_is_a_line(self, ui, result, dialogs, tmp_path):
        dialogs.answer("Export the table", str(tmp_path))  # a folder
        user.click(ui.exportButton)
        assert str(tmp_path) in ui.tableHint.text and not ui.tableHint.text.startswith("Saved")

    def test_after_a_correction_it_asks_to_be_updated_and_then_shows_it(
        self, slicer, ui, result, sections, screenshot
    ):
        from segment_editing import SegmentEditor

        mask = np.zeros((6, 9, 12), bool)
        mask[1] = True
        volume = slicer.util.getNode("CT")
        SegmentEditor(slicer, result, volume).erase("left_kidney", mask)
        user.pump(seconds=0.1)
        assert "press Update" in ui.tableHint.text
        screenshot(sections.window, "segment_table_outdated")
        user.click(ui.updateTableButton)
        assert "edited" in [ui.organTable.item(0, k).text() for k in range(ui.organTable.columnCount)]
        assert ui.tableHint.isHidden()

    def test_another_segmentation_is_measured_when_asked(self, slicer, sections, ui, result):
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "by hand")
        volume = slicer.util.getNode("CT")
        other.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        cyst = other.GetSegmentation().AddEmptySegment("cyst", "Cyst")
        slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones((6, 9, 12), np.uint8), other, cyst, volume)
        sections.parameters.outputSegmentation = other
        assert ui.summaryLabel.text == "by hand." and ui.organTable.isHidden()
        assert ui.tableHint.text == "Press Measure for the organs' figures." and not ui.exportButton.enabled
        user.click(ui.updateTableButton)
        assert ui.organTable.item(0, 0).text() == "Cyst" and not ui.organTable.isHidden()


class TestWhereTheResultGoes:
    def test_a_second_run_makes_a_second_segmentation(self, slicer, sections, scan):
        scan()
        sections.settle()
        sections.run()
        sections.run()
        assert len(segmentations(slicer)) == 2

    def test_into_an_existing_one_on_request_and_only_once(self, slicer, sections, ui, scan):
        scan()
        sections.settle()
        sections.run()
        (node,) = segmentations(slicer)
        user.unfold(ui.optionsBox)
        user.choose(ui.resultSelector, node)
        assert ui.optionsBox.text == "Options: into an existing segmentation"
        assert ui.resultHint.text.startswith("Replaced are the organs that a model proposed")
        sections.run()
        assert segmentations(slicer) == [node]
        assert ui.resultSelector.currentNode() is None and ui.resultHint.isHidden()

    def test_what_is_completed_is_named_before_and_left_alone(self, slicer, sections, ui, scan, screenshot):
        from SKCDFSegmenterLib.SegmentRecord import setCompleted

        volume = scan()
        sections.settle()
        sections.run()
        (node,) = segmentations(slicer)
        setCompleted(node.GetSegmentation().GetSegment("left_kidney"), True)
        array = slicer.util.arrayFromVolume(volume)
        array[:] = np.roll(array, 1, axis=0)
        slicer.util.arrayFromVolumeModified(volume)
        before = slicer.util.arrayFromSegmentBinaryLabelmap(node, "left_kidney", volume)
        user.unfold(ui.optionsBox)
        user.choose(ui.resultSelector, node)
        assert "Left as they are: Left kidney." in ui.resultHint.text
        screenshot(sections.window, "segment_into_existing")
        sections.run()
        assert "Left as they were, because edited or completed: Left kidney." in ui.summaryLabel.text
        assert (slicer.util.arrayFromSegmentBinaryLabelmap(node, "left_kidney", volume) == before).all()

    def test_a_new_region_lies_in_the_middle_and_is_sent_as_a_box(
        self, slicer, sections, ui, scan, screenshot
    ):
        scan()
        sections.settle()
        user.unfold(ui.optionsBox)
        region = ui.regionSelector.addNode()
        user.choose(ui.regionSelector, region)
        assert sections.parameters.region is region
        assert " % of the scan. Drag the box's handles" in ui.regionHint.text
        assert ui.optionsBox.text == "Options: region"
        screenshot(sections.window, "segment_region")
        asked = json.loads(sections.checked().split("Warning: ")[1].rpartition("} ")[0] + "}")
        (z0, z1), (y0, y1), (x0, x1) = asked["region"]
        assert 0 < z0 < z1 < 6 and 0 < y0 < y1 < 9 and 0 < x0 < x1 < 12
        region.SetCenter([500, 500, 500])
        sections.settle()
        assert "holds no voxel of CT" in sections.checked()


class TestSeveralScans:
    @pytest.fixture
    def three(self, sections, scan, ui):
        volumes = [scan(name, shown=name == "a") for name in "abc"]
        sections.settle()
        user.unfold(ui.optionsBox)
        user.click(ui.severalCheckBox)
        return volumes

    def test_the_scan_of_before_is_ticked_and_others_can_be(self, sections, ui, three):
        assert [node.GetName() for node in ui.scansSelector.checkedNodes()] == ["a"]
        assert ui.inputSelector.isHidden() and not ui.scansSelector.isHidden()
        ui.scansSelector.uncheck(three[0])
        sections.settle()
        assert ui.statusLabel.text == "Tick the scans that shall be segmented in a row."
        assert not ui.segmentButton.enabled

    def test_each_gets_a_segmentation_and_the_summary_names_all(
        self, slicer, sections, ui, three, screenshot
    ):
        for volume in three:
            ui.scansSelector.check(volume)
        assert "Estimate: About 10 s" in sections.checked()
        sections.run()
        assert len(segmentations(slicer)) == 3
        lines = ui.summaryLabel.text.split("\n")
        assert lines == ["3 scans segmented.", "a: 1 organ", "b: 1 organ", "c: 1 organ"]
        screenshot(sections.window, "segment_several")

    def test_one_that_cannot_be_segmented_does_not_stop_the_others(self, slicer, sections, ui, three):
        for volume in three:
            ui.scansSelector.check(volume)
        sections.checked()
        user.click(ui.segmentButton)
        slicer.mrmlScene.RemoveNode(three[1])
        sections.end()
        assert len(segmentations(slicer)) == 2
        assert ui.summaryLabel.text.startswith("2 scans segmented.\nNot segmented: b: ")

    def test_cancel_ends_the_row_and_keeps_what_is_done(self, slicer, sections, ui, three):
        sections.useEngine("--late-result")
        for volume in three:
            ui.scansSelector.check(volume)
        sections.checked()
        user.click(ui.segmentButton)
        assert user.pump(lambda: ui.statusLabel.text.startswith("Scan 1 of 3: a. "))
        user.click(ui.segmentButton)
        sections.end()
        assert segmentations(slicer) == [] and "Cancelled" in ui.statusLabel.text


class TestTheModel:
    def test_the_card_is_one_click_away(self, ui, sections, screenshot):
        assert ui.cardText.isHidden()
        user.click(ui.cardButton)
        card = ui.cardText.plainText
        assert "Liver (SCT 10200004)" in card and "not for diagnosis" in card
        screenshot(sections.window, "segment_model_card")
        user.click(ui.cardButton)
        assert ui.cardText.isHidden()

    def test_a_model_of_phantoms_says_so_and_points_to_teach(self, ui):
        assert "synthetic phantoms only" in ui.modelHint.text and "3. Teach" in ui.modelHint.text

    def test_for_a_phantom_it_is_the_right_one(self, slicer, sections, ui):
        from SKCDFSegmenterLib.SampleScans import addPhantomVolume

        sections.workspace.segmenter.check = None  # what a check says is not what this is about
        addPhantomVolume()
        user.unfold(ui.segmentCollapsible, False)
        sections.settle()
        assert sections.parameters.inputVolume is not None
        assert ui.modelHint.isHidden() and ui.segmentButton.text == "Segment"

    def test_no_model_is_a_state_in_words(self, sections, ui, scan, monkeypatch, screenshot):
        monkeypatch.setattr("SKCDFSegmenterLib.ModelCatalogue.list_models", lambda _folder: [])
        sections.workspace.modelsChanged.emit()
        scan()
        sections.settle()
        assert ui.modelHint.text.startswith("There is no model yet. Teach one")
        assert ui.statusLabel.text == "A model is needed: see above."
        assert not ui.segmentButton.enabled and not ui.cardButton.enabled
        screenshot(sections.window, "segment_no_model")


def test_it_fits_a_narrow_module_panel(slicer, sections, ui, scan):
    scan("a scan with quite a long name, as they come from the archive")
    sections.settle()
    user.unfold(ui.optionsBox)
    user.click(ui.allOrgansCheckBox)
    user.click(ui.cardButton)
    sections.run() if ui.segmentButton.enabled else None
    assert sections.segment.widget.minimumSizeHint.width() <= 350
