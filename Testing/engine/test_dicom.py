"""DICOM series, made with pydicom as scanners write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from skcdf.errors import SkcdfError
from skcdf.image import images_in, read_geometry, read_image

STRAIGHT = np.eye(3)
OBLIQUE = Rotation.from_euler("xyz", (12, -7, 25), degrees=True).as_matrix()
STORED = np.random.default_rng(0).integers(0, 4096, (5, 8, 6)).astype(np.uint16)
ORIGIN = np.array([-101.5, -88.25, 40.0])
STEP = 2.5


def write_slice(path: Path, pixels: np.ndarray, position: np.ndarray, **attributes: Any) -> Dataset:
    """A CT file; ``attributes`` replace or, when None, remove elements."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = attributes.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    elements: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "PatientName": "Doe^Jane",
        "PatientID": "4711",
        "Modality": "CT",
        "BodyPartExamined": "ABDOMEN",
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesNumber": 3,
        "StudyInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.5",
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "PixelSpacing": [0.8, 0.7],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [round(float(x), 6) for x in position],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": pixels.tobytes(),
    } | attributes
    for name, value in elements.items():
        if value is not None:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


def write_series(
    folder: Path,
    rotation: np.ndarray = STRAIGHT,
    offset: Callable[[int], np.ndarray] = lambda k: np.array([0, 0, k * STEP]),
    **attributes: Any,
) -> Path:
    """Five slices, ``offset`` giving each one's place along the rotated axes; file names are no order."""
    orientation = [round(float(x), 9) for x in rotation[:, :2].T.ravel()]
    for k, pixels in enumerate(STORED):
        elements = {"ImageOrientationPatient": orientation} | attributes
        write_slice(folder / f"im{(k * 3) % 5}.dcm", pixels, ORIGIN + rotation @ offset(k), **elements)
    return folder


@pytest.mark.parametrize("rotation", [STRAIGHT, OBLIQUE])
def test_a_series_is_read_in_hounsfield_units_and_in_order(tmp_path: Path, rotation: np.ndarray) -> None:
    image = read_image(write_series(tmp_path, rotation))

    assert image.array.dtype == np.int16
    assert np.array_equal(image.array, STORED.astype(int) - 1024)
    assert image.geometry.size == (6, 8, 5)
    np.testing.assert_allclose(image.geometry.spacing, (0.7, 0.8, STEP), atol=1e-5)
    np.testing.assert_allclose(np.reshape(image.geometry.direction, (3, 3)), rotation, atol=1e-6)
    np.testing.assert_allclose(image.geometry.origin, ORIGIN, atol=1e-5)
    assert read_geometry(tmp_path) == image.geometry


def test_slices_stored_from_head_to_feet_come_out_from_feet_to_head(tmp_path: Path) -> None:
    image = read_image(write_series(tmp_path, offset=lambda k: np.array([0, 0, -k * STEP])))

    assert np.array_equal(image.array, STORED[::-1].astype(int) - 1024)
    assert image.geometry.origin[2] == pytest.approx(ORIGIN[2] - 4 * STEP)


def test_a_series_lies_where_itk_puts_it(tmp_path: Path) -> None:
    write_series(tmp_path, OBLIQUE)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    oracle = SimpleITK.ReadImage(names)

    image = read_image(tmp_path)

    assert np.array_equal(image.array, SimpleITK.GetArrayFromImage(oracle))
    for index in ((0, 0, 0), (5, 7, 4)):
        position = oracle.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(image.geometry.position(index), position, atol=1e-3)


def test_a_fractional_rescale_slope_gives_floats(tmp_path: Path) -> None:
    image = read_image(write_series(tmp_path, RescaleSlope=0.5, RescaleIntercept=0))

    assert image.array.dtype == np.float32
    assert np.array_equal(image.array, STORED / 2)


def test_slices_with_their_own_rescale_slopes_are_each_scaled(tmp_path: Path) -> None:
    for k, pixels in enumerate(STORED):
        place = ORIGIN + np.array([0, 0, k * STEP])
        write_slice(
            tmp_path / f"{k}.dcm", pixels, place, RescaleSlope=1 + k / 4, RescaleIntercept=0, Modality="PT"
        )

    expected = STORED * (1 + np.arange(5) / 4)[:, None, None]
    np.testing.assert_allclose(read_image(tmp_path).array, expected, rtol=1e-6)


def test_metadata_holds_modality_and_body_part_and_nothing_of_the_patient(tmp_path: Path) -> None:
    assert read_image(write_series(tmp_path)).metadata == {"modality": "CT", "body_part": "ABDOMEN"}


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path)
    contours = "1.2.840.10008.5.1.4.1.1.481.3"
    absent = dict.fromkeys(("PixelData", "Rows", "Columns"))
    write_slice(
        tmp_path / "contours.dcm", STORED[0], ORIGIN, SOPClassUID=contours, SeriesInstanceUID="1.9", **absent
    )
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")

    assert read_image(tmp_path).array.shape == (5, 8, 6)


