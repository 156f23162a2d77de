"""The places of one segmented scan to look at first: where much uncertainty lies together (`docs/review.md`).

Every border is unsure by a voxel. Places are where the uncertainty is thick: its density, smoothed over some
millimetres, has a peak there. An organ in several pieces, or not found where it should be, makes a place as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from ..geometry import Geometry, Triple
from ..labels import Label, LabelSet
from .uncertainty import FULL, UncertaintyMap

UNSURE = round(0.5 * FULL)
"""A voxel from here on counts as unsure: its best class has a probability of at most 0.89."""
HINT = round(0.05 * FULL)
"""What little entropy counts when nothing of an organ was found."""
RADIUS_MM = 12.0
_RADIUS_SHARE = 0.1
MOST_POINTS = 2_000_000
SMALLEST_PIECE = 0.01
_LEAST_DENSITY = 0.01
_COUNTED = {2: "two", 3: "three", 4: "four", 5: "five"}


@dataclass(frozen=True)
class UnsurePlace:
    """Somewhere to look.

    Attributes:
        organ: the label's name.
        position: in mm, LPS.
        unsure: 0 to 1: density of the uncertainty round the position.
        volume_ml: volume of what is unsure there.
        reason: in words, after the organ's name.
    """

    organ: str
    position: Triple
    unsure: float
    volume_ml: float
    reason: str


@dataclass(frozen=True)
class _Candidate:
    place: UnsurePlace
    usefulness: float


def find_places(
    found: UncertaintyMap,
    label_set: LabelSet,
    geometry: Geometry,
    count: int,
    whole: bool = True,
    organs: Collection[str] = (),
) -> tuple[UnsurePlace, ...]:
    """The places to look at first, most useful first, no two closer than `RADIUS_MM` (less in a small scan).

    A place is the more useful the denser its uncertainty, and the larger a share of its organ it may change.

    Args:
        found: after every row was added.
        label_set: what the classes mean.
        geometry: the model's grid.
        count: how many at most.
        whole: whether every organ should be in the scan; then one that was not found makes a place.
        organs: names of those whose places are wanted; empty: all.
    """
    search = _Search(found, geometry, count)
    candidates = [
        each
        for label, box in zip(
            label_set.labels, ndimage.find_objects(found.labels, len(label_set.labels)), strict=True
        )
        if not organs or label.name in organs
        for each in search.organ(label, box, label_set, whole)
    ]
    candidates.sort(key=lambda each: (-each.usefulness, each.place.organ, each.place.position))
    places: list[UnsurePlace] = []
    for candidate in candidates:
        position = np.array(candidate.place.position)
        apart = all(np.linalg.norm(position - each.position) >= search.radius for each in places)
        if apart and len(places) < count:
            places.append(candidate.place)
    return tuple(places)


@dataclass
class _Search:
    """Looks for the candidates of one organ after the other."""

    found: UncertaintyMap
    geometry: Geometry
    count: int
    radius: float = field(init=False)

    def __post_init__(self) -> None:
        self._spacing = np.array(self.geometry.array_spacing)
        self.radius = min(RADIUS_MM, _RADIUS_SHARE * float(max(self.found.entropy.shape * self._spacing)))
        flat, self._each = _unsure_voxels(self.found.entropy)
        self._points = np.stack(np.unravel_index(flat, self.found.entropy.shape), 1).astype(np.int32)
        self._share = self.found.entropy.ravel()[flat] / np.float32(FULL)
        self._label, self._rival = (each.ravel()[flat] for each in (self.found.labels, self.found.rivals))

    def organ(
        self, label: Label, box: tuple[slice, ...] | None, label_set: LabelSet, whole: bool
    ) -> Iterator[_Candidate]:
        """Candidates of one organ; ``box`` is where it was found."""
        if box is None:
            if whole:
                yield from self._missing(label)
            return
        mask = self.found.labels[box] == label.value
        volume_ml = float(np.count_nonzero(mask)) * self.geometry.voxel_volume_ml
        yield from self._pieces(label, box, mask, volume_ml)
        inside = self._label == label.value
        concerned = np.flatnonzero(inside | (self._rival == label.value))
        other = np.where(inside, self._rival, self._label)[concerned]
        peaks = self._peaks(self._points[concerned], self._share[concerned], self._each, self.count)
        for at, near, density in peaks:
            unsure_ml = near.size * self._each * self.geometry.voxel_volume_ml
            rival = int(np.bincount(other[near], self._share[concerned][near]).argmax())
            reason = _border(label, rival, label_set, unsure_ml)
            place = self._place(label, self._points[concerned][at], density, unsure_ml, reason)
            yield _Candidate(place, density + min(1.0, unsure_ml / volume_ml))

    def _missing(self, label: Label) -> Iterator[_Candidate]:
        """Where an organ that was not found comes second most surely."""
        hinted = (self.found.rivals == label.value) & (self.found.entropy >= HINT)
        flat, each = _thinned(np.flatnonzero(hinted))
        points = np.stack(np.unravel_index(flat, hinted.shape), 1)
        share = self.found.entropy.ravel()[flat] / np.float32(FULL)
        for at, near, _ in self._peaks(points, share, each, 1):
            volume_ml = near.size * each * self.geometry.voxel_volume_ml
            yield _Candidate(
                self._place(label, points[at], 1.0, volume_ml, "not found; if it is there, most likely here"),
                2.0,
            )

    def _pieces(
        self, label: Label, box: tuple[slice, ...], mask: np.ndarray, volume_ml: float
    ) -> Iterator[_Candidate]:
        """The middles of all pieces but the largest; specks below 1 % of the organ do not count."""
        pieces, number = ndimage.label(mask, np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        order = [
            int(i) for i in np.argsort(-sizes, kind="stable") if sizes[i] >= SMALLEST_PIECE * sizes.sum()
        ]
        if number == 1 or len(order) < 2:
            return
        boxes = ndimage.find_objects(pieces)
        words = _COUNTED.get(len(order), str(len(order)))
        for index in order[1 : 1 + self.count]:
            inner = boxes[index]
            start = np.array([a.start + b.start for a, b in zip(box, inner, strict=True)])
            voxels = np.argwhere(pieces[inner] == index + 1)
            middle = voxels[((((voxels - voxels.mean(0)) * self._spacing) ** 2).sum(1)).argmin()] + start
            entropy = self.found.entropy[tuple((voxels + start).T)].mean() / FULL
            piece_ml = float(sizes[index]) * self.geometry.voxel_volume_ml
            # An organ that is whole in the body is wrong in one of its pieces: at best even chances.
            unsure = max(0.5, float(entropy))
            reason = f"in {words} pieces; this one, {_millilitres(piece_ml)}, lies apart from the largest"
            place = self._place(label, middle, unsure, piece_ml, reason)
            # A speck is soon erased: a piece counts fully from a tenth of its organ on.
            share = piece_ml / volume_ml
            yield _Candidate(place, unsure * min(1.0, 10 * share) + share)

    def _peaks(
        self, points: np.ndarray, share: np.ndarray, each: int, count: int
    ) -> Iterator[tuple[int, np.ndarray, float]]:
        """Peaks of the density of ``share``, highest first: the unsure voxel there, those round it, the density.

        Voxels are gathered in cells of a third of the radius: that is exact enough to find a peak, and a few
        million cells at most, whatever the grid.

        Args:
            points: ``(n, 3)`` voxels ``(z, y, x)``.
            share: of each, 0 to 1.
            each: how many voxels a point stands for.
            count: how many at most. A voxel belongs to one of them only.
        """
        if not len(points):
            return
        factor = np.maximum(1, np.rint(self.radius / 3 / self._spacing)).astype(int)
        first = points.min(0)
        cells = (points - first) // factor
        shape = tuple(int(n) for n in cells.max(0) + 1)
        flat = np.ravel_multi_index(tuple(cells.T), shape)
        density = np.bincount(flat, share, minlength=int(np.prod(shape))).reshape(shape)
        density *= each / factor.prod()
        sigma = self.radius / 2
        density = ndimage.gaussian_filter(density, sigma / (factor * self._spacing), mode="constant")
        millimetres, free = points * self._spacing, np.ones(len(points), bool)
        for _ in range(count):
            peak = np.array(np.unravel_index(int(density.argmax()), shape))
            height = float(density[tuple(peak)])
            if height < _LEAST_DENSITY:
                return
            centre = (first + (peak + 0.5) * factor - 0.5) * self._spacing
            squares = ((millimetres - centre) ** 2).sum(1)
            near = np.flatnonzero(free & (squares <= self.radius**2))
            if near.size:
                at = near[(share[near] * np.exp(-squares[near] / (2 * sigma**2))).argmax()]
                yield int(at), near, min(1.0, height)
            free[near] = False
            self._clear(density, peak, factor)

    def _clear(self, density: np.ndarray, peak: np.ndarray, factor: np.ndarray) -> None:
        """Takes a peak's surroundings out of the search."""
        step = factor * self._spacing
        reach = np.ceil(self.radius / step).astype(int)
        low, high = np.maximum(peak - reach, 0), np.minimum(peak + reach + 1, density.shape)
        z, y, x = (((np.arange(a, b) - p) * s) ** 2 for a, b, p, s in zip(low, high, peak, step, strict=True))
        inside = z[:, None, None] + y[:, None] + x <= self.radius**2
        density[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][inside] = 0

    def _place(
        self, label: Label, voxel: np.ndarray, unsure: float, volume_ml: float, reason: str
    ) -> UnsurePlace:
        x, y, z = (round(float(each), 2) for each in self.geometry.position(voxel[::-1]))
        return UnsurePlace(label.name, (x, y, z), round(unsure, 3), round(volume_ml, 3), reason)


