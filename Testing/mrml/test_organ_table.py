"""The table of a segmentation says what its segments are now, whoever has changed them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import placed
import scans
from placed import ESOPHAGUS, LABEL_SET, OBLIQUE, RIGHT_KIDNEY, SPLEEN, TABLE
from segment_editing import SegmentEditor

from skcdf.errors import SkcdfError
from skcdf.statistics import organ_statistics
from SKCDFSegmenterLib.OrganTable import organTable, tableOf, tableToCsv
from SKCDFSegmenterLib.SegmentRecord import ModelRecord, setCompleted
from SKCDFSegmenterLib.VolumeImage import geometryOfVolume, imageOfVolume

VOXEL_ML = 0.7 * 1.1 * 2.9 / 1000


@pytest.fixture(params=[None, TABLE], ids=["untransformed", "transformed"])
def volume(makeVolume, request):
    return makeVolume(scans.SHAPE, OBLIQUE, request.param)


@pytest.fixture
def segmentation(volume):
    return placed.place(volume).segmentationNode


@pytest.fixture
def editor(slicer, segmentation, volume):
    return SegmentEditor(slicer, segmentation, volume)


def cells(table):
    """Rows by segment ID, or by organ for an organ without segment; texts by column."""
    columns = [table.GetColumnName(index) for index in range(table.GetNumberOfColumns())]
    rows = [
        {name: table.GetCellText(index, table.GetColumnIndex(name)) for name in columns}
        for index in range(table.GetNumberOfRows())
    ]
    return {row["segment"] or row["organ"]: row for row in rows}


def workerRows(volume, array=None, model="abdomen v1"):
    """What the worker tells of a result, by the engine's own statistics."""
    labels = scans.labels(geometryOfVolume(volume)).array if array is None else array
    rows = organ_statistics(imageOfVolume(volume), labels, LABEL_SET, model, "")
    return [vars(row) for row in rows]


class TestFigures:
    def test_are_those_that_the_engine_measures(self, volume, segmentation):
        table = cells(organTable(segmentation, volume))
        assert list(table) == [SPLEEN, RIGHT_KIDNEY, ESOPHAGUS]
        for row in workerRows(volume):
            if row["volume_ml"]:
                shown = table[row["organ"]]
                assert float(shown["volume_ml"]) == pytest.approx(row["volume_ml"], abs=0.005)
                assert float(shown["mean"]) == pytest.approx(row["mean"], abs=0.06)
                assert float(shown["sd"]) == pytest.approx(row["sd"], abs=0.06)
                assert int(shown["pieces"]) == row["pieces"]

    def test_rows_of_the_worker_are_believed_of_what_is_unchanged_only(self, volume, segmentation, editor):
        rows = [{**row, "mean": 1234.0} for row in workerRows(volume)]
        editor.erase(SPLEEN, placed.mask((1, 2), (2, 5), (3, 9)))
        table = cells(organTable(segmentation, volume, rows))
        assert table[ESOPHAGUS]["mean"] == "1234.0"
        assert table[SPLEEN]["mean"] != "1234.0"
        assert float(table[SPLEEN]["volume_ml"]) == pytest.approx(36 * VOXEL_ML, abs=0.005)

    def test_rows_of_another_model_are_not_believed(self, volume, segmentation):
        rows = [{**row, "mean": 1234.0} for row in workerRows(volume, model="abdomen v9")]
        assert cells(organTable(segmentation, volume, rows))[SPLEEN]["mean"] != "1234.0"

    def test_edits_count(self, slicer, volume, segmentation, editor):
        organTable(segmentation, volume)
        editor.paint(SPLEEN, placed.mask((8, 9), (12, 14), (17, 19)))
        organTable(segmentation, volume)
        row = cells(tableOf(segmentation))[SPLEEN]
        mask = placed.voxels(slicer, segmentation, SPLEEN, volume)
        values = imageOfVolume(volume).array[mask].astype(float)
        assert row["state"] == "edited"
        assert row["pieces"] == "2"
        assert float(row["volume_ml"]) == pytest.approx(mask.sum() * VOXEL_ML, abs=0.005)
        assert (row["mean"], row["sd"]) == (f"{values.mean():.1f}", f"{values.std():.1f}")

    def test_an_emptied_segment_has_no_mean(self, volume, segmentation, editor):
        editor.erase(SPLEEN, placed.mask((0, 9), (0, 14), (0, 19)))
        row = cells(organTable(segmentation, volume))[SPLEEN]
        assert (row["volume_ml"], row["mean"], row["sd"], row["pieces"]) == ("0", "", "", "0")


