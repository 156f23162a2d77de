"""What was drawn in one scan, whatever file holds it: its labels, how many voxels each has, and their label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from .errors import SkcdfError
from .geometry import Geometry
from .image import Image, read_label_map
from .label_mapping import SourceLabel
from .lattice import placement
from .seg_nrrd import FLAGGED, NOT_STARTED, Segmentation, is_segmentation, read_segmentation


@dataclass(frozen=True)
class LabelCount:
    """A label in one case.

    Attributes:
        label: which one.
        voxels: how many it has there.
        note: what a person should know of it, if anything.
        started: whether it was worked on. An empty segment that was not is unknown, never absent.
    """

    label: SourceLabel
    voxels: int
    note: str = ""
    started: bool = True


class Annotation(Protocol):
    """The labels of one case."""

    @property
    def counts(self) -> Sequence[LabelCount]:
        """Every label that the case has a name for, with or without voxels."""

    def label_map(self, values: Mapping[SourceLabel, int], target: Geometry) -> Image:
        """The labels with new values on a scan's grid; labels without one are left out.

        Raises:
            SkcdfError: labels overlap, or do not lie on the scan's grid.
        """


def read_annotation(path: Path, table: Sequence[SourceLabel] | None) -> Annotation:
    """Reads a ``.seg.nrrd`` file, which names its labels itself, or a label map.

    Args:
        path: the file.
        table: names of a label map's values; ``None``: every value is a label of that name.

    Raises:
        SkcdfError: the file is damaged, or no label map, or holds values that the table lacks.
    """
    if is_segmentation(path):
        return SegmentAnnotation(read_segmentation(path))
    return ValueAnnotation(read_label_map(path), table)


class SegmentAnnotation:
    """The annotation that a segmentation is."""

    def __init__(self, segmentation: Segmentation) -> None:
        self._segmentation = segmentation
        self._ids: dict[SourceLabel, list[str]] = {}  # two lesions may have one name
        self._counts = []
        for segment in segmentation.segments:
            label = SourceLabel(segment.name, None, segment.code, segment.modifier)
            self._ids.setdefault(label, []).append(segment.id)
            started = segment.voxels > 0 or segment.status != NOT_STARTED
            note = "is flagged for review" if segment.status == FLAGGED else ""
            note = note if started else "is empty and was not started: unknown"
            self._counts.append(LabelCount(label, segment.voxels, note, started))

    @property
    def counts(self) -> Sequence[LabelCount]:
        """The segments."""
        return tuple(self._counts)

    def label_map(self, values: Mapping[SourceLabel, int], target: Geometry) -> Image:
        """See `Segmentation.label_map`."""
        by_id = {each: value for label, value in values.items() for each in self._ids[label]}
        return self._segmentation.label_map(by_id, target)


class ValueAnnotation:
    """The annotation that a label map is, with names for its values."""

    def __init__(self, label_map: Image, table: Sequence[SourceLabel] | None) -> None:
        self._image = label_map
        values, counts = np.unique(label_map.array, return_counts=True)
        found: dict[int | None, int] = dict(zip(values.tolist(), counts.tolist(), strict=True))
        found.pop(0, None)
        if table is None:
            table = [SourceLabel(str(value), value) for value in found]
        unnamed = sorted(set(found) - {label.value for label in table}, key=str)
        if unnamed:
            raise SkcdfError(
                f"{label_map.source}: it holds the values {unnamed[:5]}, which the data set does not name.",
                "Correct the label map or the data set's description.",
            )
        self._counts = tuple(LabelCount(label, found.get(label.value, 0)) for label in table)

    @property
    def counts(self) -> Sequence[LabelCount]:
        """The table's labels."""
        return self._counts

    def label_map(self, values: Mapping[SourceLabel, int], target: Geometry) -> Image:
        """See `Annotation.label_map`; the label map must reach every voxel of the scan."""
        image = self._image
        place = placement(image.geometry, target)
        if place is None or not place.covers(image.array.shape):
            raise SkcdfError(
                f"{image.source}: the label map ({_size(image.geometry)}) is not on the scan's grid "
                f"({_size(target)}).",
                "Resample the label map onto the scan, with nearest neighbours.",
            )
        table = np.zeros(int(image.array.max()) + 1, np.min_scalar_type(max(values.values(), default=0)))
        for label, value in values.items():
            if label.value is not None and label.value < len(table):
                table[label.value] = value
        pasted, outside = place.paste(table[image.array])
        if outside:
            raise SkcdfError(
                f"{image.source}: {outside} of its voxels lie outside the scan.",
                "Is it that of another scan?",
            )
        return Image(pasted, target, image.source)


def _size(geometry: Geometry) -> str:
    return " x ".join(map(str, geometry.size)) + " voxels"
