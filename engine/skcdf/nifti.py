"""NIfTI files, read as ITK and therefore Slicer read them, so that results overlay there.

nibabel interprets the header; it is imported with the first NIfTI file, since Slicer does not bundle it.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from .errors import SkcdfError
from .geometry import Geometry
from .stored_image import StoredImage, little_endian_bytes, read_voxels, scalar_type

LONGEST_AXIS = 2**15 - 1  # of NIfTI-1, in voxels
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # xyzt_units 1 metre, 3 micrometre; anything else counts as mm
_SCANNER = 1
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_EXACT_IN_FLOAT32 = 2**24


def open_nifti(path: Path) -> StoredImage:
    """Reads the header of a ``.nii`` or ``.nii.gz`` file, whichever its bytes say it is.

    Raises:
        SkcdfError: not a single-file NIfTI image of scalars, or nibabel is missing.
        ValueError, OSError, EOFError: a damaged header; ``reading`` makes an SkcdfError of them.
    """
    with open(path, "rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        head = (gzip.GzipFile(fileobj=stream) if compressed else stream).read(540)
    header = _header(path, head)
    dimensions = int(header["dim"][0])
    if not 1 <= dimensions <= 7:
        raise ValueError(f"{dimensions} dimensions")
    size = tuple(int(n) for n in header["dim"][1 : dimensions + 1])
    dtype = scalar_type(path, header.get_data_dtype())
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    offset = int(header["vox_offset"]) or header.sizeof_hdr + 4
    if offset < header.sizeof_hdr:
        raise ValueError(f"voxels from byte {offset}, within the header")

    def load() -> np.ndarray:
        array = read_voxels(path, dtype, math.prod(size), compressed=compressed, skip=offset)
        if slope == 0.0 or not math.isfinite(slope) or (slope, inter) == (1.0, 0.0):
            return array  # the format's ways to say "not scaled"
        return _scaled(array.reshape(size[::-1]), slope, inter)

    with np.errstate(invalid="ignore"):  # NaN in a damaged header, which StoredImage refuses
        affine = _affine(path, header)
    return StoredImage(path, size, affine, load)


def write_nifti(path: Path, array: np.ndarray, geometry: Geometry, note: str, level: int) -> None:
    """Writes a NIfTI-1 file; compressed when the name ends in ``.gz``.

    Args:
        path: the file.
        array: ``(z, y, x)``.
        geometry: its grid, no axis longer than ``LONGEST_AXIS``.
        note: kept in the header's 80 byte description.
        level: zlib's compression level.
    """
    header = _nibabel().Nifti1Header(endianness="<")
    header.set_data_dtype(array.dtype)
    header.set_data_shape(geometry.size)
    ras = _RAS_TO_LPS @ geometry.affine
    header.set_qform(ras, code=_SCANNER)
    header.set_sform(ras, code=_SCANNER)
    header["pixdim"][1:4] = geometry.spacing
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["descrip"] = note.encode("ascii", "replace")[:79]
    with open(path, "wb") as stream:
        if path.name.lower().endswith(".gz"):
            # without name and time in the gzip header equal images are equal files
            with gzip.GzipFile("", "wb", level, stream, mtime=0) as packed:
                packed.write(header.binaryblock + b"\0\0\0\0")
                packed.write(little_endian_bytes(array))
        else:
            stream.write(header.binaryblock + b"\0\0\0\0")
            stream.write(little_endian_bytes(array))


def _nibabel() -> Any:
    try:
        import nibabel
    except Exception as error:  # half an installation fails in more ways than one
        is_missing = isinstance(error, ModuleNotFoundError) and error.name == "nibabel"
        raise SkcdfError(
            f"NIfTI files need the Python package nibabel, which {'is missing' if is_missing else 'is damaged'}.",
            "In Slicer, install it at the top of the module's panel; elsewhere: pip install nibabel. Or use .nrrd.",
        ) from error
    return nibabel


def _header(path: Path, head: bytes) -> Any:
    """The header as the file has it: nibabel's own repairs would hide zero and negative spacing."""
    nibabel = _nibabel()
    kinds = {
        b"n+1\0": (nibabel.Nifti1Header, head[344:348], 348),
        b"n+2\0": (nibabel.Nifti2Header, head[4:8], 540),
    }
    for magic, (kind, found, length) in kinds.items():
        if found == magic and len(head) >= length:
            return kind(head[:length], check=False)
    raise SkcdfError(
        f"{path}: this is not a NIfTI file (or one of a .hdr/.img pair).", "Export the image as .nii.gz."
    )


def _affine(path: Path, header: Any) -> np.ndarray:
    """Index to LPS position in mm.

    ITK's rules, found by experiment with SimpleITK 2.5: spacing always comes from pixdim; directions and
    origin from the sform when it is the scanner's, the only one, or equals the qform; from the qform
    otherwise; with neither, index axes are the LPS axes from zero. A sheared sform yields to the qform.
    """
    spacing = np.asarray(header["pixdim"][1:4], float)
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise SkcdfError(
            f"{path}: the voxel spacing is {' x '.join(f'{s:g}' for s in spacing)}.",
            "Every spacing must be above zero: export the image again, or correct the header.",
        )
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    sform = header.get_sform()
    affine = np.diag([*spacing, 1.0])
    if sform_code > 0 and qform_code <= 0:
        affine = _RAS_TO_LPS @ sform
    elif qform_code > 0:
        header["pixdim"][0] = -1.0 if header["pixdim"][0] < 0 else 1.0  # 0 counts as 1
        qform = header.get_qform()
        same = np.allclose(sform, qform, rtol=0, atol=1e-4)
        use_sform = sform_code > 0 and (sform_code == _SCANNER or same) and _at_right_angles(sform)
        affine = _RAS_TO_LPS @ (sform if use_sform else qform)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    affine[:3, :3] *= np.divide(spacing, lengths, out=np.zeros(3), where=lengths > 0)
    affine[:3] *= _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    return affine


def _at_right_angles(affine: np.ndarray) -> bool:
    """ITK's own test, with its tolerance."""
    columns = affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    if not (lengths > 0).all() or not np.isfinite(columns).all():
        return False
    rotation = columns / lengths
    return bool(np.allclose(rotation @ rotation.T, np.eye(3), rtol=0, atol=1e-4))


def _scaled(array: np.ndarray, slope: float, inter: float) -> np.ndarray:
    """``array * slope + inter``: integers when they come out whole and exact, float32 otherwise."""
    result = np.empty(array.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for raw, scaled in zip(array, result, strict=True):  # slice by slice: float64 is large
            scaled[...] = raw.astype(np.float64) * slope + inter
    low, high = float(result.min()), float(result.max())
    if array.dtype.kind == "f" or not max(-low, high) <= _EXACT_IN_FLOAT32:
        return result
    narrow = np.int16 if max(-low, high) < 2**15 else np.int32
    whole = result.astype(narrow)
    return whole if np.array_equal(whole, result) else result
