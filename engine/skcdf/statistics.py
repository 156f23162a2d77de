"""Figures of a segmentation: volume, intensity and number of pieces of every organ, and what is unusual about them."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .files import write_text
from .image import Image
from .labels import LabelSet
from .model_parts import Range, UsualOrgan
from .organ_shapes import OrganShape, organ_shapes
from .plausibility import Flag, flags

COLUMNS = (
    *("scan", "organ", "volume_ml", "mean", "sd", "pieces", "at_edge"),
    *("unsure", "usual_low_ml", "usual_high_ml", "flags", "model", "notice"),
)
"""Of the table."""


@dataclass(frozen=True)
class OrganStatistics:
    """One organ in one segmented scan.

    Attributes:
        scan: the scan's file name.
        organ: the label's name.
        volume_ml: volume in mL; 0 when the organ was not found.
        mean, sd: of the scan's intensities inside (HU for CT); ``None`` when not found.
        pieces: connected pieces (face neighbours).
        at_edge: whether a large piece of it touches the scan's first or last slice of some axis, so may be incomplete.
        model: name and version of the model.
        notice: what must be known of the result.
        unsure: share of its voxels, 0 to 1, of which the model is unsure; ``None`` when not found or not asked for.
        usual_ml: smallest and largest volume in the model's training cases; ``None`` when not known.
        flags: what is unusual (`plausibility.flags`).
    """

    scan: str
    organ: str
    volume_ml: float
    mean: float | None
    sd: float | None
    pieces: int
    at_edge: bool
    model: str
    notice: str
    unsure: float | None = None
    usual_ml: Range | None = None
    flags: tuple[Flag, ...] = ()


def organ_statistics(
    scan: Image,
    label_map: np.ndarray,
    label_set: LabelSet,
    model: str,
    notice: str,
    *,
    organs: Collection[str] = (),
    usual: Iterable[UsualOrgan] = (),
    unsure: Mapping[str, float | None] | None = None,
) -> list[OrganStatistics]:
    """Statistics of organs of ``label_set``, by value.

    Args:
        scan: the scan.
        label_map: integers ``(z, y, x)`` on its grid.
        label_set: what the values mean.
        model: name and version, for the table.
        notice: the model's notice, for the table.
        organs: names of those that are wanted; empty: all.
        usual: what is usual for them.
        unsure: share of each organ that the model is unsure of.
    """
    known = {each.organ: each for each in usual}
    rows = []
    for shape in organ_shapes(label_map, label_set):
        name = shape.label.name
        if organs and name not in organs:
            continue
        volume = round(shape.voxels * scan.geometry.voxel_volume_ml, 3)
        mean, deviation = _intensities(scan.array, shape)
        ordinary = known.get(name)
        rows.append(
            OrganStatistics(
                Path(scan.source).name,
                name,
                volume,
                mean,
                deviation,
                shape.pieces,
                shape.at_edge,
                model,
                notice,
                (unsure or {}).get(name),
                ordinary.volume_ml if ordinary else None,
                flags(shape, volume, ordinary),
            )
        )
    return rows


def _intensities(array: np.ndarray, shape: OrganShape) -> tuple[float | None, float | None]:
    """Mean and standard deviation inside."""
    if shape.mask is None:
        return None, None
    values = array[shape.box][shape.mask].astype(np.float64)
    return round(float(values.mean()), 2), round(float(values.std()), 2)


def write_statistics(path: Path | str, rows: Sequence[OrganStatistics]) -> None:
    """Writes the rows as a CSV table, atomically.

    Raises:
        SkcdfError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_table_row(row) for row in rows)
    write_text(path, text.getvalue())


def _table_row(row: OrganStatistics) -> dict[str, Any]:
    low, high = row.usual_ml or (None, None)
    content = {**asdict(row), "usual_low_ml": low, "usual_high_ml": high, "flags": " ".join(row.flags)}
    return {name: content[name] for name in COLUMNS}
