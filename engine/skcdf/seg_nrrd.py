"""Slicer's segmentations, ``.seg.nrrd``: named and coded segments in one or several label maps.

Segments that overlap lie in several layers, and the grid is often a box cut out of the scan's. The format:
https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .errors import SkcdfError
from .geometry import Geometry
from .image import MOST_LABELS, Image
from .labels import Code
from .lattice import placement
from .nrrd import NrrdFile, read_header
from .stored_image import StoredImage, reading

ENDING = ".seg.nrrd"
NOT_STARTED = "notstarted"
FLAGGED = "flagged"

_LABEL_MAP = "Binary labelmap"
_SAVE_AGAIN = "Save the segmentation in Slicer again."


@dataclass(frozen=True)
class Segment:
    """One segment.

    Attributes:
        id: unique in the segmentation.
        name: what people read.
        code: the structure that its terminology names, if any.
        modifier: that code's modifier, usually the side.
        value: its voxels' value in its layer.
        layer: which label map holds it.
        status: ``notstarted``, ``inprogress``, ``completed``, ``flagged``, or empty.
        voxels: how many it has.
    """

    id: str
    name: str
    code: Code | None
    modifier: Code | None
    value: int
    layer: int
    status: str = ""
    voxels: int = 0


@dataclass(frozen=True)
class Overlap:
    """Voxels that two segments share.

    Attributes:
        first, second: the segments' names.
        voxels: how many.
    """

    first: str
    second: str
    voxels: int


@dataclass(frozen=True)
class Segmentation:
    """A segmentation on its own grid.

    Attributes:
        source: the file.
        segments: in the file's order.
        layers: label maps ``(layer, z, y, x)``; no layer where all segments are empty.
        geometry: the grid of each layer; ``None`` where all segments are empty: Slicer saves none then.
    """

    source: Path
    segments: tuple[Segment, ...]
    layers: np.ndarray
    geometry: Geometry | None

    def label_map(self, values: Mapping[str, int], target: Geometry) -> Image:
        """The segments as one label map on a scan's grid.

        Args:
            values: new value by segment id; a segment that is not here is left out. Several may share a value.
            target: the scan's grid.

        Raises:
            SkcdfError: segments of different new values overlap, or the segmentation is not on the scan's lattice, or
                reaches beyond it.
        """
        if self.geometry is None:
            return Image(np.zeros(target.shape, np.uint8), target, str(self.source))
        array, overlaps = self._merged(values)
        if overlaps:
            shared = ", ".join(f"{each.first} and {each.second} in {each.voxels} voxels" for each in overlaps)
            raise SkcdfError(
                f"{self.source}: segments overlap: {shared}.",
                "A voxel can be one organ only: take them apart in the Segment Editor, leave one out, or give both "
                "the same label.",
            )
        place = placement(self.geometry, target)
        if place is None:
            raise SkcdfError(
                f"{self.source}: its voxels do not lie on those of the scan.",
                "In Slicer, export the segmentation with the volume as reference, or set the volume as source "
                "geometry in the Segment Editor and save again.",
            )
        pasted, outside = place.paste(array)
        if outside:
            raise SkcdfError(
                f"{self.source}: {outside} of its voxels lie outside the scan.", "Is it that of another scan?"
            )
        return Image(pasted, target, str(self.source))

    def _merged(self, values: Mapping[str, int]) -> tuple[np.ndarray, list[Overlap]]:
        """All layers in one ``(z, y, x)``, and which voxels several segments of different values claim."""
        taken = [segment for segment in self.segments if segment.id in values]
        new = np.array([0, *(values[segment.id] for segment in taken)])
        owner = np.zeros(self.layers.shape[1:], np.uint16)  # 1 + index in taken
        shared: dict[tuple[int, int], int] = {}
        for number, layer in enumerate(self.layers):
            table = np.zeros(int(layer.max()) + 1, np.uint16)
            for index, segment in enumerate(taken):
                if segment.layer == number and segment.value < len(table):
                    table[segment.value] = index + 1
            claims = table[layer]
            both = np.flatnonzero((owner > 0) & (claims > 0))
            pairs = np.stack([owner.ravel()[both], claims.ravel()[both]])
            for (first, second), count in zip(
                *_counted(pairs[:, new[pairs[0]] != new[pairs[1]]]), strict=True
            ):
                shared[first, second] = count
            np.copyto(owner, claims, where=owner == 0)
        found = [
            Overlap(taken[first - 1].name, taken[second - 1].name, count)
            for (first, second), count in sorted(shared.items())
        ]
        return new.astype(np.min_scalar_type(int(new.max())))[owner], found


def is_segmentation(path: Path | str) -> bool:
    """Whether a file's name is that of a segmentation."""
    return Path(path).name.lower().endswith(ENDING)