def _unsure_voxels(entropy: np.ndarray) -> tuple[np.ndarray, int]:
    """Flat indices of the unsure voxels, thinned; of too many only the least sure ones, so that memory is bounded."""
    histogram = np.sum([np.bincount(row.ravel(), minlength=FULL + 1) for row in entropy], axis=0)
    above = np.cumsum(histogram[::-1])[::-1]
    level = UNSURE
    while level < FULL and above[level] > MOST_POINTS:
        level += 1
    if above[level] == 0:  # all of them have the same entropy
        level -= 1
    return _thinned(np.flatnonzero(entropy >= level))


def _thinned(flat: np.ndarray) -> tuple[np.ndarray, int]:
    """At most `MOST_POINTS` of the indices, evenly, and how many each of them stands for."""
    step = max(1, -(-flat.size // MOST_POINTS))
    return flat[::step], step


def _border(label: Label, rival: int, label_set: LabelSet, volume_ml: float) -> str:
    size = f"uncertain over {_millilitres(volume_ml)}"
    if rival == 0:
        return f"outer border {size}"
    title = label_set.labels[rival - 1].title
    title = title[:1].lower() + title[1:]
    if rival == label.partner:
        return f"may be the {title} instead, {size}"
    return f"border to {title} {size}"


def _millilitres(volume_ml: float) -> str:
    return f"{volume_ml:.1f} mL" if volume_ml >= 0.1 else f"{volume_ml:.2g} mL"
