"""Left organs stay on the left: file, volume, label map, segment, and every way back out of Slicer."""

from __future__ import annotations

import functools

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import placed
import scans
from scipy.spatial.transform import Rotation

from skcdf.geometry import axis_order_to_lps
from skcdf.image import Image, read_image, read_label_map, write_image
from skcdf.labels import LabelSet
from skcdf.phantom import make_phantom
from skcdf.seg_nrrd import read_segmentation
from skcdf.sides import contradicted_sides
from SKCDFSegmenterLib.CaseContribution import exportCase
from SKCDFSegmenterLib.LabelMapImport import placeResult
from SKCDFSegmenterLib.VolumeImage import geometryOfVolume, writeVolume

LABEL_SET = LabelSet.load("phantom13")
LPS, RAS = np.eye(3), np.diag([-1.0, -1.0, 1.0])
DIRECTIONS = {
    "LPS": LPS,
    "RAS": RAS,
    "mirrored rows": np.diag([-1.0, 1.0, 1.0]),
    "feet first": np.diag([1.0, -1.0, -1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "sagittal": np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0]]),
    "oblique": Rotation.from_euler("xyz", (14, -21, 9), degrees=True).as_matrix(),
    "oblique RAS": Rotation.from_euler("xyz", (-12, 8, 17), degrees=True).as_matrix() @ RAS,
}
SIDED = ("right_kidney", "left_kidney", "right_adrenal_gland", "left_adrenal_gland")


def load(slicer, path):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node


@functools.cache
def phantom(name):
    """Scan and label map of a patient on axes of that name."""
    direction = DIRECTIONS[name].ravel()
    return make_phantom(3, shape=(48, 48, 48), spacing=(7, 7, 7), direction=direction, cut_off_share=0.0)


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("ending", [".nrrd", pytest.param(".nii.gz", marks=pytest.mark.slow)])
def test_left_organs_stay_on_the_left(slicer, tmp_path, name, ending):
    scan, labels = phantom(name)
    assert contradicted_sides(labels, LABEL_SET) == ()
    write_image(tmp_path / f"ct{ending}", scan)
    volume = load(slicer, tmp_path / f"ct{ending}")

    # What the worker reads and writes, at the place where the model would work.
    writeVolume(volume, tmp_path / "scan.nrrd")
    seen = read_image(tmp_path / "scan.nrrd")
    # Slicer turns left-handed axes round as it loads, so that voxels are compared by where they are.
    there, here = axis_order_to_lps(scan.geometry), axis_order_to_lps(seen.geometry)
    np.testing.assert_array_equal(here.apply(seen.array), there.apply(scan.array))
    result = Image(here.undo(there.apply(labels.array)), seen.geometry)

    segmentation = placeResult(result, LABEL_SET, volume, name="Result", record=placed.FIRST).segmentationNode
    # RAS: the first coordinate grows towards the patient's right.
    rightwards = {organ: scans.segmentCentre(slicer, segmentation, organ)[0] for organ in SIDED}
    assert rightwards["right_kidney"] > 20 > -20 > rightwards["left_kidney"]
    assert rightwards["right_adrenal_gland"] > 0 > rightwards["left_adrenal_gland"]

    fields = exportCase(volume, segmentation, LABEL_SET, tmp_path, LABEL_SET.names)
    exported = read_label_map(fields["label"])
    np.testing.assert_array_equal(exported.array, result.array)
    assert contradicted_sides(exported, LABEL_SET) == ()

    placed.reloaded(slicer, tmp_path / "a.seg.nrrd", segmentation)
    saved = read_segmentation(tmp_path / "a.seg.nrrd")
    values = {segment.id: LABEL_SET.value_of(segment.id) for segment in saved.segments}
    np.testing.assert_array_equal(saved.label_map(values, geometryOfVolume(volume)).array, result.array)
