"""Segmentations of the scene and single files, put where an import reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import scans

from skcdf.errors import SkcdfError
from skcdf.label_mapping import UNDECIDED, MappingFile
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool
from skcdf.pool_import import ImportOptions, plan_import
from skcdf.pool_sources import open_source
from SKCDFSegmenterLib.ImportDecisions import ImportDecisions
from SKCDFSegmenterLib.ImportStaging import loadedCases, stageFiles, stageLoaded

LABEL_SET = LabelSet.load("synapse13")
BLOCK = np.zeros(scans.SHAPE, np.uint8)
BLOCK[2:6, 3:9, 3:8] = 1


@pytest.fixture
def drawn(slicer, makeVolume):
    """Makes a volume and a segmentation of it with one segment."""

    def make(name="Drawing", segment="spleen", transform=None):
        volume = makeVolume(scans.SHAPE, scans.ijkToRASMatrix(), transform)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        segmentID = node.GetSegmentation().AddEmptySegment("", segment)
        slicer.util.updateSegmentBinaryLabelmapFromArray(BLOCK, node, segmentID, volume)
        return volume, node

    return make


def test_a_segmentation_of_the_scene_can_be_imported_with_its_voxels(drawn, tmp_path):
    drawn("Milz links oben")
    folder = tmp_path / "staged"
    folder.mkdir()
    stageLoaded(loadedCases(), folder)
    pool = LabelledPool.create(tmp_path / "pool", LABEL_SET, "CT")
    (entry,) = plan_import(pool, open_source(folder), ImportOptions()).run()
    assert (entry.action, entry.annotated) == ("add", ("spleen",))
    assert entry.voxels["spleen"] == BLOCK.sum()


def test_a_segmentation_under_the_transform_of_its_scan_is_the_same(drawn, tmp_path):
    drawn(transform=scans.rigid((10, 20, 30), (5, 6, 7)))
    stageLoaded(loadedCases(), tmp_path)
    (case,) = open_source(tmp_path).cases
    assert case.image and len(case.labels) == 1


def test_a_segmentation_that_was_moved_against_its_scan_is_refused(slicer, drawn, tmp_path):
    _volume, segmentation = drawn()
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Table")
    segmentation.SetAndObserveTransformNodeID(table.GetID())
    with pytest.raises(SkcdfError, match="different transforms"):
        stageLoaded(loadedCases(), tmp_path)


def test_what_has_no_voxels_or_no_scan_is_not_offered(slicer, drawn):
    volume, _segmentation = drawn("kept")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    _scan, other = drawn("orphan")
    other.SetNodeReferenceID(other.GetReferenceImageGeometryReferenceRole(), None)
    assert [case.segmentationNode.GetName() for case in loadedCases()] == ["kept"]
    slicer.mrmlScene.RemoveNode(volume)
    assert not loadedCases()


def test_segmentations_of_one_name_stay_two_cases(drawn, tmp_path):
    drawn("Segmentation")
    drawn("Segmentation")
    stageLoaded(loadedCases(), tmp_path)
    assert [case.name for case in open_source(tmp_path).cases] == ["Segmentation", "Segmentation_2"]


def test_the_patient_of_the_subject_hierarchy_is_whose_scan_it_is(slicer, drawn, tmp_path):
    volume, _segmentation = drawn("first")
    drawn("second")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe^Jane")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "4711")
    hierarchy.CreateItem(patient, volume)  # as the application does for every node
    assert stageLoaded(loadedCases(), tmp_path) == {"first": "4711"}


def test_the_nodes_own_files_are_not_touched(drawn, tmp_path):
    volume, segmentation = drawn()
    stageLoaded(loadedCases(), tmp_path)
    assert volume.GetStorageNode() is None and segmentation.GetStorageNode() is None


def test_files_lie_together_under_their_own_names(tmp_path, slicer):
    for name in ("a/CT.nii.gz", "b/CT.seg.nrrd"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(name.encode())
    target = tmp_path / "staged"
    target.mkdir()
    stageFiles([tmp_path / "a/CT.nii.gz", tmp_path / "b/CT.seg.nrrd"], target)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        "CT.nii.gz": b"a/CT.nii.gz",
        "CT.seg.nrrd": b"b/CT.seg.nrrd",
    }


def test_two_files_of_one_name_are_refused_before_one_is_lost(tmp_path, slicer):
    for name in ("a", "b", "staged"):
        (tmp_path / name).mkdir()
    files = [tmp_path / name / "CT.nii.gz" for name in ("a", "b")]
    for file in files:
        file.write_bytes(b"scan")
    with pytest.raises(SkcdfError, match="two files called CT"):
        stageFiles(files, tmp_path / "staged")


def test_a_file_that_is_gone_is_named(tmp_path, slicer):
    with pytest.raises(SkcdfError, match="gone"):
        stageFiles([tmp_path / "gone.nii.gz"], tmp_path)


class TestDecisions:
    rows = (
        {"label": "Magen", "target": UNDECIDED, "reason": ""},
        {"label": "Liver", "target": "liver", "reason": "name"},
        {"label": "Tumour", "target": UNDECIDED, "reason": ""},
    )

    def test_what_is_not_clear_waits_for_the_user(self):
        decisions = ImportDecisions(labels={"Magen": "stomach"})
        assert decisions.undecided(self.rows) == ["Tumour"]

    def test_a_label_can_be_left_out(self):
        decisions = ImportDecisions(labels={"Liver": None})
        assert decisions.target(self.rows[1]) is None
        assert decisions.mapping(self.rows)["labels"] == {"Liver": None}

    def test_labels_of_one_organ_are_joined_only_when_the_user_says_so(self):
        decisions = ImportDecisions(labels={"Tumour": "liver"})
        assert decisions.shared(self.rows) == ["liver"]
        assert decisions.mapping(self.rows)["merge"] == []
        decisions.join = True
        assert decisions.mapping(self.rows)["merge"] == ["liver"]

    def test_they_are_a_mapping_file_that_the_engine_reads(self, tmp_path):
        decisions = ImportDecisions({"Magen": "stomach", "Liver": None}, {"case_1": "4711"})
        path = tmp_path / "mapping.json"
        path.write_text(json.dumps(decisions.mapping(self.rows)))
        file = MappingFile.load(path)
        assert (file.labels, file.subjects) == (decisions.labels, decisions.subjects)
