"""Reading and writing NIfTI, NRRD and MetaImage; SimpleITK and nibabel are the oracles."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from skcdf.errors import SkcdfError
from skcdf.geometry import AxisOrder, Geometry
from skcdf.image import (
    Image,
    images_in,
    is_image_file,
    read_geometry,
    read_image,
    read_label_map,
    write_image,
    write_label_map,
)

ENDINGS = [".nii.gz", ".nii", ".nrrd", ".mha"]
ARRAY = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
GRID = Geometry((6, 5, 4), (1.1, 2.2, 3.3), (10.5, -20.25, 30.125))
each_ending = pytest.mark.parametrize("ending", ENDINGS)


def examples(number: int) -> settings:
    """Hypothesis settings for tests whose examples share one folder."""
    return settings(
        max_examples=number, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


def lps_positions(image: Any, indices: np.ndarray) -> np.ndarray:
    """What SimpleITK says of the positions of index rows."""
    points = [image.TransformContinuousIndexToPhysicalPoint(row) for row in indices.astype(float).tolist()]
    return np.array(points)


def all_indices(geometry: Geometry) -> np.ndarray:
    return np.moveaxis(np.indices(geometry.size), 0, -1).reshape(-1, 3)


def write_with_itk(path: Path, array: np.ndarray, vector: bool = False) -> Path:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=vector), str(path))
    return path


def write_raw_nifti(path: Path, edit: Callable[[Any], None], array: np.ndarray = ARRAY) -> Path:
    """A .nii file with a header that no library would write; ``edit`` changes header fields."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[::-1])
    header["pixdim"][1:4] = 1, 2, 3
    header["vox_offset"] = 352
    edit(header)
    path.write_bytes(header.binaryblock + bytes(4) + array.tobytes())
    return path


# the grid


