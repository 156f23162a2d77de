"""Reads scans and label maps with the grid they lie on, and writes them.

The formats have a file each (``nifti``, ``nrrd``, ``metaimage``, ``dicom``); what holds for all is here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .dicom import is_dicom_folder, open_series
from .errors import SkcdfError
from .files import atomic_write
from .geometry import Geometry
from .metaimage import open_metaimage, write_metaimage
from .nifti import LONGEST_AXIS, open_nifti, write_nifti
from .nrrd import open_nrrd, write_nrrd
from .stored_image import StoredImage, reading

_READERS = {
    ".nii.gz": open_nifti,
    ".nii": open_nifti,
    ".nrrd": open_nrrd,
    ".nhdr": open_nrrd,
    ".mha": open_metaimage,
    ".mhd": open_metaimage,
}
_WRITERS = {".nii.gz": write_nifti, ".nii": write_nifti, ".nrrd": write_nrrd, ".mha": write_metaimage}
MOST_LABELS = 2**16 - 1
# at 512 x 512 x 300 a CT takes 2 s at level 1 and 8 s at 6, for 2 % less; labels 0.2 s at either
_SCAN_COMPRESSION, _LABEL_COMPRESSION = 1, 6


@dataclass(frozen=True)
class Image:
    """A 3-D scalar image.

    Attributes:
        array: voxels ``(z, y, x)``. Scans keep the file's type where it is an integer of at most 32 bit or
            float32; wider integers become int32 where they fit, anything else float32. Label maps are uint8
            or uint16.
        geometry: the grid.
        source: the file or folder it came from, for messages; empty for an image made in memory.
        metadata: what the file says of itself and `check_input` uses: ``modality`` and ``body_part`` (DICOM).
    """

    array: np.ndarray
    geometry: Geometry
    source: str = ""
    metadata: dict[str, str] = field(default_factory=dict)

    def value_counts(self) -> dict[int | float, int]:
        """How many voxels have each value, plane by plane: a whole CT's label map is never copied."""
        counts: dict[int | float, int] = {}
        for plane in self.array:
            for value, count in zip(*np.unique(plane, return_counts=True), strict=True):
                counts[value.item()] = counts.get(value.item(), 0) + int(count)
        return counts


def read_image(path: Path | str) -> Image:
    """Reads a scan: a NIfTI, NRRD or MetaImage file, or a folder with one DICOM series.

    Raises:
        SkcdfError: there is no such file, it is damaged, or not one 3-D scalar volume on a rectangular grid.
    """
    stored = _open(Path(path))
    array = _standard_type(stored.voxels())
    if array.dtype.kind == "f" and not np.isfinite([array.min(), array.max()]).all():
        count = int(array.size - np.isfinite(array).sum())
        raise SkcdfError(
            f"{stored.source}: {count} voxels are NaN or infinite.",
            "Replace them, for instance with the value of air, and save the image again.",
        )
    return Image(array, stored.geometry(), str(path), dict(stored.metadata))


def read_label_map(path: Path | str) -> Image:
    """Reads a label map as uint8, or uint16 when a value is above 255.

    Raises:
        SkcdfError: see ``read_image``; or the values are not whole numbers from 0 to 65535.
    """
    image = read_image(path)
    low, high = image.array.min(), image.array.max()
    if low < 0 or high > MOST_LABELS:
        raise SkcdfError(
            f"{path}: this is not a label map: its values go from {low:g} to {high:g}.",
            f"Labels are whole numbers from 0 to {MOST_LABELS}; is this the scan?",
        )
    labels = image.array.astype(_label_type(int(high)), copy=False)
    if not np.array_equal(labels, image.array):
        raise SkcdfError(
            f"{path}: this is not a label map: some values are not whole numbers.",
            "Give the label map, not probabilities; resample label maps by nearest neighbour only.",
        )
    return Image(labels, image.geometry, image.source, image.metadata)


def read_geometry(path: Path | str) -> Geometry:
    """Reads only the grid, from the header (of every slice, for DICOM).

    Raises:
        SkcdfError: see ``read_image``; damage to the voxels is not noticed.
    """
    return _open(Path(path)).geometry()


def is_image_file(path: Path | str) -> bool:
    """Whether ``path`` is a file whose name has the ending of an image; hidden files are not."""
    path = Path(path)
    return _ending(path) in _READERS and not path.name.startswith(".") and path.is_file()


