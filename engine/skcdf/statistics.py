"""Figures of a segmentation: volume, intensity and number of pieces of every organ."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from scipy import ndimage

from .files import write_text
from .image import Image
from .labels import LabelSet


@dataclass(frozen=True)
class OrganStatistics:
    """One organ in one segmented scan.

    Attributes:
        scan: the scan's file name.
        organ: the label's name.
        volume_ml: volume in mL; 0 when the organ was not found.
        mean, sd: of the scan's intensities inside (HU for CT); ``None`` when not found.
        pieces: connected pieces (face neighbours).
        at_edge: whether it touches the scan's first or last slice of some axis, so may be incomplete.
        model: name and version of the model.
        notice: what must be known of the result.
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


def organ_statistics(
    scan: Image, label_map: np.ndarray, label_set: LabelSet, model: str, notice: str
) -> list[OrganStatistics]:
    """Statistics of every organ of ``label_set``, by value.

    Args:
        scan: the scan.
        label_map: integers ``(z, y, x)`` on its grid.
        label_set: what the values mean.
        model: name and version, for the table.
        notice: the model's notice, for the table.
    """
    boxes = ndimage.find_objects(label_map, max_label=len(label_set.labels))
    name = Path(scan.source).name
    rows = []
    for label, box in zip(label_set.labels, boxes, strict=True):
        if box is None:
            rows.append(OrganStatistics(name, label.name, 0.0, None, None, 0, False, model, notice))
            continue
        mask = label_map[box] == label.value
        values = scan.array[box][mask].astype(np.float64)
        at_edge = any(b.start == 0 or b.stop == n for b, n in zip(box, label_map.shape, strict=True))
        rows.append(
            OrganStatistics(
                name,
                label.name,
                round(values.size * scan.geometry.voxel_volume_ml, 3),
                round(float(values.mean()), 2),
                round(float(values.std()), 2),
                int(ndimage.label(mask)[1]),
                at_edge,
                model,
                notice,
            )
        )
    return rows


def write_statistics(path: Path | str, rows: Sequence[OrganStatistics]) -> None:
    """Writes the rows as a CSV table, atomically.

    Raises:
        SkcdfError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(OrganStatistics)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(path, text.getvalue())