@examples(3)
@given(
    angles=st.tuples(*[st.floats(-40, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_a_written_image_reads_back_at_the_same_points_as_every_oracle_says(
    tmp_path: Path, axis_order: AxisOrder, angles: tuple, spacing: tuple, origin: tuple
) -> None:
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    oblique = Geometry(GRID.size, spacing, origin, tuple(rotation.ravel().tolist()))
    image = Image(axis_order.apply(ARRAY), axis_order.apply_to_geometry(oblique))
    indices = all_indices(image.geometry)
    expected = image.geometry.position(indices)
    for ending in (".nii.gz", ".nrrd", ".mha"):
        path = tmp_path / f"image{ending}"
        write_image(path, image)

        result = read_image(path)

        assert np.array_equal(result.array, image.array)
        assert result.array.dtype == np.int16
        np.testing.assert_allclose(result.geometry.position(indices), expected, atol=1e-3)
        oracle = SimpleITK.ReadImage(str(path))
        assert np.array_equal(SimpleITK.GetArrayViewFromImage(oracle), image.array)
        np.testing.assert_allclose(lps_positions(oracle, indices), expected, atol=1e-3)
    ras = nibabel.load(tmp_path / "image.nii.gz").affine
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ ras, image.geometry.affine, atol=1e-4)


@pytest.mark.parametrize("ending", [*ENDINGS, ".nhdr", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_files_of_itk_read_as_itk_reads_them(tmp_path: Path, ending: str, compressed: bool) -> None:
    image = SimpleITK.GetImageFromArray(ARRAY)
    image.SetSpacing(GRID.spacing)
    image.SetOrigin(GRID.origin)
    image.SetDirection(Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix().ravel().tolist())
    path = tmp_path / f"image{ending}"
    SimpleITK.WriteImage(image, str(path), compressed)

    result = read_image(path)

    assert np.array_equal(result.array, ARRAY)
    indices = all_indices(GRID)
    np.testing.assert_allclose(result.geometry.position(indices), lps_positions(image, indices), atol=1e-3)
    assert read_geometry(path) == result.geometry


def oblique_affine(*angles: float, spacing: tuple[float, float, float] = (1, 2, 3)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = angles
    return affine


@pytest.mark.parametrize("sform_code", range(5))
@pytest.mark.parametrize("qform_code", range(5))
@pytest.mark.parametrize("units", [0, 1, 2, 3])
def test_a_nifti_with_two_grids_or_none_lies_where_itk_puts_it(
    tmp_path: Path, sform_code: int, qform_code: int, units: int
) -> None:
    def edit(header: Any) -> None:
        header.set_qform(oblique_affine(10, 20, 30), code=qform_code)
        header.set_sform(oblique_affine(-40, 5, 60, spacing=(1.5, 2, 3)), code=sform_code)
        scale = {1: 1e-3, 3: 1e3}.get(units, 1)
        header["pixdim"][1:4] *= scale
        header["xyzt_units"] = units

    path = write_raw_nifti(tmp_path / "image.nii", edit)

    indices = all_indices(GRID)
    expected = lps_positions(SimpleITK.ReadImage(str(path)), indices)
    np.testing.assert_allclose(read_geometry(path).position(indices), expected, rtol=1e-5, atol=1e-3)


def test_rounding_of_the_axes_is_repaired(tmp_path: Path) -> None:
    def edit(header: Any) -> None:
        affine = np.diag([1.0, 2.0, 3.0, 1.0])
        affine[0, 1] = 1e-3
        header.set_sform(affine, code=1)

    direction = np.reshape(read_geometry(write_raw_nifti(tmp_path / "image.nii", edit)).direction, (3, 3))

    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-12)


# voxels


@each_ending
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "f4"])
def test_types_up_to_32_bit_are_kept(tmp_path: Path, ending: str, dtype: str) -> None:
    array = ARRAY.astype(dtype)
    write_image(tmp_path / f"image{ending}", Image(array, GRID))

    result = read_image(tmp_path / f"image{ending}").array

    assert result.dtype == dtype
    assert np.array_equal(result, array)
    oracle = SimpleITK.ReadImage(str(tmp_path / f"image{ending}"))
    assert np.array_equal(SimpleITK.GetArrayViewFromImage(oracle), array)


@pytest.mark.parametrize(("stored", "top", "read"), [("i8", 9, "i4"), ("i8", 2**40, "f4"), ("f8", 0.5, "f4")])
def test_wider_types_are_narrowed(tmp_path: Path, stored: str, top: float, read: str) -> None:
    array = ARRAY.astype(stored)
    array[0, 0, 0] = top
    path = write_raw_nifti(tmp_path / "image.nii", lambda header: None, array)

    result = read_image(path).array

    assert result.dtype == read
    assert np.array_equal(result, array)


@pytest.mark.parametrize(
    ("slope", "inter", "read"),
    [(1, -1024, "i2"), (2, 0, "i2"), (1000, 0, "i4"), (0.5, 0, "f4"), (0, 7, None), (1, 0, None)],
)
def test_scaled_integers_stay_integers_where_they_are_whole(
    tmp_path: Path, slope: float, inter: float, read: str | None
) -> None:
    def edit(header: Any) -> None:
        header["scl_slope"], header["scl_inter"] = slope, inter

    result = read_image(write_raw_nifti(tmp_path / "image.nii", edit)).array

    assert result.dtype == (read or "i2")
    assert np.array_equal(result, ARRAY.astype(float) * slope + inter if read else ARRAY)


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    nibabel.save(
        nibabel.Nifti1Image(ARRAY.T, np.eye(4), nibabel.Nifti1Header(endianness=">")), tmp_path / "i.nii"
    )

    assert np.array_equal(read_image(tmp_path / "i.nii").array, ARRAY)
    assert read_image(tmp_path / "i.nii").array.dtype.isnative


def test_nifti_2_and_gzip_with_several_members_and_padding_are_read(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(ARRAY.T, np.eye(4)), tmp_path / "two.nii")
    content = (tmp_path / "two.nii").read_bytes()
    (tmp_path / "two.nii.gz").write_bytes(
        gzip.compress(content[:600]) + gzip.compress(content[600:]) + bytes(1 << 16)
    )

    assert np.array_equal(read_image(tmp_path / "two.nii.gz").array, ARRAY)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_one_volume_in_four_dimensions_is_accepted_and_two_are_not(tmp_path: Path, ending: str) -> None:
    write_with_itk(tmp_path / f"one{ending}", ARRAY[None])
    write_with_itk(tmp_path / f"two{ending}", np.stack([ARRAY, ARRAY]))

    assert np.array_equal(read_image(tmp_path / f"one{ending}").array, ARRAY)
    with pytest.raises(SkcdfError, match=r"two.*4-D image \(6 x 5 x 4 x 2\)"):
        read_image(tmp_path / f"two{ending}")


# imports


def test_a_missing_nibabel_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "image.nii.gz", Image(ARRAY, GRID))
    monkeypatch.setitem(sys.modules, "nibabel", None)

    with pytest.raises(SkcdfError, match=r"nibabel.*is missing.*pip install nibabel"):
        read_image(tmp_path / "image.nii.gz")


def test_half_a_nibabel_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "image.nii.gz", Image(ARRAY, GRID))
    (tmp_path / "nibabel").mkdir()
    (tmp_path / "nibabel" / "__init__.py").write_text("def cut off")
    for name in [name for name in sys.modules if name.partition(".")[0] == "nibabel"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(SkcdfError, match=r"nibabel, which is damaged.*top of the module's panel"):
        read_image(tmp_path / "image.nii.gz")


def test_the_module_imports_without_the_optional_packages() -> None:
    packages = ("nibabel", "torch", "safetensors", "SimpleITK", "tqdm")
    block = f"import sys; sys.modules.update(dict.fromkeys({packages}))"
    command = [sys.executable, "-c", f"{block}; import skcdf.image"]

    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


# label maps and folders


@each_ending
@pytest.mark.parametrize(("highest", "dtype"), [(13, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_a_label_map_keeps_its_values_grid_and_smallest_type(
    tmp_path: Path, ending: str, highest: int, dtype: type
) -> None:
    labels = np.zeros(GRID.shape, np.int64)
    labels[1, 2, 3] = highest
    path = tmp_path / "new folder" / f"labels{ending}"

    write_label_map(path, labels, GRID, note="made by a phantom model;\nresearch use")

    result = read_label_map(path)
    assert result.array.dtype == dtype
    assert np.array_equal(result.array, labels)
    assert result.geometry.same_grid(GRID, 1e-4)
    content = gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes()
    assert b"made by a phantom model; research use" in content
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@each_ending
def test_equal_label_maps_are_equal_files(tmp_path: Path, ending: str) -> None:
    for name in ("one", "two"):
        write_label_map(tmp_path / f"{name}{ending}", np.ones(GRID.shape, int), GRID)

    assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()


def test_a_label_map_of_whole_floats_is_accepted(tmp_path: Path) -> None:
    write_image(tmp_path / "labels.nrrd", Image(np.abs(ARRAY).astype(np.float32), GRID))

    assert read_label_map(tmp_path / "labels.nrrd").array.dtype == np.uint8


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (ARRAY, "values go from -60 to 59"),
        (np.abs(ARRAY) / np.float32(2), "not whole numbers"),
        (np.full(GRID.shape, 70000, np.int32), "to 70000"),
    ],
)
def test_what_is_no_label_map_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    write_image(tmp_path / "labels.nii.gz", Image(array, GRID))

    with pytest.raises(SkcdfError, match=rf"labels\.nii\.gz: this is not a label map.*{message}"):
        read_label_map(tmp_path / "labels.nii.gz")


def test_values_that_are_no_labels_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(SkcdfError, match="labels from -60 to 59"):
        write_label_map(tmp_path / "labels.nii.gz", ARRAY, GRID)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["labels.png", "labels", "labels.nhdr"])
def test_writing_an_unknown_ending_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(SkcdfError, match=r"\.nii\.gz, \.nii, \.nrrd, \.mha"):
        write_label_map(tmp_path / name, np.zeros(GRID.shape, np.uint8), GRID)


def test_an_axis_too_long_for_nifti_is_refused_with_a_way_out(tmp_path: Path) -> None:
    grid = Geometry((40000, 1, 1), (1.0, 1.0, 1.0))

    with pytest.raises(SkcdfError, match=r"labels\.nii\.gz: .*32767 voxels.*\.nrrd"):
        write_label_map(tmp_path / "labels.nii.gz", np.zeros(grid.shape, np.uint8), grid)
    write_label_map(tmp_path / "labels.nrrd", np.zeros(grid.shape, np.uint8), grid)
    assert read_geometry(tmp_path / "labels.nrrd") == grid


def test_images_of_a_folder_are_listed_in_order(tmp_path: Path) -> None:
    for name in ("b.NII.GZ", "a.nrrd", "c.mhd", "c.raw", "notes.txt", "._a.nrrd"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "empty").mkdir()

    assert [path.name for path in images_in(tmp_path)] == ["a.nrrd", "b.NII.GZ", "c.mhd"]
    assert is_image_file(tmp_path / "b.NII.GZ")
    assert not is_image_file(tmp_path / "folder.nii.gz")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SkcdfError, match="absent: there is no such file"):
        images_in(tmp_path / "absent")
