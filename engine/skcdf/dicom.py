"""A folder of DICOM files, one series, as one volume.

SimpleITK (GDCM) reads the files; which of them belong together, in which order, and whether they fill space
evenly is decided here, since GDCM stacks whatever it is given.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import SkcdfError
from .stored_image import StoredImage

_ENDINGS = (".dcm", ".dicom", ".ima")
# SOP classes of what lies beside images in an export: reports, contours, plans, presentation states, raw data
_NOT_IMAGES = tuple(
    f"1.2.840.10008.{rest}".encode()
    for rest in (
        "1.3.10",
        "5.1.4.1.1.481.",
        "5.1.4.1.1.88.",
        "5.1.4.1.1.11.",
        "5.1.4.1.1.66",
        "5.1.4.1.1.104.",
    )
)
_POSITION_TOLERANCE_MM = 0.05
_SPACING_TOLERANCE = 0.01
_TILT_TOLERANCE = 1e-3  # sideways shift per length
_SAVE_AGAIN = "Load the series in Slicer, look at it, and save it as .nrrd or .nii.gz."


@dataclass(frozen=True)
class _Slice:
    """One file's header.

    Attributes:
        path: the file.
        series: series instance UID.
        title: what people know the series by.
        size: voxels along x, y and, for a multi-frame file, z.
        spacing: mm; the third is only meaningful in a multi-frame file.
        origin: LPS position in mm of the first voxel.
        direction: 3×3, columns are index axes.
        metadata: see ``Image``.
        complete: whether the file itself says where it lies.
    """

    path: Path
    series: str
    title: str
    size: tuple[int, int, int]
    spacing: np.ndarray
    origin: np.ndarray
    direction: np.ndarray
    metadata: dict[str, str]
    complete: bool

    def like(self, other: _Slice) -> bool:
        """Whether both can be slices of one volume."""
        return (
            self.size == other.size
            and np.allclose(self.spacing[:2], other.spacing[:2], rtol=1e-3)
            and np.allclose(self.direction, other.direction, atol=1e-3)
        )


def is_dicom_folder(folder: Path) -> bool:
    """Whether a DICOM file lies directly in ``folder``."""
    return folder.is_dir() and any(_is_dicom_file(path) for path in folder.iterdir())


def open_series(folder: Path) -> StoredImage:
    """Reads the headers of the one series in ``folder``, its sub-folders not included.

    Raises:
        SkcdfError: no series, several, a damaged file, or slices that do not fill space evenly.
    """
    series: dict[str, list[_Slice]] = defaultdict(list)
    for path in sorted(path for path in folder.iterdir() if _is_dicom_file(path)):
        if (header := _header(path)) is not None:
            series[header.series].append(header)
    if not series:
        raise SkcdfError(
            f"{folder}: there is no DICOM image in this folder.",
            "Give the folder that holds the slices' files.",
        )
    if len(series) > 1:
        listing = "; ".join(f"{slices[0].title}: {_count(slices)}" for slices in series.values())
        raise SkcdfError(
            f"{folder}: this folder holds {len(series)} series ({listing}).", "Give one series per folder."
        )
    (slices,) = series.values()
    return _multi_frame(slices[0]) if slices[0].size[2] > 1 and len(slices) == 1 else _stack(folder, slices)


def _is_dicom_file(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    with open(path, "rb") as stream:
        return stream.read(132)[128:] == b"DICM" or path.name.lower().endswith(_ENDINGS)


def _reader(path: Path) -> Any:
    import SimpleITK  # a third of a second: only who reads DICOM waits for it

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _header(path: Path) -> _Slice | None:
    """The header of an image file; ``None`` for a DICOM file that is no image."""
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        with open(path, "rb") as stream:
            start = stream.read(1024)
        if any(kind in start for kind in _NOT_IMAGES):
            return None
        raise _damaged(path) from error

    def tag(key: str) -> str:
        # GDCM pads text to even length
        return reader.GetMetaData(key).strip(" \0") if reader.HasMetaDataKey(key) else ""

    if reader.GetNumberOfComponents() != 1:
        raise SkcdfError(f"{path}: the voxels are colours.", "Give a scalar series, such as CT or MR.")
    modality = tag("0008|0060")
    return _Slice(
        path=path,
        series=tag("0020|000e"),
        title=f"series {tag('0020|0011') or '?'}, {modality or 'unknown modality'}",
        size=(*reader.GetSize()[:2], reader.GetSize()[2] if reader.GetDimension() > 2 else 1),
        spacing=np.array(reader.GetSpacing()),
        origin=np.array(reader.GetOrigin()),
        direction=np.reshape(reader.GetDirection(), (3, 3)),
        metadata={"modality": modality, "body_part": tag("0018|0015")},
        complete=all(tag(key) for key in ("0020|0032", "0020|0037", "0028|0030")),
    )


def _stack(folder: Path, slices: list[_Slice]) -> StoredImage:
    """The volume of a series with one slice per file."""
    first = slices[0]
    if len(slices) == 1:
        raise SkcdfError(
            f"{folder}: the series is a single slice.", "Give a folder with all slices of the series."
        )
    for one in slices:
        if not one.complete:
            raise SkcdfError(f"{one.path}: the file does not say where its slice lies.", _SAVE_AGAIN)
        if not one.like(first) or one.size[2] != 1:
            raise SkcdfError(
                f"{folder}: {first.path.name} and {one.path.name} differ in size, spacing or orientation.",
                "Take localizers out of the folder: all slices must be parallel and alike.",
            )
    normal = first.direction[:, 2]
    slices = sorted(slices, key=lambda one: float(one.origin @ normal))
    first = slices[0]
    offsets = np.array([one.origin - first.origin for one in slices])
    step = _even_step(folder, offsets @ normal)
    shift = float(np.linalg.norm(offsets - np.outer(offsets @ normal, normal), axis=1).max())
    length = step * (len(slices) - 1)
    if shift > max(_POSITION_TOLERANCE_MM, _TILT_TOLERANCE * length):
        raise SkcdfError(
            f"{folder}: the slices are shifted sideways against each other, as by a gantry tilted "
            f"{math.degrees(math.atan2(shift, length)):.1f}°.",
            "Load the series in Slicer, which corrects the tilt, harden the transform, and save as .nrrd.",
        )
    affine = np.eye(4)
    affine[:3, :3] = first.direction * [*first.spacing[:2], step]
    affine[:3, 3] = first.origin

    def load() -> np.ndarray:
        return np.stack([_voxels(one.path).reshape(one.size[1::-1]) for one in slices])

    return StoredImage(folder, (*first.size[:2], len(slices)), affine, load, first.metadata)


def _even_step(folder: Path, positions: np.ndarray) -> float:
    """The distance of neighbouring slices in mm, given their sorted positions."""
    gaps = np.diff(positions)
    step = float(np.median(gaps))
    tolerance = max(_POSITION_TOLERANCE_MM, _SPACING_TOLERANCE * step)
    if gaps.min() <= min(tolerance, 1e-3):
        raise SkcdfError(
            f"{folder}: several slices lie at the same place.",
            "The folder holds several volumes (time points, echoes) or copies: give one volume.",
        )
    worst = int(np.argmax(np.abs(gaps - step)))
    if abs(gaps[worst] - step) > tolerance:
        missing = round(gaps[worst] / step) - 1
        what = f"{missing} missing" if missing > 0 else "unevenly spaced"
        raise SkcdfError(
            f"{folder}: slices are {what}: after slice {worst + 1} of {len(positions)} the next is "
            f"{gaps[worst]:.2f} mm away, elsewhere {step:.2f} mm.",
            "Copy the series again in full, or resample it to even slices in Slicer.",
        )
    return float(positions[-1] - positions[0]) / (len(positions) - 1)


def _multi_frame(frames: _Slice) -> StoredImage:
    """The volume of an enhanced multi-frame file."""
    # GDCM falls back to 1 × 1 × 1 mm, silently, when frames are not evenly stacked in order
    if np.array_equal(frames.spacing, np.ones(3)):
        raise SkcdfError(
            f"{frames.path}: the frames of this file are not an evenly spaced stack.", _SAVE_AGAIN
        )
    affine = np.eye(4)
    affine[:3, :3] = frames.direction * frames.spacing  # negative spacing: stored from the far end
    affine[:3, 3] = frames.origin
    return StoredImage(frames.path, frames.size, affine, lambda: _voxels(frames.path), frames.metadata)


def _voxels(path: Path) -> np.ndarray:
    import SimpleITK

    try:
        return SimpleITK.GetArrayFromImage(_reader(path).Execute())
    except RuntimeError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> SkcdfError:
    return SkcdfError(f"{path}: this DICOM file is truncated or damaged.", "Copy or export the series again.")


def _count(slices: list[_Slice]) -> str:
    n = sum(one.size[2] for one in slices)
    return f"{n} slice" if n == 1 else f"{n} slices"