class TestStates:
    def test_say_who_has_worked_on_a_segment(self, slicer, volume, segmentation, editor):
        editor.paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
        setCompleted(segmentation.GetSegmentation().GetSegment(ESOPHAGUS), True)
        placed.draw(slicer, segmentation, volume, "Segment_1", "Cyst", placed.mask((0, 2), (0, 2), (0, 2)))
        table = cells(organTable(segmentation, volume))
        assert {key: row["state"] for key, row in table.items()} == {
            SPLEEN: "edited",
            RIGHT_KIDNEY: "proposed",
            ESOPHAGUS: "completed",
            "Segment_1": "drawn by hand",
        }
        assert (table[SPLEEN]["model"], table["Segment_1"]["model"]) == ("abdomen v1", "")

    def test_organs_that_were_not_found_follow(self, volume, segmentation):
        table = cells(organTable(segmentation, volume, workerRows(volume)))
        assert len(table) == 13
        liver = table["Liver"]
        assert (liver["state"], liver["volume_ml"], liver["model"]) == ("not found", "0", "abdomen v1")

    def test_an_organ_that_a_person_drew_is_not_called_not_found(self, slicer, volume, segmentation):
        placed.draw(slicer, segmentation, volume, "Segment_1", "liver", placed.mask((0, 2), (0, 2), (0, 2)))
        table = cells(organTable(segmentation, volume, workerRows(volume)))
        assert len(table) == 13 and "Liver" not in table

    def test_the_unsure_share_is_the_models(self, volume):
        record = ModelRecord("abdomen v1", unsure={SPLEEN: 0.1234})
        segmentation = placed.place(volume, record=record).segmentationNode
        table = cells(organTable(segmentation, volume))
        assert (table[SPLEEN]["unsure_percent"], table[ESOPHAGUS]["unsure_percent"]) == ("12.3", "")


class TestRemarks:
    def remarks(self, volume, array, **record):
        segmentation = placed.place(volume, array, ModelRecord("abdomen v1", **record)).segmentationNode
        return cells(organTable(segmentation, volume))[SPLEEN]["remarks"]

    def test_come_from_the_training_cases_volumes(self, volume):
        array = placed.array(spleen=((2, 5), (2, 5), (3, 9)))  # 54 voxels
        own = 54 * VOXEL_ML
        assert self.remarks(volume, array, usual={SPLEEN: (own, own)}) == ""
        assert self.remarks(volume, array, usual={SPLEEN: (4 * own, 9 * own)}) == "unusually small"
        assert self.remarks(volume, array, usual={SPLEEN: (own / 9, own / 4)}) == "unusually large"
        assert self.remarks(volume, array) == ""

    def test_organs_cut_by_the_scans_edge_are_incomplete(self, volume):
        array = placed.array(spleen=((0, 5), (2, 5), (3, 9)))
        assert self.remarks(volume, array) == "incomplete"

    def test_pieces_are_told_where_they_are_not_usual(self, volume):
        array = placed.array(spleen=((2, 5), (2, 5), (3, 9)))
        array[6:8, 8:11, 12:17] = 1
        assert self.remarks(volume, array) == "in several pieces"
        assert self.remarks(volume, array, pieces={SPLEEN: 2}) == ""

    def test_follow_edits(self, volume, segmentation, editor):
        organTable(segmentation, volume)
        editor.paint(RIGHT_KIDNEY, placed.mask((7, 9), (1, 7), (11, 14)))
        organTable(segmentation, volume)
        row = cells(tableOf(segmentation))[RIGHT_KIDNEY]
        assert row["remarks"] == "incomplete"

    def test_of_what_a_person_drew_are_that_it_is_cut_only(self, slicer, volume, segmentation):
        drawn = placed.mask((0, 2), (0, 2), (0, 2)) | placed.mask((5, 7), (5, 7), (0, 1))
        placed.draw(slicer, segmentation, volume, "Segment_1", "Cyst", drawn)
        row = cells(organTable(segmentation, volume))["Segment_1"]
        assert (row["pieces"], row["remarks"]) == ("2", "incomplete")


