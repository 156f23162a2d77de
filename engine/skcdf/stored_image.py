"""An image whose header is read and whose voxels still lie on the disk: what every format's reader gives.

Nothing that a header claims is believed before it is compared with the file's size, so that a damaged or
hostile header costs an error message, never the memory.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import SkcdfError
from .geometry import Geometry

MOST_VOXELS = 2**31
DEFLATE_RATIO = 1032  # no gzip or zlib stream unpacks to more than this times its size
PLAUSIBLE_SPACING_MM = (1e-3, 100.0)
FARTHEST_ORIGIN_MM = 1e6
ORTHONORMAL_TOLERANCE = 1e-3
_PIECE = 1 << 15  # unpacks to at most 32 MiB


@dataclass(frozen=True)
class StoredImage:
    """A scan or label map on the disk.

    Attributes:
        source: the file or folder, for messages.
        size: voxels along the index axes ``(x, y, z)``, with whatever further axes the file has.
        affine: 4×4 matrix from index ``(x, y, z, 1)`` to LPS position in mm, as the file gives it.
        load: reads the voxels, in any order of axes that reshapes to ``size`` reversed.
        metadata: see ``Image``.
    """

    source: Path
    size: tuple[int, ...]
    affine: np.ndarray
    load: Callable[[], np.ndarray]
    metadata: dict[str, str] = field(default_factory=dict)

    def geometry(self) -> Geometry:
        """The grid, checked.

        Raises:
            SkcdfError: not one 3-D volume, too large, empty, or a grid whose axes are not at right angles.
        """
        size = _three_dimensional(self.source, self.size)
        columns = self.affine[:3, :3]
        with np.errstate(over="ignore"):  # a damaged header; infinity is refused below
            spacing = np.linalg.norm(columns, axis=0)
        low, high = PLAUSIBLE_SPACING_MM
        possible = low <= spacing.min() and spacing.max() <= high  # false for NaN, too
        if not possible or not (np.abs(self.affine[:3, 3]) <= FARTHEST_ORIGIN_MM).all():
            raise SkcdfError(
                f"{self.source}: the voxel spacing is {_numbers(spacing)} mm and the origin "
                f"{_numbers(self.affine[:3, 3])} mm, which cannot be.",
                f"Export the image again with a spacing between {low:g} and {high:g} mm.",
            )
        direction = _nearest_rotation(self.source, columns / spacing)
        x, y, z = spacing.tolist()
        origin_x, origin_y, origin_z = (self.affine[:3, 3] + 0.0).tolist()
        return Geometry(size, (x, y, z), (origin_x, origin_y, origin_z), tuple(direction.ravel().tolist()))

    def voxels(self) -> np.ndarray:
        """The voxels, ``(z, y, x)``, native byte order.

        Raises:
            SkcdfError: see ``geometry``; or truncated, damaged or too large for the memory.
        """
        shape = self.geometry().shape
        with reading(self.source):
            array = self.load().reshape(shape)
            return array.astype(array.dtype.newbyteorder("="), copy=False)


def _three_dimensional(source: Path, size: tuple[int, ...]) -> tuple[int, int, int]:
    while len(size) > 3 and size[-1] == 1:
        size = size[:-1]
    voxels = " x ".join(map(str, size))
    if len(size) != 3:
        raise SkcdfError(
            f"{source}: this is a {len(size)}-D image ({voxels}), not one 3-D volume.",
            "Save one volume (one time point or channel) in a file of its own."
            if len(size) > 3
            else "Give the whole volume.",
        )
    if min(size) < 1:
        raise SkcdfError(f"{source}: the image is empty ({voxels} voxels).", "Export the image again.")
    if math.prod(size) > MOST_VOXELS:
        raise SkcdfError(
            f"{source}: the header claims {voxels} voxels, more than can be read.",
            "If that is the true size, crop or resample the image; otherwise the file is damaged.",
        )
    return (size[0], size[1], size[2])


def _nearest_rotation(source: Path, direction: np.ndarray) -> np.ndarray:
    """The orthonormal matrix nearest to ``direction`` (unit columns): the header's rounding is forgiven."""
    left, _, right = np.linalg.svd(direction)
    rotation = left @ right
    if np.abs(rotation - direction).max() > ORTHONORMAL_TOLERANCE:
        pairs = itertools.combinations(range(3), 2)
        cosine = max(abs(float(direction[:, i] @ direction[:, j])) for i, j in pairs)
        raise SkcdfError(
            f"{source}: the grid's axes are not at right angles (sheared by "
            f"{math.degrees(math.asin(min(1.0, cosine))):.2f}°).",
            "Resample the image to a rectangular grid, in Slicer with Resample Scalar/Vector/DWI Volume.",
        )
    return rotation + 0.0  # no negative zeros


