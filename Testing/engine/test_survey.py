"""A survey sees what the scans and labels of a data set are like, and refuses what cannot be planned for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skcdf.cases import Case, Dataset
from skcdf.errors import SkcdfError
from skcdf.geometry import AxisOrder, Geometry
from skcdf.image import Image, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.survey import survey_dataset

LABELS = LabelSet.load("openkbp7")


@pytest.fixture
def write_case(tmp_path):
    """Writes a labelled scan on a grid and gives its case."""

    def write(name: str, geometry: Geometry, value: int = 50, label: bool = True, organ: int = 1) -> Case:
        scan, labels = np.full(geometry.shape, -1000, np.int16), np.zeros(geometry.shape, np.uint8)
        scan[:, 1:, 1:], labels[1:3, 2:4, 2:4] = value, organ
        write_image(tmp_path / f"{name}.nii.gz", Image(scan, geometry))
        file: Path | None = tmp_path / f"{name}_label.nii.gz" if label else None
        if file:
            write_label_map(file, labels, geometry)
        return Case(name, tmp_path / f"{name}.nii.gz", file, frozenset(LABELS.names if label else ()), name)

    return write


def dataset(root: Path, *cases: Case) -> Dataset:
    return Dataset(root, "toy", LABELS, "CT", cases)


def test_a_survey_sees_spacing_and_extent_in_patient_axes(write_case, tmp_path):
    axial = Geometry((6, 8, 10), (1.0, 2.0, 3.0))
    sagittal = AxisOrder((2, 0, 1), (True, False, True)).apply_to_geometry(axial)
    unlabelled = Geometry((5, 5, 5), (2.0, 2.0, 2.0))
    cases = (write_case("a", axial), write_case("b", sagittal, 150), write_case("c", unlabelled, label=False))
    found = survey_dataset(dataset(tmp_path, *cases))
    assert found.spacings.tolist() == [[3, 2, 1], [3, 2, 1], [2, 2, 2]]
    assert found.extents.tolist() == [[30, 16, 6], [30, 16, 6], [10, 10, 10]]
    assert found.median_spacing == (3.0, 2.0, 1.0)
    assert found.intensity_range == (-1000, 150)
    assert sorted(set(found.foreground)) == [50, 150]
    assert (found.labelled, found.unlabelled) == (2, 1)


def test_a_survey_measures_organs_that_are_whole_and_annotated(write_case, tmp_path):
    grid = Geometry((6, 6, 6), (10.0, 10.0, 10.0))
    whole, cut = write_case("a", grid), write_case("b", grid)
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2:4] = 1
    write_label_map(whole.label, labels, grid)
    labels[0] = 1
    write_label_map(cut.label, labels, grid)
    (usual,) = survey_dataset(dataset(tmp_path, whole, cut)).usual
    assert (usual.volume_ml, usual.pieces, usual.n) == ((8.0, 8.0), 1, 1)
    assert survey_dataset(dataset(tmp_path, replace(whole, annotated=frozenset()), cut)).usual == ()


def test_a_survey_tells_its_progress(write_case, tmp_path):
    grid, reports = Geometry((6, 6, 6), (1.0, 1.0, 1.0)), []
    survey_dataset(dataset(tmp_path, write_case("a", grid), write_case("b", grid)), reports.append)
    assert [(report.done, report.total) for report in reports] == [(1, 2), (2, 2)]


def test_a_survey_without_annotation_is_refused(write_case, tmp_path):
    grid = Geometry((6, 6, 6), (1.0, 1.0, 1.0))
    with pytest.raises(SkcdfError, match="no labelled training case"):
        survey_dataset(dataset(tmp_path, write_case("a", grid, label=False)))
    with pytest.raises(SkcdfError, match="no label map has a labelled voxel"):
        survey_dataset(dataset(tmp_path, write_case("b", grid, organ=0)))


def test_a_survey_refuses_labels_off_the_scans_grid(write_case, tmp_path):
    case = write_case("a", Geometry((6, 6, 6), (1.0, 1.0, 1.0)))
    write_label_map(case.label, np.zeros((6, 6, 7), np.uint8), Geometry((7, 6, 6), (1.0, 1.0, 1.0)))
    with pytest.raises(SkcdfError, match=r"a_label\.nii\.gz: .*grid of .*a\.nii\.gz"):
        survey_dataset(dataset(tmp_path, case))


def test_a_survey_refuses_scans_of_one_value(write_case, tmp_path):
    case = write_case("a", grid := Geometry((6, 6, 6), (1.0, 1.0, 1.0)))
    write_image(case.image, Image(np.full((6, 6, 6), 7, np.int16), grid))
    with pytest.raises(SkcdfError, match=f"{tmp_path.name}.*every voxel of every labelled scan is 7"):
        survey_dataset(dataset(tmp_path, case))
