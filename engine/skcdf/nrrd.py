"""NRRD files, header attached (``.nrrd``) or apart (``.nhdr``), with raw or gzip voxels.

Read here, not by ITK, which does not verify gzip's checksum and returns a damaged image without a word.
"""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import SkcdfError
from .geometry import Geometry
from .stored_image import StoredImage, little_endian_bytes, read_voxels

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODE_OF = {name: code for code, names in _TYPES.items() for name in names}
_LONGEST_HEADER = 1 << 20
_SAVE_AGAIN = "Load the image in Slicer and save it as .nrrd or .nii.gz."
# what turns a space into LPS; one that is not patient-based is taken as LPS, as ITK does
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
    "scanner-xyz": (1, 1, 1),
    "3d-right-handed": (1, 1, 1),
    "3d-left-handed": (1, 1, 1),
}
# the format's fields, without the spaces that may be left out of their names; not axis mins and maxs, which
# would place the grid in a way that is not read here
_FIELDS = re.compile(
    "dimension|type|blocksize|encoding|endian|content|(old)?(min|max)|datafile|(line|byte)skip|number|sampleunits|"
    "space(dimension|units|origin|directions)?|measurementframe|sizes|spacings|thicknesses|cent(er|ering)s|kinds|"
    "labels|units"
)
_ESCAPED = re.compile(r"\\([n\\])")


@dataclass(frozen=True)
class NrrdFile:
    """A NRRD file whose header is read.

    Attributes:
        path: the file with the header.
        sizes: length of every axis, the fastest first, as in the file.
        spatial: which of these axes are spatial: index axes ``x``, ``y``, ``z``.
        affine: 4×4 matrix from index ``(x, y, z, 1)`` to LPS position in mm.
        keys: the header's own ``key:=value`` pairs.
        load: reads the voxels, in the file's order.
    """

    path: Path
    sizes: tuple[int, ...]
    spatial: tuple[int, ...]
    affine: np.ndarray
    keys: dict[str, str]
    load: Callable[[], np.ndarray]


def open_nrrd(path: Path) -> StoredImage:
    """Reads the header of a NRRD file that is to be one volume.

    Raises:
        SkcdfError: not NRRD, or voxels stored in a way that is not read here.
        ValueError, LookupError, OSError: a damaged header; ``reading`` makes an SkcdfError of them.
    """
    file = read_header(path)
    others = [axis for axis in range(len(file.sizes)) if axis not in file.spatial]
    axes = file.spatial if len(file.spatial) < 3 else (*file.spatial, *others)  # a plane is refused as such
    return StoredImage(path, tuple(file.sizes[axis] for axis in axes), file.affine, file.load)


def read_header(path: Path) -> NrrdFile:
    """Reads the header of any NRRD file; see ``open_nrrd`` for what it raises."""
    fields, keys, length = _fields(path)
    sizes = tuple(int(n) for n in fields["sizes"].split())
    if len(sizes) != int(fields["dimension"]) or min(sizes) < 0:
        raise ValueError(f"sizes {fields['sizes']} in {fields['dimension']} dimensions")
    dtype = np.dtype(_CODE_OF[fields["type"].lower()])
    if dtype.itemsize > 1:
        dtype = dtype.newbyteorder({"little": "<", "big": ">"}[fields["endian"].lower()])  # type: ignore[arg-type]
    spatial, affine = _grid(fields, len(sizes))
    encoding = fields.get("encoding", "raw").lower()
    lines, skip = int(fields.get("lineskip", 0)), int(fields.get("byteskip", 0))
    compressed = encoding in ("gzip", "gz")
    detached = fields.get("datafile", "")
    if not (compressed or encoding == "raw") or lines or skip < -1 or (compressed and skip):
        raise SkcdfError(
            f"{path}: voxels in {encoding} encoding, or behind other data, are not read.", _SAVE_AGAIN
        )
    if re.match(r"LIST\b|.*%\d*d", detached):
        raise SkcdfError(f"{path}: voxels spread over several files are not read.", _SAVE_AGAIN)
    data, offset = (path.parent / detached, 0) if detached else (path, length)

    def load() -> np.ndarray:
        count = math.prod(sizes)
        start = data.stat().st_size - count * dtype.itemsize if skip == -1 else offset + skip
        return read_voxels(data, dtype, count, max(start, 0), compressed)

    return NrrdFile(path, sizes, spatial, affine, keys, load)


