"""Writes ``.seg.nrrd`` files as Slicer does, for tests without Slicer."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skcdf.geometry import Geometry

KIDNEY = "SCT^64033007^Kidney"
LIVER = "SCT^10200004^Liver"
SPLEEN = "SCT^78961009^Spleen"
RIGHT = "SCT^24028007^Right"
LEFT = "SCT^7771000^Left"


@dataclass(frozen=True)
class FileSegment:
    """What the header says of a segment; ``code`` and ``modifier`` as ``scheme^value^meaning``."""

    name: str
    value: int
    layer: int = 0
    code: str = ""
    modifier: str = "^^"
    status: str = ""


def header_of(segments: Sequence[FileSegment], shape: tuple[int, ...], geometry: Geometry) -> list[str]:
    """The lines of a header, without the empty one at its end."""
    vectors = ["({:.17g},{:.17g},{:.17g})".format(*column) for column in geometry.affine[:3, :3].T]
    layered = len(shape) == 4
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "type: unsigned char",
        f"dimension: {len(shape)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, shape[::-1]))}",
        f"space directions: {'none ' if layered else ''}{' '.join(vectors)}",
        f"kinds: {'list ' if layered else ''}domain domain domain",
        "encoding: gzip",
        "space origin: ({:.17g},{:.17g},{:.17g})".format(*geometry.origin),
    ]
    for index, segment in enumerate(segments):
        tag = (
            f"Any list~SCT^123037004^Anatomical Structure~{segment.code}~{segment.modifier}~Other list~^^~^^"
        )
        status = f"Segmentation.Status:{segment.status}|" if segment.status else ""
        terminology = f"TerminologyEntry:{tag}|" if segment.code else ""
        lines += [
            f"Segment{index}_ID:=id_{index}",
            f"Segment{index}_LabelValue:={segment.value}",
            f"Segment{index}_Layer:={segment.layer}",
            f"Segment{index}_Name:={segment.name}",
            f"Segment{index}_Tags:={status}{terminology}",
        ]
    return [*lines, "Segmentation_MasterRepresentation:=Binary labelmap"]


def write_seg_nrrd(
    path: Path, layers: np.ndarray, geometry: Geometry, segments: Sequence[FileSegment]
) -> Path:
    """Writes a segmentation; ``layers`` are ``(z, y, x)`` or ``(layer, z, y, x)``."""
    voxels = layers.astype(np.uint8)
    if voxels.ndim == 4:
        voxels = np.moveaxis(voxels, 0, 3)  # the list axis is the fastest
    header = "\n".join(header_of(segments, voxels.shape, geometry)) + "\n\n"
    path.write_bytes(header.encode() + gzip.compress(voxels.tobytes(), mtime=0))
    return path