def _numbers(values: np.ndarray) -> str:
    return " x ".join(f"{value:g}" for value in values)


def scalar_type(source: Path, dtype: np.dtype) -> np.dtype:
    """``dtype``, when it is a plain number of at most 64 bit.

    Raises:
        SkcdfError: complex, colour or vector voxels, or numbers wider than 64 bit.
    """
    if dtype.kind not in "iuf" or dtype.itemsize > 8 or dtype.shape:
        kind = "complex" if dtype.kind == "c" else "colour, vector or extended-precision"
        raise SkcdfError(
            f"{source}: the voxels are {kind} numbers ({dtype}).",
            "Give a scalar image, in which each voxel is one number.",
        )
    return dtype


@contextlib.contextmanager
def reading(source: Path) -> Iterator[None]:
    """Turns what reading a file can raise into SkcdfError."""
    try:
        yield
    except FileNotFoundError as error:
        if error.filename not in (None, str(source)):
            raise SkcdfError(
                f"{source}: the file {error.filename}, which holds the voxels, is missing.",
                "Keep header and voxels together, or save the image in one file.",
            ) from error
        raise SkcdfError(f"{source}: there is no such file or folder.", "Check the path.") from error
    except PermissionError as error:
        raise SkcdfError(f"{source}: this may not be read.", "Check the permissions of the file.") from error
    except MemoryError as error:
        raise SkcdfError(
            f"{source}: the image does not fit in memory.",
            "Close other programs, or crop or resample the image.",
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise SkcdfError(
            f"{source}: the file is truncated or damaged ({error}).", "Copy or export the image again."
        ) from error
    except (ValueError, LookupError, ArithmeticError) as error:
        raise SkcdfError(
            f"{source}: the header is damaged or of another format ({error}).",
            "Copy or export the image again.",
        ) from error


def read_voxels(
    path: Path, dtype: np.dtype, count: int, offset: int = 0, compressed: bool = False, skip: int = 0
) -> np.ndarray:
    """Reads ``count`` numbers from a file.

    Args:
        path: the file.
        dtype: their type and byte order.
        count: how many; at least 1.
        offset: bytes of the file before them, or before the compressed stream.
        compressed: whether a gzip or zlib stream begins at ``offset``; its checksum is verified.
        skip: bytes of the unpacked stream before the numbers.

    Raises:
        EOFError: the file cannot hold that many.
        zlib.error: the stream is damaged.
    """
    available = (path.stat().st_size - offset) * (DEFLATE_RATIO if compressed else 1)
    needed = skip + count * dtype.itemsize
    if needed > available:
        raise EOFError(f"{needed} bytes of voxels expected, at most {max(available, 0)} there")
    array = np.empty(count, dtype)
    target = array.view(np.uint8).data
    with open(path, "rb") as stream:
        stream.seek(offset + (0 if compressed else skip))
        filled = _unpack(stream, target, skip) if compressed else stream.readinto(target)
    if filled < len(target):
        raise EOFError(f"{len(target)} bytes of voxels expected, {filled} there")
    return array


def little_endian_bytes(array: np.ndarray) -> memoryview:
    """The voxels as files hold them, in C order; without a copy where ``array`` is so already."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def _unpack(stream: BinaryIO, target: memoryview, skip: int) -> int:
    """Fills ``target`` from a compressed stream; returns how many bytes there were."""
    filled = surplus = 0
    for block in _inflated(stream):
        piece, skip = memoryview(block)[skip:], max(0, skip - len(block))
        taken = min(len(piece), len(target) - filled)
        target[filled : filled + taken] = piece[:taken]
        filled += taken
        surplus += len(piece) - taken
        if surplus > len(target):  # going on to the checksum could take for ever
            break
    return filled


def _inflated(stream: BinaryIO) -> Iterator[bytes]:
    """Unpacked blocks of gzip members (of which there may be several) or of a zlib stream."""
    either = zlib.MAX_WBITS | 32  # gzip or zlib, told apart by the first bytes
    decompressor, finished = zlib.decompressobj(either), False
    while piece := stream.read(_PIECE):
        while piece := piece.lstrip(b"\0") if finished else piece:  # zeros pad files from tapes
            if finished:
                decompressor = zlib.decompressobj(either)
            yield decompressor.decompress(piece)
            finished, piece = decompressor.eof, decompressor.unused_data
    if not finished:
        raise EOFError("the compressed stream ends too early")
