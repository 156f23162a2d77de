"""A corrected segmentation becomes a case of a pool: what a person has looked at, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import placed
import scans
from placed import ESOPHAGUS, LABEL_SET, OBLIQUE, RIGHT_KIDNEY, SECOND, SPLEEN, TABLE
from segment_editing import SegmentEditor

from skcdf.errors import SkcdfError
from skcdf.image import read_image, read_label_map
from skcdf.pool import LabelledPool
from skcdf.worker_client import WorkerClient
from SKCDFSegmenterLib.CaseContribution import caseContent, exportCase, subjectOfVolume
from SKCDFSegmenterLib.LabelMapExport import Overlap
from SKCDFSegmenterLib.SegmentRecord import setCompleted
from SKCDFSegmenterLib.Snapshot import restorePrevious
from SKCDFSegmenterLib.VolumeImage import imageOfVolume


@pytest.fixture(params=[None, TABLE], ids=["untransformed", "transformed"])
def volume(makeVolume, request):
    return makeVolume(scans.SHAPE, OBLIQUE, request.param)


@pytest.fixture
def segmentation(volume):
    return placed.place(volume).segmentationNode


@pytest.fixture
def editor(slicer, segmentation, volume):
    return SegmentEditor(slicer, segmentation, volume)


def complete(segmentation, *segmentIDs):
    for segmentID in segmentIDs:
        setCompleted(segmentation.GetSegmentation().GetSegment(segmentID), True)


def values(path):
    return set(np.unique(read_label_map(path).array).tolist()) - {0}


class TestContent:
    def test_only_completed_and_checked_organs_are_annotated(self, volume, segmentation):
        complete(segmentation, SPLEEN)
        content = caseContent(segmentation, LABEL_SET, volume, [ESOPHAGUS])
        assert content.annotated == (SPLEEN, ESOPHAGUS)
        assert content.unchecked == (RIGHT_KIDNEY,)
        assert content.absent == () and content.foreign == () and content.overlaps == ()

    def test_a_checked_organ_without_segment_was_looked_for_and_is_absent(self, volume, segmentation):
        content = caseContent(segmentation, LABEL_SET, volume, ["liver"])
        assert content.annotated == ("liver",) and content.absent == ("liver",)

    def test_a_completed_segment_that_was_emptied_is_absent(self, volume, segmentation, editor):
        editor.erase(SPLEEN, placed.mask((0, 9), (0, 14), (0, 19)))
        complete(segmentation, SPLEEN)
        assert caseContent(segmentation, LABEL_SET, volume).absent == (SPLEEN,)

    def test_foreign_segments_are_named(self, slicer, segmentation, volume):
        placed.draw(slicer, segmentation, volume, "Segment_1", "Cyst", placed.mask((0, 2), (0, 2), (0, 2)))
        complete(segmentation, "Segment_1")
        assert caseContent(segmentation, LABEL_SET, volume).foreign == ("Cyst",)

    def test_overlaps_of_annotated_organs_are_told(self, slicer, segmentation, volume):
        drawn = placed.mask((0, 5), (0, 14), (0, 19))
        placed.draw(slicer, segmentation, volume, "Segment_1", "Liver", drawn)
        complete(segmentation, SPLEEN, "Segment_1")
        shared = int((drawn & placed.voxels(slicer, segmentation, SPLEEN, volume)).sum())
        assert caseContent(segmentation, LABEL_SET, volume).overlaps == (Overlap(SPLEEN, "liver", shared),)

    def test_an_organ_that_the_pool_does_not_have_is_refused(self, volume, segmentation):
        with pytest.raises(SkcdfError, match="no label called tail"):
            caseContent(segmentation, LABEL_SET, volume, ["tail"])


class TestExport:
    def test_the_files_are_the_scan_and_the_annotated_organs(self, slicer, volume, segmentation, tmp_path):
        complete(segmentation, SPLEEN, ESOPHAGUS)
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, ["liver"])
        assert fields["annotated"] == [SPLEEN, ESOPHAGUS, "liver"]
        scan, label = read_image(fields["image"]), read_label_map(fields["label"])
        np.testing.assert_array_equal(scan.array, imageOfVolume(volume).array)
        assert scan.geometry.same_grid(imageOfVolume(volume).geometry)
        assert label.geometry.same_grid(scan.geometry)
        for organ in (SPLEEN, ESOPHAGUS):
            np.testing.assert_array_equal(
                label.array == LABEL_SET.value_of(organ),
                placed.voxels(slicer, segmentation, organ, volume),
            )
        assert values(fields["label"]) == {1, 5}

    def test_unchecked_organs_take_no_voxels_of_annotated_ones(self, slicer, volume, segmentation, tmp_path):
        """The smaller organ gets what two claim, but a proposal that nobody has looked at gets nothing."""
        everything = placed.mask((0, 9), (0, 14), (0, 19))
        placed.draw(slicer, segmentation, volume, "Segment_1", "Liver", everything)
        complete(segmentation, "Segment_1")
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path)
        assert (read_label_map(fields["label"]).array == LABEL_SET.value_of("liver")).all()

    def test_segments_kept_as_surfaces_are_exported_too(self, slicer, volume, segmentation, tmp_path):
        before = {organ: placed.voxels(slicer, segmentation, organ, volume) for organ in (SPLEEN, ESOPHAGUS)}
        segmentation.GetSegmentation().SetConversionParameter("Smoothing factor", "0")
        segmentation.CreateClosedSurfaceRepresentation()
        segmentation.SetSourceRepresentationToClosedSurface()
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN, ESOPHAGUS])
        label = read_label_map(fields["label"]).array
        for organ, old in before.items():
            new = label == LABEL_SET.value_of(organ)
            assert 2 * (new & old).sum() / (new.sum() + old.sum()) > 0.8

    def test_nothing_annotated_is_refused(self, volume, segmentation, tmp_path):
        with pytest.raises(SkcdfError, match="Result: no organ is marked as checked"):
            exportCase(volume, segmentation, LABEL_SET, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_two_segments_of_one_organ_are_refused(self, slicer, volume, segmentation, tmp_path):
        placed.draw(slicer, segmentation, volume, "a", "Spleen", placed.mask((0, 1), (0, 1), (0, 1)))
        complete(segmentation, "a", SPLEEN)
        with pytest.raises(SkcdfError, match="are both the organ Spleen"):
            exportCase(volume, segmentation, LABEL_SET, tmp_path)

    def test_it_enters_a_pool_and_is_revised(self, volume, segmentation, editor, tmp_path):
        pool = LabelledPool.create(tmp_path / "pool", LABEL_SET, "CT")
        editor.erase(SPLEEN, placed.mask((1, 2), (2, 5), (3, 9)))
        complete(segmentation, SPLEEN, ESOPHAGUS)
        record = self.add(pool, volume, segmentation, tmp_path)
        (revision,) = record.revisions
        assert revision.annotated == (SPLEEN, ESOPHAGUS)
        assert revision.model == "abdomen v1"
        # A third of the spleen's voxels was erased: 2 * 36 / (54 + 36).
        assert revision.proposal_dice == {SPLEEN: pytest.approx(0.8), ESOPHAGUS: 1.0}
        assert pool.verify().problems == ()

    @pytest.mark.slow
    def test_the_worker_takes_the_fields_as_they_are(self, volume, segmentation, tmp_path):
        pool = LabelledPool.create(tmp_path / "pool", LABEL_SET, "CT")
        complete(segmentation, SPLEEN)
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path)
        with WorkerClient() as worker:
            request = worker.request("pool_add", pool=str(pool.root), subject="4711", **fields)
            result = worker.result(request)
        assert (result["action"], result["proposal_dice"]) == ("add", {SPLEEN: 1.0})
        assert pool.record(result["case"]).revisions[0].annotated == (SPLEEN,)

    @staticmethod
    def add(pool, volume, segmentation, folder):
        fields = exportCase(volume, segmentation, pool.label_set, folder)
        pool.add_case(
            "case_001",
            read_image(fields["image"]),
            read_label_map(fields["label"]),
            subject="4711",
            annotated=fields["annotated"],
            model=fields["model"] or None,
            proposal=read_label_map(fields["proposal"]) if fields["proposal"] else None,
            accept_sides=True,
        )
        return pool.record("case_001")


class TestProposal:
    def test_is_what_was_proposed_before_the_edits(self, slicer, volume, segmentation, editor, tmp_path):
        before = placed.voxels(slicer, segmentation, SPLEEN, volume)
        editor.paint(SPLEEN, placed.mask((0, 9), (0, 5), (0, 19)))
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN])
        assert fields["model"] == "abdomen v1"
        np.testing.assert_array_equal(read_label_map(fields["proposal"]).array == 1, before)
        assert values(fields["proposal"]) == {1}

    @pytest.mark.parametrize("isRestored", [False, True])
    def test_follows_a_transform_that_is_hardened(
        self, slicer, volume, segmentation, editor, tmp_path, isRestored
    ):
        before = placed.voxels(slicer, segmentation, SPLEEN, volume)
        editor.paint(SPLEEN, placed.mask((0, 9), (0, 5), (0, 19)))
        if isRestored:
            placed.place(volume, record=SECOND, segmentationNode=segmentation, keepEdited=False)
        placed.harden(volume, segmentation)
        if isRestored:
            restorePrevious(segmentation)
        placed.place(volume, record=SECOND, segmentationNode=segmentation, organs=[ESOPHAGUS])
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN, ESOPHAGUS])
        assert values(fields["proposal"]) == {1, 5}
        np.testing.assert_array_equal(read_label_map(fields["proposal"]).array == 1, before)

    def test_of_an_organ_that_a_person_deleted_is_still_known(self, volume, segmentation, tmp_path):
        segmentation.GetSegmentation().RemoveSegment(ESOPHAGUS)
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN, ESOPHAGUS])
        assert values(fields["label"]) == {1}
        assert values(fields["proposal"]) == {1, 5}

    def test_of_an_organ_drawn_by_hand_is_empty(self, slicer, volume, segmentation, tmp_path):
        placed.draw(slicer, segmentation, volume, "Segment_1", "Liver", placed.mask((0, 1), (0, 3), (0, 3)))
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN, "liver"])
        assert values(fields["proposal"]) == {1}

    def test_there_is_none_where_no_model_worked(self, slicer, volume, tmp_path):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        placed.draw(slicer, node, volume, "Segment_1", "Liver", placed.mask((0, 1), (0, 3), (0, 3)))
        fields = exportCase(volume, node, LABEL_SET, tmp_path, ["liver"])
        assert (fields["model"], fields["proposal"]) == ("", "")

    def test_is_known_after_loading_only_where_nobody_edited(self, slicer, volume, segmentation, tmp_path):
        self.saveAndLoad(slicer, tmp_path)
        volume, segmentation = slicer.util.getNode("CT"), slicer.util.getNode("Result")
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN, ESOPHAGUS])
        assert values(fields["proposal"]) == {1, 5}
        np.testing.assert_array_equal(
            read_label_map(fields["proposal"]).array, read_label_map(fields["label"]).array
        )
        SegmentEditor(slicer, segmentation, volume).paint(SPLEEN, placed.mask((0, 1), (0, 1), (0, 1)))
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN, ESOPHAGUS])
        assert (fields["model"], fields["proposal"]) == ("abdomen v1", "")
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [ESOPHAGUS])
        assert values(fields["proposal"]) == {5}

    def test_after_loading_nobody_knows_what_was_proposed_for_an_absent_organ(
        self, slicer, volume, segmentation, tmp_path
    ):
        self.saveAndLoad(slicer, tmp_path)
        volume, segmentation = slicer.util.getNode("CT"), slicer.util.getNode("Result")
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN, "liver"])
        assert (fields["model"], fields["proposal"]) == ("abdomen v1", "")

    def test_of_a_later_run_replaces_the_earlier_one_and_goes_with_it(self, volume, segmentation, tmp_path):
        array = placed.array(spleen=((0, 3), (0, 3), (0, 3)))
        placed.place(volume, array, SECOND, segmentationNode=segmentation, organs=[SPLEEN])
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN])
        assert fields["model"] == SECOND.title
        np.testing.assert_array_equal(read_label_map(fields["proposal"]).array, array)
        restorePrevious(segmentation)
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, [SPLEEN])
        assert fields["model"] == "abdomen v1"
        assert int((read_label_map(fields["proposal"]).array == 1).sum()) == 54

    @staticmethod
    def saveAndLoad(slicer, folder: Path):
        path = str(folder / "scene.mrb")
        assert slicer.mrmlScene.WriteToMRB(path)
        slicer.mrmlScene.Clear(1)
        assert slicer.mrmlScene.ReadFromMRB(path)


class TestSubject:
    @staticmethod
    def hierarchy(slicer, volume, **attributes):
        node = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        patient = node.CreateSubjectItem(node.GetSceneItemID(), "Patient")
        for name, value in attributes.items():
            node.SetItemAttribute(patient, f"DICOM.{name}", value)
        node.CreateItem(node.CreateStudyItem(patient, "Study"), volume)

    def test_is_the_patient_id_of_the_volumes_patient(self, slicer, volume):
        self.hierarchy(slicer, volume, PatientID=" 4711 ", PatientName="Somebody")
        assert subjectOfVolume(volume) == "4711"

    @pytest.mark.parametrize("patientID", ["", "  ", "ANONYMOUS", "0", "Unknown"])
    def test_is_not_known_where_the_id_says_nobody(self, slicer, volume, patientID):
        self.hierarchy(slicer, volume, PatientID=patientID)
        assert subjectOfVolume(volume) == ""

    def test_is_not_known_of_a_volume_from_a_file(self, volume):
        assert subjectOfVolume(volume) == "" and subjectOfVolume(None) == ""

    def test_is_in_no_file_of_the_case_nor_in_the_scene(self, slicer, volume, segmentation, tmp_path):
        self.hierarchy(slicer, volume, PatientID="4711-very-rare")
        complete(segmentation, SPLEEN)
        subjectOfVolume(volume)
        fields = exportCase(volume, segmentation, LABEL_SET, tmp_path)
        assert "4711-very-rare" not in str(fields)
        for path in tmp_path.iterdir():
            assert b"4711-very-rare" not in path.read_bytes()
        assert "4711-very-rare" not in str([segmentation.GetAttributeNames(), segmentation.GetDescription()])