def images_in(folder: Path | str) -> list[Path]:
    """Image files and DICOM sub-folders directly in ``folder``, sorted; ``[folder]`` when it is DICOM itself.

    Raises:
        SkcdfError: there is no such folder, or it may not be read.
    """
    folder = Path(folder)
    with reading(folder):
        if is_dicom_folder(folder):
            return [folder]
        return sorted(path for path in folder.iterdir() if is_image_file(path) or is_dicom_folder(path))


def stem(path: Path) -> str:
    """Name without the ending of an image: ``ct`` of ``ct.nii.gz``; a folder's name as it is."""
    ending = _ending(path)
    return path.name[: -len(ending)] if ending in _READERS else path.name


def check_output_name(path: Path | str) -> None:
    """Raises `SkcdfError` for a name whose ending is not written: before the work, not after it."""
    if _ending(Path(path)) not in _WRITERS:
        raise SkcdfError(
            f"{path}: this kind of file is not written.", f"Choose one of {', '.join(_WRITERS)}."
        )


def write_label_map(path: Path | str, array: np.ndarray, geometry: Geometry, note: str = "") -> None:
    """Writes a label map, compressed (but for ``.nii``) and atomically.

    Args:
        path: a ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha`` file.
        array: integers from 0 to 65535, ``(z, y, x)``.
        geometry: the grid of ``array``.
        note: one line kept in the file's header (NIfTI: the first 79 characters); ASCII.

    Raises:
        SkcdfError: another ending, values that are no labels, or the file cannot be written.
    """
    if array.dtype.kind not in "iub":
        raise TypeError(f"labels of type {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > MOST_LABELS:
        raise SkcdfError(
            f"{path}: labels from {low} to {high} cannot be written.", f"Labels go from 0 to {MOST_LABELS}."
        )
    _write(Path(path), array.astype(_label_type(high), copy=False), geometry, note, _LABEL_COMPRESSION)


def write_image(path: Path | str, image: Image) -> None:
    """Writes a scan, compressed and atomically; its type is kept, 64 bit numbers narrowed as ``Image`` says.

    Raises:
        SkcdfError: an ending that is not written, or the file cannot be written.
    """
    _write(Path(path), _standard_type(image.array), image.geometry, "", _SCAN_COMPRESSION)


def _open(path: Path) -> StoredImage:
    with reading(path):
        if path.is_dir():
            return open_series(path)
        if path.stat().st_size == 0:
            raise SkcdfError(f"{path}: the file is empty (0 bytes).", "Copy or export the image again.")
        if (ending := _ending(path)) not in _READERS:
            raise SkcdfError(
                f"{path}: this is not an image file that can be read.",
                f"Give a file ending in {', '.join(_READERS)}, or a folder with one DICOM series.",
            )
        return _READERS[ending](path)


def _write(path: Path, array: np.ndarray, geometry: Geometry, note: str, level: int) -> None:
    if array.shape != geometry.shape:
        raise ValueError(f"array of shape {array.shape} on a grid of shape {geometry.shape}")
    check_output_name(path)
    ending = _ending(path)
    if _WRITERS[ending] is write_nifti and max(geometry.size) > LONGEST_AXIS:
        raise SkcdfError(
            f"{path}: NIfTI holds at most {LONGEST_AXIS} voxels along an axis, not {max(geometry.size)}.",
            "Write a .nrrd file.",
        )
    with atomic_write(path) as temporary:
        _WRITERS[ending](temporary, array, geometry, " ".join(note.split()), level)


def _ending(path: Path) -> str:
    name = path.name.lower()
    return next((ending for ending in _READERS if name.endswith(ending)), path.suffix.lower())


def _label_type(highest: int) -> type[np.unsignedinteger]:
    return np.uint8 if highest <= 255 else np.uint16


def _standard_type(array: np.ndarray) -> np.ndarray:
    """``array`` in a type that ``Image`` allows."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 4:
        return array
    limits = np.iinfo(np.int32)
    if array.dtype.kind in "iu" and limits.min <= array.min() and array.max() <= limits.max:
        return array.astype(np.int32)
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which the caller refuses
        return array.astype(np.float32, copy=False)