class TestTable:
    def test_a_segmentation_has_one(self, slicer, volume, segmentation):
        first = organTable(segmentation, volume)
        assert organTable(segmentation, volume) is first is tableOf(segmentation)
        assert first.GetName() == "Result statistics"
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 1
        assert organTable(placed.place(volume).segmentationNode, volume) is not first

    def test_only_what_changed_is_measured_again(self, volume, segmentation, editor):
        rows = [{**row, "mean": 1234.0} for row in workerRows(volume)]
        organTable(segmentation, volume, rows)
        editor.paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
        organTable(segmentation, volume, rows)
        table = cells(tableOf(segmentation))
        assert (table[SPLEEN]["state"], table[ESOPHAGUS]["mean"]) == ("edited", "1234.0")

    def test_follows_added_removed_and_reordered_segments(self, slicer, volume, segmentation):
        organTable(segmentation, volume, workerRows(volume))
        segments = segmentation.GetSegmentation()
        segments.RemoveSegment(SPLEEN)
        placed.draw(slicer, segmentation, volume, "Segment_1", "Liver", placed.mask((0, 2), (0, 2), (0, 2)))
        segments.SetSegmentIndex("Segment_1", 0)
        organTable(segmentation, volume, workerRows(volume))
        table = cells(tableOf(segmentation))
        assert list(table)[:3] == ["Segment_1", RIGHT_KIDNEY, ESOPHAGUS]
        assert SPLEEN not in table and "Liver" not in table and "Stomach" in table

    def test_a_saved_scene_has_it_and_goes_on_with_it(self, slicer, volume, segmentation, tmp_path):
        before = cells(organTable(segmentation, volume, workerRows(volume)))
        path = str(tmp_path / "scene.mrb")
        assert slicer.mrmlScene.WriteToMRB(path)
        slicer.mrmlScene.Clear(1)
        assert slicer.mrmlScene.ReadFromMRB(path)
        segmentation, volume = slicer.util.getNode("Result"), slicer.util.getNode("CT")
        table = tableOf(segmentation)
        assert cells(table) == before
        organTable(segmentation, volume)
        assert cells(tableOf(segmentation)) == before
        assert organTable(segmentation, volume) is table

    def test_columns_have_titles_and_numbers_are_numbers(self, volume, segmentation):
        table = organTable(segmentation, volume)
        assert table.GetColumnTitle("volume_ml") == "Volume (mL)"
        assert table.GetUseColumnTitleAsColumnHeader()
        assert table.GetTable().GetColumnByName("volume_ml").GetDataTypeAsString() == "double"
        assert table.GetTable().GetColumnByName("pieces").GetDataTypeAsString() == "int"

    def test_a_csv_file_has_what_it_shows(self, volume, segmentation, tmp_path):
        segmentation.GetSegmentation().GetSegment(SPLEEN).SetName('Milz, "klein" ü')
        table = organTable(segmentation, volume)
        tableToCsv(table, tmp_path / "t.csv")
        with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["segment"]: row for row in rows} == cells(table)
        assert rows[0]["organ"] == 'Milz, "klein" ü'

    def test_a_csv_file_that_cannot_be_written_is_told(self, volume, segmentation, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(SkcdfError, match="file"):
            tableToCsv(organTable(segmentation, volume), tmp_path / "file" / "t.csv")

    def test_a_segmentation_without_segments_has_an_empty_one(self, slicer, volume):
        node = placed.place(volume, np.zeros(scans.SHAPE, np.uint8)).segmentationNode
        assert cells(organTable(node, volume)) == {}