def write_nrrd(path: Path, array: np.ndarray, geometry: Geometry, note: str, level: int) -> None:
    """Writes a ``.nrrd`` file, at level 0 without compression; see ``write_nifti`` for the arguments."""
    name = {code: names[-1] for code, names in _TYPES.items()}[array.dtype.str[1:]]
    columns = geometry.affine[:3, :3].T
    lines = [
        "NRRD0004",
        f"type: {name}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(map(str, geometry.size)),
        "space directions: " + " ".join(_vector(column) for column in columns),
        "kinds: domain domain domain",
        "endian: little",
        f"encoding: {'gzip' if level else 'raw'}",
        "space origin: " + _vector(geometry.affine[:3, 3]),
        *([f"note:={note}"] if note else []),
    ]
    with open(path, "wb") as stream:
        stream.write(("\n".join(lines) + "\n\n").encode("ascii", "replace"))
        if not level:
            stream.write(little_endian_bytes(array))
            return
        with gzip.GzipFile("", "wb", level, stream, mtime=0) as packed:
            packed.write(little_endian_bytes(array))


def _fields(path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """Header fields by lower-case name, keys of the file's own, and the header's length in bytes."""
    with open(path, "rb") as stream:
        head = stream.read(_LONGEST_HEADER)
    if not head.startswith(b"NRRD000"):
        raise SkcdfError(f"{path}: this is not a NRRD file.", "Export the image as .nrrd or .nii.gz.")
    end = re.search(rb"\r?\n\r?\n", head)
    text = head[: end.start()] if end else head
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")[1:]:
        if not line or line.startswith("#"):
            continue
        name, separator, value = re.split(r"(:=|: |$)", line, maxsplit=1)
        if separator == ":=":
            keys[name] = _ESCAPED.sub(lambda escape: "\n" if escape[1] == "n" else "\\", value)
            continue
        name = name.lower().replace(" ", "")
        # a misspelt field is refused, as ITK does: "space directions" would be lost silently
        if not _FIELDS.fullmatch(name):
            raise ValueError(f"field {line[:40]!r}")
        if separator == ": ":
            fields[name] = value.strip()
    return fields, keys, end.end() if end else len(head)


def _grid(fields: dict[str, str], dimension: int) -> tuple[tuple[int, ...], np.ndarray]:
    """Which axes are spatial, and the affine."""
    affine = np.eye(4)
    signs = np.array(_TO_LPS[fields.get("space", "lps").lower()])
    if "spacedirections" not in fields:
        spacing = [float(word) for word in fields.get("spacings", "1 1 1").split()][:3]
        affine[:3, :3] = np.diag(spacing)
        return tuple(range(min(dimension, 3))), affine
    vectors = re.findall(r"none|\([^)]*\)", fields["spacedirections"])
    if len(vectors) != dimension:
        raise ValueError(f"space directions {fields['spacedirections']}")
    # ITK writes a fourth axis as a fourth spatial one, with 4-vectors
    spatial = tuple(axis for axis, vector in enumerate(vectors) if vector != "none")[:3]
    if len(spatial) < 3:
        return spatial, affine
    affine[:3, :3] = np.array([_parse(vectors[axis])[:3] for axis in spatial]).T * signs[:, None]
    affine[:3, 3] = np.array(_parse(fields.get("spaceorigin", "(0,0,0)"))[:3]) * signs
    return spatial, affine


def _parse(vector: str) -> list[float]:
    return [float(number) for number in vector.strip("() ").split(",")]


def _vector(values: np.ndarray) -> str:
    return "(" + ",".join(f"{value:.17g}" for value in values) + ")"
