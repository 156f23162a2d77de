"""Section 1 after a run: the table, where the result goes, and several scans in a row."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")

import user

pytest_plugins = ("segment_bench",)


def segmentations(slicer):
    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


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
        assert ui.tableHint.text.replace("\u200b", "") == f"Saved as {path}."

    def test_a_file_that_cannot_be_written_is_a_line(self, ui, result, dialogs, tmp_path):
        dialogs.answer("Export the table", str(tmp_path))  # a folder
        user.click(ui.exportButton)
        said = ui.tableHint.text.replace("\u200b", "")
        assert str(tmp_path) in said and not said.startswith("Saved")

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
