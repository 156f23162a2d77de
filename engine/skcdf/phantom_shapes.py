"""The phantom's geometric building blocks: signed distances of ellipsoids and tubes, and ways to join them.

Everything lives in the patient's frame: ``x`` to the left, ``y`` posterior, ``z`` superior, mm; the origin is
in front of the first lumbar vertebra. A distance is negative inside; near the surface it is in mm.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Vector = Sequence[float] | np.ndarray
Points = tuple[np.ndarray, np.ndarray, np.ndarray]
Bounds = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
Distance = Callable[[Points], np.ndarray]
Hounsfield = float | Callable[[Points, np.ndarray], np.ndarray]

SOFT_EDGE_MM = 2.5


class Draws:
    """Random quantities by name, each from its own stream: a new quantity leaves all the others as they were.

    Args:
        seed: which patient; a non-negative integer.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def stream(self, name: str) -> np.random.Generator:
        """A generator that only ``name`` and the seed determine."""
        return np.random.default_rng([self._seed, zlib.crc32(name.encode())])

    def uniform(self, name: str, low: float, high: float) -> float:
        """A number between ``low`` and ``high``."""
        return float(self.stream(name).uniform(low, high))

    def jitter(self, name: str, sigma: float, shape: int | tuple[int, ...] = 3) -> np.ndarray:
        """Normal deviates with standard deviation ``sigma``, cut at two of them so that no organ strays."""
        return sigma * np.clip(self.stream(name).standard_normal(shape), -2.0, 2.0)


@dataclass(frozen=True)
class Structure:
    """Something to paint into the scan; later ones cover earlier ones.

    Attributes:
        bounds: box ``((x, x), (y, y), (z, z))`` in mm that holds it.
        distance: signed distance in mm of points, each an array ``(z, y, x)``.
        hounsfield: its HU, or a function of points and distances.
        label: value in the label map; 0 for what is no organ, ``None`` for a part of the organ below.
    """

    bounds: Bounds
    distance: Distance
    hounsfield: Hounsfield
    label: int | None = 0

    def covering(self, other: Distance) -> Structure:
        """The part of this structure that lies inside ``other``."""
        return Structure(
            self.bounds, lambda p: np.maximum(self.distance(p), other(p)), self.hounsfield, self.label
        )

    def halo(self, width: float, hounsfield: float) -> Structure:
        """A layer around this structure, ``width`` mm thick: the fat an organ lies in."""
        bounds = tuple((low - width, high + width) for low, high in self.bounds)
        return Structure(bounds, lambda p: self.distance(p) - width, hounsfield)  # type: ignore[arg-type]


def rotation(degrees: Vector) -> np.ndarray:
    """3×3 matrix that turns about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        matrix = turn @ matrix
    return matrix


def soft_step(distance: np.ndarray, edge_mm: float = SOFT_EDGE_MM) -> np.ndarray:
    """1 inside, 0 outside, a ramp of ``edge_mm`` in between: the partial volume of a voxel."""
    return np.clip(0.5 - distance / edge_mm, 0.0, 1.0)


def smooth_union(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Distance of two shapes joined with a fillet of about ``width`` mm."""
    blend = np.maximum(width - np.abs(a - b), 0.0)
    return np.minimum(a, b) - blend * blend * (0.25 / width)


