"""MetaImage files, header attached (``.mha``) or apart (``.mhd``), with raw or zlib voxels.

Read here, not by ITK, which returns an image with damaged compressed voxels without an error.
"""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

import numpy as np

from .errors import SkcdfError
from .geometry import Geometry
from .stored_image import StoredImage, little_endian_bytes, read_voxels, scalar_type

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # 32 bit on disk on every system
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LONGEST_HEADER = 1 << 16
_DATA = re.compile(rb"^\s*ElementDataFile\s*=\s*(.*?)[ \t]*\r?\n", re.MULTILINE)


def open_metaimage(path: Path) -> StoredImage:
    """Reads the header of a MetaImage file.

    Raises:
        SkcdfError: not a MetaImage of scalars, or voxels stored in a way that is not read here.
        ValueError, LookupError, OSError: a damaged header; ``reading`` makes an SkcdfError of them.
    """
    fields, length = _fields(path)
    dimensions = int(fields["NDims"])
    size = tuple(_numbers(fields["DimSize"], int))
    if len(size) != dimensions or min(size) < 0:
        raise ValueError(f"DimSize {fields['DimSize']} in {dimensions} dimensions")
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    order = ">" if _true(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    dtype = np.dtype(order + _TYPES[fields["ElementType"]])
    scalar_type(path, dtype if channels == 1 else np.dtype((dtype, channels)))
    compressed, name = _true(fields, "CompressedData"), fields["ElementDataFile"]
    header_size = int(fields.get("HeaderSize", "0"))
    if name.split()[0] == "LIST" or "%" in name or (header_size and (compressed or header_size < -1)):
        raise SkcdfError(
            f"{path}: voxels spread over several files or behind a header of their own are not read.",
            "Load the image in Slicer and save it as .nrrd or .nii.gz.",
        )
    data, offset = (path, length) if name.upper() == "LOCAL" else (path.parent / name, max(header_size, 0))

    def load() -> np.ndarray:
        count = math.prod(size)
        start = data.stat().st_size - count * dtype.itemsize if header_size == -1 else offset
        return read_voxels(data, dtype, count, max(start, 0), compressed)

    return StoredImage(path, size, _affine(fields, dimensions), load)


def write_metaimage(path: Path, array: np.ndarray, geometry: Geometry, note: str, level: int) -> None:
    """Writes a zlib-compressed ``.mha`` file; see ``write_nifti`` for the arguments."""
    packed = zlib.compress(little_endian_bytes(array), level)
    names = {code: name for name, code in reversed(_TYPES.items())}
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        **({"Comment": note} if note else {}),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(packed)),
        "TransformMatrix": _text(np.reshape(geometry.direction, (3, 3)).T.ravel()),
        "Offset": _text(np.asarray(geometry.origin)),
        "ElementSpacing": _text(np.asarray(geometry.spacing)),
        "DimSize": " ".join(map(str, geometry.size)),
        "ElementType": names[array.dtype.str[1:]],
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{name} = {value}\n" for name, value in fields.items())
    with open(path, "wb") as stream:
        stream.write(text.encode("ascii", "replace"))
        stream.write(packed)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Header fields, and the header's length in bytes."""
    with open(path, "rb") as stream:
        head = stream.read(_LONGEST_HEADER)
    end = _DATA.search(head + b"\n" if len(head) < _LONGEST_HEADER else head)
    if end is None:
        raise SkcdfError(f"{path}: this is not a MetaImage file.", "Export the image as .nrrd or .nii.gz.")
    fields: dict[str, str] = {}
    for line in filter(str.strip, head[: end.end()].decode("utf-8", "replace").split("\n")):
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"line {line[:40]!r}")
        fields[name.strip()] = value.strip()
    return fields, end.end()


def _affine(fields: dict[str, str], dimensions: int) -> np.ndarray:
    """Index to LPS position in mm; MetaImage lists the direction of each index axis, one after another."""
    n = max(dimensions, 3)
    spacing, origin, direction = np.ones(n), np.zeros(n), np.eye(n)
    for names, target in (
        (("ElementSpacing", "ElementSize"), spacing),
        (("Offset", "Position", "Origin"), origin),
        (("TransformMatrix", "Orientation", "Rotation"), direction),
    ):
        text = next((fields[name] for name in names if name in fields), None)
        if text is not None and dimensions == n:
            target[...] = np.reshape(list(_numbers(text, float)), target.shape)
    if (spacing < 0).any():
        raise ValueError(f"negative spacing {spacing}")
    affine = np.eye(4)
    with np.errstate(invalid="ignore"):  # NaN in a damaged header, which StoredImage refuses
        affine[:3, :3] = direction[:3, :3].T * spacing[:3]
    affine[:3, 3] = origin[:3]
    return affine


def _numbers(text: str, kind: type) -> list:
    return [kind(word) for word in text.split()]


def _true(fields: dict[str, str], *names: str) -> bool:
    return any(fields.get(name, "").upper().startswith("T") for name in names)


def _text(values: np.ndarray) -> str:
    return " ".join(f"{value:.17g}" for value in values)
