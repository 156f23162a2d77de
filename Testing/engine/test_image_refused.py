"""What is refused: damaged files, headers that cannot be true, images that are no scans."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image, read_geometry, read_image, write_image

ENDINGS = [".nii.gz", ".nii", ".nrrd", ".mha"]
ARRAY = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
GRID = Geometry((6, 5, 4), (1.1, 2.2, 3.3), (10.5, -20.25, 30.125))
each_ending = pytest.mark.parametrize("ending", ENDINGS)


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


def replaced(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


def write_with_itk(path: Path, array: np.ndarray, vector: bool = False) -> Path:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=vector), str(path))
    return path


def test_a_sheared_grid_is_refused_by_how_many_degrees(tmp_path: Path) -> None:
    def edit(header: Any) -> None:
        affine = np.diag([1.0, 2.0, 3.0, 1.0])
        affine[0, 1] = 2 * np.tan(np.radians(10))
        header.set_sform(affine, code=1)

    with pytest.raises(SkcdfError, match=r"image\.nii: .*sheared by 10\.00°.*Resample"):
        read_geometry(write_raw_nifti(tmp_path / "image.nii", edit))


@pytest.mark.parametrize(
    ("ending", "old", "new"),
    [
        (".nrrd", b"(0,2.2000000000000002,0)", b"(0.5,2.2000000000000002,0)"),
        (".mha", b"TransformMatrix = 1 0 0 0 1 0", b"TransformMatrix = 1 0 0 0.5 1 0"),
    ],
)
def test_shear_that_itk_lets_pass_is_refused(tmp_path: Path, ending: str, old: bytes, new: bytes) -> None:
    write_image(tmp_path / f"image{ending}", Image(ARRAY, GRID))

    with pytest.raises(SkcdfError, match="sheared"):
        read_image(replaced(tmp_path / f"image{ending}", old, new))


@pytest.mark.parametrize("spacing", [0.0, -2.0, float("nan")])
def test_spacing_that_is_not_positive_is_refused(tmp_path: Path, spacing: float) -> None:
    def edit(header: Any) -> None:
        header.set_sform(np.diag([1.0, 2.0, 3.0, 1.0]), code=1)
        header["pixdim"][2] = spacing

    write_raw_nifti(tmp_path / "image.nii", edit)
    write_image(tmp_path / "image.mha", Image(ARRAY, GRID))
    replaced(tmp_path / "image.mha", b"Spacing = 1.1000000000000001", f"Spacing = {spacing}".encode())
    write_image(tmp_path / "image.nrrd", Image(ARRAY, GRID))
    replaced(tmp_path / "image.nrrd", b"(1.1000000000000001,0,0)", f"({min(spacing, 0)},0,0)".encode())

    for ending in (".nii", ".mha", ".nrrd")[: 3 if spacing == 0 else 2]:
        with pytest.raises(SkcdfError, match=r"image\.\w+: .*(spacing|header)"):
            read_geometry(tmp_path / f"image{ending}")


def test_a_misspelt_field_of_a_nrrd_header_does_not_lose_the_grid(tmp_path: Path) -> None:
    write_image(tmp_path / "image.nrrd", Image(ARRAY, GRID))

    with pytest.raises(SkcdfError, match="header is damaged"):
        read_image(replaced(tmp_path / "image.nrrd", b"space directions", b"spcae directions"))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", ["flat", "colour", "complex", "nan", "infinite"])
def test_what_is_not_a_scan_is_refused(tmp_path: Path, ending: str, kind: str) -> None:
    array = ARRAY.astype(np.float32)
    if kind in ("nan", "infinite"):
        array[1, 2, 3] = np.nan if kind == "nan" else -np.inf
    made = {
        "flat": ARRAY[0],
        "colour": np.zeros((4, 5, 6, 3), np.uint8),
        "complex": array.astype(np.complex64),
    }.get(kind, array)
    write_with_itk(tmp_path / f"image{ending}", made, vector=kind == "colour")
    expected = {
        "flat": "2-D",
        "nan": "1 voxels are NaN or infinite",
        "infinite": "1 voxels are NaN or infinite",
    }

    with pytest.raises(SkcdfError, match=expected.get(kind, r"colour|complex|4-D|5-D")) as caught:
        read_image(tmp_path / f"image{ending}")
    assert str(tmp_path / f"image{ending}") in caught.value.message
    assert caught.value.hint


@each_ending
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    write_image(path, Image(ARRAY, GRID))
    content = path.read_bytes()
    for length in (*range(0, len(content), 3), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(SkcdfError, match="image"):
            read_image(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_damage_to_compressed_voxels_is_noticed(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    write_image(path, Image(ARRAY, GRID))
    content = bytearray(path.read_bytes())
    for place in range(len(content) - 60, len(content) - 8):
        damaged = content.copy()
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(SkcdfError, match="truncated or damaged"):
            read_image(path)


@each_ending
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 360), st.integers(0, 255)), min_size=1, max_size=4))
def test_random_bytes_in_a_header_give_an_image_or_a_clear_error(
    tmp_path: Path, ending: str, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path / f"image{ending}"
    write_image(path, Image(ARRAY, GRID))
    content = bytearray(gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes())
    for place, value in changes:
        content[place] = value
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)

    with contextlib.suppress(SkcdfError):  # any other exception fails the test
        image = read_image(path)
        assert image.array.shape == image.geometry.shape
        assert np.isfinite(image.array).all()


@pytest.mark.parametrize("size", [(30000, 30000, 30000), (2000, 2000, 500)])
def test_a_header_that_claims_too_many_voxels_is_refused_at_once(tmp_path: Path, size: tuple) -> None:
    def edit(header: Any) -> None:
        header["dim"][1:4] = size

    write_raw_nifti(tmp_path / "image.nii", edit)
    (tmp_path / "image.nii.gz").write_bytes(gzip.compress((tmp_path / "image.nii").read_bytes()))
    for ending in (".nrrd", ".mha"):
        write_image(tmp_path / f"image{ending}", Image(ARRAY, GRID))
        replaced(tmp_path / f"image{ending}", b"6 5 4", " ".join(map(str, size)).encode())
    start = time.perf_counter()
    for ending in ENDINGS:
        with pytest.raises(SkcdfError, match=r"more than can be read|truncated"):
            read_image(tmp_path / f"image{ending}")
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("ending", [*ENDINGS, ".nhdr", ".mhd"])
@pytest.mark.parametrize("content", [b"", b"\n", b"this is a letter, not an image\n" * 40, bytes(1000)])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    (tmp_path / f"image{ending}").write_bytes(content)

    with pytest.raises(SkcdfError, match=rf"image{ending}: .*(empty|not a|damaged)"):
        read_image(tmp_path / f"image{ending}")


def test_an_empty_volume_is_refused(tmp_path: Path) -> None:
    def edit(header: Any) -> None:
        header["dim"][2] = 0

    with pytest.raises(SkcdfError, match=r"empty \(6 x 0 x 4 voxels\)"):
        read_image(write_raw_nifti(tmp_path / "image.nii", edit))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SkcdfError, match=r"absent\.nii\.gz: there is no such file"):
        read_image(tmp_path / "absent.nii.gz")


def test_a_header_whose_voxel_file_is_missing_says_so(tmp_path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(ARRAY), str(tmp_path / "image.mhd"))
    (tmp_path / "image.raw").unlink()

    with pytest.raises(
        SkcdfError, match=r"image\.mhd: the file .*image\.raw, which holds the voxels, is missing"
    ):
        read_image(tmp_path / "image.mhd")


def test_an_unknown_ending_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(b"x")

    with pytest.raises(SkcdfError, match=r"image\.jpg.*\.nii\.gz, \.nii, \.nrrd"):
        read_image(tmp_path / "image.jpg")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "image.nrrd", Image(ARRAY, GRID))
    (tmp_path / "image.nrrd").chmod(0)

    with pytest.raises(SkcdfError, match=r"image\.nrrd: this may not be read"):
        read_image(tmp_path / "image.nrrd")
