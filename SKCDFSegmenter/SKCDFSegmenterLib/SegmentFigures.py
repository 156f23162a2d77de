"""What can be measured of a segment in its scan: size, intensities, pieces, and whether that is unusual."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer

from skcdf.labels import Code, Label
from skcdf.model_parts import UsualOrgan
from skcdf.organ_shapes import OrganShape, shape_of
from skcdf.plausibility import Flag, flags

from .LabelMapExport import voxelsOnGrid
from .SegmentRecord import SegmentProvenance, provenance
from .SegmentVoxels import SegmentVoxels
from .VolumeImage import geometryOfVolume


@dataclass(frozen=True)
class SegmentFigures:
    """One segment in a scan.

    Attributes:
        volumeMl: volume in mL.
        mean, sd: of the scan's intensities inside; nan of an empty segment.
        pieces: connected pieces (face neighbours).
        flags: what is unusual: see `skcdf.plausibility`.
    """

    volumeMl: float
    mean: float
    sd: float
    pieces: int
    flags: tuple[Flag, ...]


def segmentFigures(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentIDs: Iterable[str],
    known: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, SegmentFigures]:
    """Measures segments, by ID, on the grid of the scan.

    Args:
        segmentationNode: the segments.
        volumeNode: the scan.
        segmentIDs: which.
        known: rows of the worker, by ID, of segments that nobody has changed. One that tells of just this segment, by
            model and volume, spares the measuring, which takes a second for a liver.

    Raises:
        SkcdfError: the scan has no usable grid, or the segments cannot be brought onto it.
    """
    scan = slicer.util.arrayFromVolume(volumeNode)
    voxelMl = geometryOfVolume(volumeNode).voxel_volume_ml
    figures = {}
    for segmentID, voxels in voxelsOnGrid(segmentationNode, segmentIDs, volumeNode).items():
        origin = provenance(segmentationNode.GetSegmentation().GetSegment(segmentID))
        row = (known or {}).get(segmentID)
        if row is not None and origin is not None and _isOf(row, origin, voxels.count * voxelMl):
            figures[segmentID] = SegmentFigures(
                row["volume_ml"], row["mean"], row["sd"], row["pieces"], tuple(row["flags"])
            )
        else:
            figures[segmentID] = _measured(voxels, scan, voxelMl, origin)
    return figures


def _isOf(row: Mapping[str, Any], origin: SegmentProvenance, volumeMl: float) -> bool:
    return row["model"] == origin.model and row["volume_ml"] == round(volumeMl, 3) > 0


def _measured(
    voxels: SegmentVoxels, scan: np.ndarray, voxelMl: float, origin: SegmentProvenance | None
) -> SegmentFigures:
    mask, box = voxels.inside(scan.shape)
    values = scan[box][mask].astype(np.float64)
    if not values.size:
        return SegmentFigures(0.0, math.nan, math.nan, 0, ())
    label = Label(1, "segment", "Segment", Code("99SKCDF", "segment", "Segment"), (0, 0, 0))
    shape = shape_of(label, mask, box, scan.shape)
    volume = values.size * voxelMl
    return SegmentFigures(
        round(volume, 3),
        float(values.mean()),
        float(values.std()),
        shape.pieces,
        _flags(shape, volume, origin),
    )


def _flags(shape: OrganShape, volumeMl: float, origin: SegmentProvenance | None) -> tuple[Flag, ...]:
    """What is unusual, by what the segment's model knows; of a segment of another origin only that it is cut off."""
    if origin is None:
        return flags(replace(shape, large_pieces=1), volumeMl, None)
    # Without figures of the training cases every volume is usual.
    usual = UsualOrgan(shape.label.name, origin.usualMl or (volumeMl, volumeMl), origin.usualPieces, 1)
    return flags(shape, volumeMl, usual)