def smooth_intersection(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Distance of the common part of two shapes, its edge rounded by about ``width`` mm."""
    return -smooth_union(-a, -b, width)


def ellipsoid_distance(points: Sequence[np.ndarray], center: Vector, radii: Vector) -> np.ndarray:
    """Distance to an ellipsoid, or with two axes to an ellipse; exact on the surface, close near it."""
    scaled = [(p - np.float32(c)) / np.float32(r) for p, c, r in zip(points, center, radii, strict=True)]
    level = np.sqrt(sum(s * s for s in scaled))
    slope = np.sqrt(sum((s / np.float32(r)) ** 2 for s, r in zip(scaled, radii, strict=True)))
    distance: np.ndarray = level * (level - 1.0) / np.maximum(slope, 1e-6)
    return distance


def turned(points: Points, center: Vector, matrix: np.ndarray) -> Points:
    """Points in a frame whose axes are the columns of ``matrix``, its origin at ``center``."""
    offsets = [p - np.float32(c) for p, c in zip(points, center, strict=True)]
    m = matrix.astype(np.float32)
    x, y, z = (offsets[0] * m[0, i] + offsets[1] * m[1, i] + offsets[2] * m[2, i] for i in range(3))
    return x, y, z


def box_around(center: Vector, reach: float) -> Bounds:
    """Bounds ``reach`` mm to every side of ``center``."""
    x, y, z = ((float(c) - reach, float(c) + reach) for c in center)
    return x, y, z


def ellipsoid(
    center: Vector,
    radii: Vector,
    hounsfield: Hounsfield,
    label: int | None = 0,
    degrees: Vector = (0.0, 0.0, 0.0),
) -> Structure:
    """An ellipsoid with semi-axes ``radii`` in mm, turned by ``degrees`` about x, y and z."""
    matrix = rotation(degrees)

    def distance(points: Points) -> np.ndarray:
        return ellipsoid_distance(turned(points, center, matrix), (0.0, 0.0, 0.0), radii)

    return Structure(box_around(center, max(radii) + 1.0), distance, hounsfield, label)


def smooth_path(knots: np.ndarray, steps: int = 4) -> np.ndarray:
    """A Catmull–Rom curve through ``knots`` ``(n, k)``: ``(steps * (n - 1) + 1, k)``."""
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    before, start, end, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    pieces = []
    for t in np.arange(steps) / steps:
        pieces.append(
            0.5
            * (
                2 * start
                + (end - before) * t
                + (2 * before - 5 * start + 4 * end - after) * t**2
                + (3 * start - before - 3 * end + after) * t**3
            )
        )
    curve = np.stack(pieces, axis=1).reshape(-1, knots.shape[1])
    return np.concatenate([curve, knots[-1:]])


def tube(
    knots: Sequence[Sequence[float]] | np.ndarray,
    hounsfield: Hounsfield,
    label: int | None = 0,
    flatten: float = 1.0,
    steps: int = 4,
) -> Structure:
    """A tube along a smooth path.

    Args:
        knots: ``(x, y, z, radius)`` in mm of the points it passes through.
        hounsfield: its HU.
        label: as in `Structure`.
        flatten: above 1 the cross-section is that much narrower in y.
        steps: straight pieces between two knots.
    """
    path = smooth_path(np.asarray(knots, float), steps)
    reach = path[:, 3:] + 1.0
    low, high = (path[:, :3] - reach).min(axis=0), (path[:, :3] + reach).max(axis=0)
    bounds: Bounds = ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))
    stretched = path * (1.0, flatten, 1.0, 1.0)

    def distance(points: Points) -> np.ndarray:
        return _tube_distance((points[0], points[1] * np.float32(flatten), points[2]), stretched)

    return Structure(bounds, distance, hounsfield, label)


def _tube_distance(points: Points, path: np.ndarray) -> np.ndarray:
    nearest = np.full(points[0].shape, 1e3, np.float32)
    for start, end in zip(path[:-1].astype(np.float32), path[1:].astype(np.float32), strict=True):
        along = end[:3] - start[:3]
        offsets = [p - c for p, c in zip(points, start[:3], strict=True)]
        share = sum(o * a for o, a in zip(offsets, along, strict=True)) / (along @ along)
        share = np.clip(share, 0.0, 1.0)
        squared = sum((o - share * a) ** 2 for o, a in zip(offsets, along, strict=True))
        np.minimum(nearest, np.sqrt(squared) - (start[3] + share * (end[3] - start[3])), out=nearest)
    return nearest


def hollow(wall: float, content: float, gas_above_y: float | None, thickness: float = 3.0) -> Hounsfield:
    """HU of a hollow organ: wall, content, and gas in front of a level, for the patient lies supine."""

    def hounsfield(points: Points, distance: np.ndarray) -> np.ndarray:
        inside = np.full_like(distance, content)
        if gas_above_y is not None:
            inside += soft_step(points[1] - gas_above_y, 1.5) * (-900.0 - content)
        mixed: np.ndarray = wall + soft_step(distance + thickness) * (inside - wall)
        return mixed

    return hounsfield