def test_several_series_are_listed(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_slice(
        tmp_path / "scout.dcm", STORED[0], ORIGIN, SeriesInstanceUID="1.9", SeriesNumber=1, Modality="MR"
    )

    with pytest.raises(
        SkcdfError, match=r"2 series \(series 3, CT: 5 slices; series 1, MR: 1 slice\).*one series"
    ):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (lambda k: np.array([0, 0, STEP * (k + (k > 3))]), r"1 missing: after slice 4 of 5 .* 5\.00 mm"),
        (lambda k: np.array([0, 0, STEP * (k + 0.1 * (k == 2))]), "unevenly spaced"),
        (lambda k: np.array([0, 0, STEP * (k // 2)]), "same place"),
        (lambda k: np.array([0, STEP * k * np.tan(np.radians(15)), STEP * k]), r"gantry tilted 15\.0°"),
    ],
)
def test_slices_that_do_not_fill_space_evenly_are_refused(
    tmp_path: Path, offset: Callable[[int], np.ndarray], message: str
) -> None:
    with pytest.raises(SkcdfError, match=message):
        read_geometry(write_series(tmp_path, offset=offset))


def test_positions_rounded_by_the_scanner_are_accepted(tmp_path: Path) -> None:
    write_series(tmp_path, offset=lambda k: np.array([0, 0, k * STEP + (0.02 if k == 2 else 0.0)]))

    assert read_geometry(tmp_path).spacing[2] == pytest.approx(STEP)


def test_a_localizer_among_the_slices_is_named(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_slice(tmp_path / "scout.dcm", STORED[0], ORIGIN, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])

    with pytest.raises(SkcdfError, match=r"scout\.dcm differ in size, spacing or orientation"):
        read_image(tmp_path)


@pytest.mark.parametrize("missing", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slices_that_do_not_say_where_they_lie_are_refused(tmp_path: Path, missing: str) -> None:
    with pytest.raises(SkcdfError, match="does not say where"):
        read_image(write_series(tmp_path, **{missing: None}))


@pytest.mark.parametrize("kept", [100, 600, -1, -40])
def test_a_truncated_slice_is_named(tmp_path: Path, kept: int) -> None:
    path = write_series(tmp_path) / "im2.dcm"
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(SkcdfError, match=r"im2\.dcm: this DICOM file is truncated or damaged"):
        read_image(tmp_path)


def test_a_colour_series_is_refused(tmp_path: Path) -> None:
    pixels = np.zeros((8, 6 * 3), np.uint8)
    colour = {
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": 0,
        "Columns": 6,
    }
    write_slice(tmp_path / "a.dcm", pixels, ORIGIN, BitsAllocated=8, BitsStored=8, HighBit=7, **colour)

    with pytest.raises(SkcdfError, match=r"a\.dcm: the voxels are colours"):
        read_image(tmp_path)


def test_a_single_slice_and_a_folder_without_dicom_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SkcdfError, match="no DICOM image"):
        read_image(tmp_path)
    write_slice(tmp_path / "a.dcm", STORED[0], ORIGIN)
    with pytest.raises(SkcdfError, match="single slice"):
        read_image(tmp_path)


def write_multi_frame(path: Path, places: list[float]) -> None:
    def item(**elements: Any) -> Dataset:
        dataset = Dataset()
        for name, value in elements.items():
            setattr(dataset, name, value)
        return dataset

    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[0.8, 0.7], SliceThickness=STEP)],
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")],
    )
    frames = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[*ORIGIN[:2].tolist(), place])])
        for place in places
    ]
    moved = (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    )
    write_slice(
        path,
        STORED,
        ORIGIN,
        SOPClassUID=EnhancedCTImageStorage,
        NumberOfFrames=5,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
        **dict.fromkeys(moved),
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_a_multi_frame_file_is_read_from_either_end(tmp_path: Path, sign: int) -> None:
    places = [40 + sign * STEP * k for k in range(5)]
    write_multi_frame(tmp_path / "a.dcm", places)

    image = read_image(tmp_path)

    assert np.array_equal(image.array, STORED.astype(int) - 1024)
    np.testing.assert_allclose(image.geometry.spacing, (0.7, 0.8, STEP))
    for frame, place in enumerate(places):
        np.testing.assert_allclose(image.geometry.position((0, 0, frame)), [*ORIGIN[:2], place])


def test_a_multi_frame_file_that_is_no_even_stack_is_refused(tmp_path: Path) -> None:
    write_multi_frame(tmp_path / "a.dcm", [0, 5, 2.5, 7.5, 10])

    with pytest.raises(SkcdfError, match="not an evenly spaced stack"):
        read_image(tmp_path)


def test_dicom_folders_are_found_for_bulk_work(tmp_path: Path) -> None:
    write_series(tmp_path / "b")
    write_series(tmp_path / "a")
    (tmp_path / "c.nrrd").write_bytes(b"x")
    for path in (tmp_path / "a").iterdir():
        path.rename(path.with_suffix(""))  # as many archives export: no ending

    assert images_in(tmp_path) == [tmp_path / "a", tmp_path / "b", tmp_path / "c.nrrd"]
    assert images_in(tmp_path / "a") == [tmp_path / "a"]
    assert read_image(tmp_path / "a").array.shape == (5, 8, 6)


def test_the_made_series_is_what_pydicom_reads(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(write_series(tmp_path) / "im0.dcm")

    assert np.array_equal(dataset.pixel_array, STORED[0])