def read_segmentation(path: Path | str) -> Segmentation:
    """Reads a ``.seg.nrrd`` file.

    Raises:
        SkcdfError: there is no such file, it is damaged, names no segments, holds something else than label maps, or
            its segments and its voxels contradict each other.
    """
    path = Path(path)
    with reading(path):
        file = read_header(path)
        _check_kind(file)
        segments = tuple(_segments(file.keys))
    if not segments:
        raise SkcdfError(
            f"{path}: it names no segments.",
            "Save it as a segmentation in Slicer, or rename it to .nrrd if it is a plain label map.",
        )
    if len({segment.id for segment in segments}) < len(segments):
        raise SkcdfError(f"{path}: two segments have the same id.", _SAVE_AGAIN)
    spatial = tuple(file.sizes[axis] for axis in file.spatial)
    layers = _layers(file)
    if spatial == (1, 1, 1) and not layers.any():  # how Slicer saves that there are no voxels
        return Segmentation(path, segments, np.zeros((0, 1, 1, 1), np.uint8), None)
    geometry = StoredImage(path, spatial, file.affine, file.load).geometry()
    return Segmentation(path, tuple(_counts(path, segments, layers)), layers, geometry)


def structure_of_tag(tag: str) -> tuple[Code | None, Code | None]:
    """Code and modifier of a terminology tag: ``context~category~code~modifier~…``, each ``scheme^value^meaning``."""
    fields = tag.split("~")
    code = _code(fields[2]) if len(fields) > 2 else None
    return code, _code(fields[3]) if code is not None and len(fields) > 3 else None


def _code(triple: str) -> Code | None:
    parts = triple.split("^")
    return Code(*parts) if len(parts) == 3 and parts[1] else None


def _check_kind(file: NrrdFile) -> None:
    keys = file.keys
    kind = keys.get(
        "Segmentation_SourceRepresentation", keys.get("Segmentation_MasterRepresentation", _LABEL_MAP)
    )
    if kind != _LABEL_MAP or "Segmentation_Extent" in keys:
        what = f"a {kind.lower()}" if kind != _LABEL_MAP else "in the layout of Slicer before 4.10"
        raise SkcdfError(
            f"{file.path}: the segmentation is {what}, which is not read.",
            "Open it in Slicer, make Binary labelmap its source representation and save it again.",
        )
    if len(file.spatial) != 3 or len(file.sizes) > 4:
        raise SkcdfError(f"{file.path}: this is not a 3-D segmentation.", _SAVE_AGAIN)


def _segments(keys: Mapping[str, str]) -> Iterator[Segment]:
    """The segments that a header names; a file of an old Slicer has one layer for each, with the value 1."""
    for index in itertools.count():
        prefix = f"Segment{index}_"
        if f"{prefix}ID" not in keys:
            return
        tags = dict(tag.split(":", 1) for tag in keys.get(f"{prefix}Tags", "").split("|") if ":" in tag)
        code, modifier = structure_of_tag(tags.get("TerminologyEntry", ""))
        name = " ".join(keys.get(f"{prefix}Name", keys[f"{prefix}ID"]).split())
        value, layer = (
            int(keys.get(prefix + key, old)) for key, old in (("LabelValue", 1), ("Layer", index))
        )
        if not (0 < value <= MOST_LABELS and layer >= 0):
            raise ValueError(f"segment {name} has value {value} in layer {layer}")
        status = tags.get("Segmentation.Status", "")
        yield Segment(keys[f"{prefix}ID"], name, code, modifier, value, layer, status)


def _layers(file: NrrdFile) -> np.ndarray:
    """The voxels ``(layer, z, y, x)`` as uint8 or uint16."""
    with reading(file.path):
        array = file.load().reshape(file.sizes[::-1])
        if array.ndim == 3:
            array = array[None]
        else:
            (stack,) = set(range(4)) - set(file.spatial)
            array = np.moveaxis(array, 3 - stack, 0)
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= MOST_LABELS):
            raise ValueError(f"values from {low:g} to {high:g} are no labels")
        labels = np.ascontiguousarray(array, np.uint8 if high <= 255 else np.uint16)
        if not np.array_equal(labels, array):
            raise ValueError("some values are no whole numbers")
    return labels


def _counts(path: Path, segments: tuple[Segment, ...], layers: np.ndarray) -> Iterator[Segment]:
    """The segments with their numbers of voxels."""
    places = {(segment.layer, segment.value): segment for segment in segments}
    if len(places) < len(segments):
        raise SkcdfError(f"{path}: two segments claim the same voxels, layer and value.", _SAVE_AGAIN)
    counts = [np.bincount(layer.ravel()) for layer in layers]
    for number, count in enumerate(counts):
        strange = [
            value for value in np.flatnonzero(count).tolist() if value and (number, value) not in places
        ]
        if strange:
            raise SkcdfError(
                f"{path}: voxels of layer {number} have the values {strange[:5]}, which no segment has.",
                _SAVE_AGAIN,
            )
    for segment in segments:
        if segment.layer >= len(counts):
            raise SkcdfError(
                f"{path}: segment {segment.name} is said to be in layer {segment.layer}, of {len(counts)}.",
                _SAVE_AGAIN,
            )
        count = counts[segment.layer]
        yield replace(segment, voxels=int(count[segment.value]) if segment.value < len(count) else 0)


def _counted(pairs: np.ndarray) -> tuple[list[tuple[int, int]], list[int]]:
    """The different columns of an array ``(2, n)`` and how often each is there."""
    columns, counts = np.unique(pairs, axis=1, return_counts=True)
    return [(int(first), int(second)) for first, second in columns.T], counts.tolist()
