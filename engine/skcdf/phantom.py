"""A synthetic abdominal CT with its exact labels, for demonstrations, tests and first trainings.

Nobody's data: a patient is drawn from a seed. Every length is physical, so the same patient can be scanned on
any grid. What it looks like and how large the organs are: ``docs/phantom.md``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .errors import SkcdfError
from .geometry import Geometry, Triple
from .image import Image
from .phantom_anatomy import PHANTOM_LABELS, structures
from .phantom_body import OUTER_WALL
from .phantom_shapes import Bounds, Draws, Points, Structure, rotation, soft_step
from .progress import Progress, ProgressCallback, ignore_progress

__all__ = ["PHANTOM_LABELS", "make_phantom"]

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
WAVES = 7
WAVE_AMPLITUDE_MM = 2.0
# Height of the middle of a scan that shows every organ, above the first lumbar vertebra's middle.
SCAN_CENTER_MM = 15.0
# Where a scan that cuts organs off begins or ends; the organs reach from about -80 to 105 mm.
LOWEST_VIEW_MM = (-45.0, 15.0)
HIGHEST_VIEW_MM = (30.0, 80.0)
AIR_HU = -1000.0
LOWEST_HU = -1024


def make_phantom(
    seed: int,
    *,
    shape: tuple[int, int, int] = (96, 160, 160),
    spacing: Triple = (2.5, 2.5, 2.5),
    direction: Sequence[float] = IDENTITY,
    cut_off_share: float = 0.3,
    contrast: float = 1.0,
    progress: ProgressCallback = ignore_progress,
) -> tuple[Image, Image]:
    """Scans the patient of a seed.

    The same arguments give the same bytes with the same numpy on the same kind of processor.

    Args:
        seed: which patient, 0 and up.
        shape: voxels ``(z, y, x)``.
        spacing: voxel size in mm along the array's axes ``(z, y, x)``.
        direction: orthonormal 3×3 matrix, row by row, of the index axes ``(x, y, z)`` in LPS, as in
            `Geometry`; the middle of the scan stays where it is.
        cut_off_share: how many of the scans, of 1, miss the organs at the top or at the bottom.
        contrast: how much contrast agent the patient was given, from 0 (none) to 1 (the usual dose).
        progress: called after every structure of the body.

    Returns:
        The scan, int16 HU, and the label map, uint8 with values of `PHANTOM_LABELS`, on the same grid.
        What a scan does not show is not in its label map.

    Raises:
        SkcdfError: the seed is below 0, the shape or spacing not positive, the direction not orthonormal, or the
            contrast not from 0 to 1.
    """
    _check(seed, shape, spacing, direction)
    if not 0 <= contrast <= 1:
        raise SkcdfError(f"Phantom contrast {contrast:g} is not usable.", "Give a dose from 0 to 1.")
    draws = Draws(seed)
    pose = _draw_pose(draws)
    geometry = _grid(draws, shape, spacing, direction, cut_off_share)
    canvas = _Canvas(geometry, pose, draws)
    _paint_couch(canvas, pose)
    anatomy = structures(seed, contrast)
    for index, structure in enumerate(anatomy):
        canvas.paint(structure)
        progress(Progress("phantom", index + 1, len(anatomy)))
    scan = _add_noise(canvas.scan, geometry, draws)
    metadata = {"modality": "CT", "body_part": "ABDOMEN"}
    return Image(scan, geometry, metadata=metadata), Image(canvas.labels, geometry)


@dataclass(frozen=True)
class _Pose:
    """How the patient lies in the scanner: position = matrix @ point + shift, lengths in mm."""

    matrix: np.ndarray
    shift: np.ndarray


class _Canvas:
    """A scan being painted, and the patient's coordinates of its voxels.

    Attributes:
        scan: HU so far, float32 ``(z, y, x)``.
        labels: label values so far, uint8.
        points: the patient's coordinates ``x, y, z`` of the voxel centres.
    """

    def __init__(self, geometry: Geometry, pose: _Pose, draws: Draws) -> None:
        self.geometry = geometry
        self.pose = pose
        self.scan = np.full(geometry.shape, AIR_HU, np.float32)
        self.labels = np.zeros(geometry.shape, np.uint8)
        self.edge_mm = max(1.0, float(np.mean(geometry.spacing)))
        inverse = np.linalg.inv(pose.matrix)
        to_patient = inverse @ geometry.affine[:3, :3]
        self.points = _linear(geometry.shape, to_patient, inverse @ (geometry.affine[:3, 3] - pose.shift))
        self._bend_mm = self._bend(draws)

    def paint(self, structure: Structure) -> None:
        """Covers with ``structure`` what lies inside it, softly at the edge."""
        box = self._box(structure.bounds)
        if box is None:
            return
        x, y, z = (axis[box] for axis in self.points)
        distance = structure.distance((x, y, z))
        hounsfield = structure.hounsfield
        value = hounsfield((x, y, z), distance) if callable(hounsfield) else hounsfield
        scan = self.scan[box]
        scan += soft_step(distance, self.edge_mm) * (value - scan)
        if structure.label is not None:
            self.labels[box][distance < 0] = structure.label

    def _bend(self, draws: Draws) -> float:
        """Deforms the patient by a few long waves; returns the mm that no point moves further along an axis.

        A plane wave is a product over the grid's axes, so that no sine is evaluated voxel by voxel.
        """
        random = draws.stream("deformation")
        furthest = np.zeros(3)
        for _ in range(WAVES):
            heading = random.normal(size=3)
            vector = 2 * math.pi * heading / np.linalg.norm(heading) / random.uniform(130.0, 320.0)
            amplitude = random.normal(0.0, WAVE_AMPLITUDE_MM, 3)
            phase = random.uniform(0.0, 2 * math.pi) + vector @ self.geometry.affine[:3, 3]
            steps = vector @ self.geometry.affine[:3, :3]
            z, y, x = (
                np.exp(1j * step * np.arange(n)).astype(np.complex64)
                for step, n in zip(steps[::-1], self.geometry.shape, strict=True)
            )
            plane = (z[:, None] * y * np.complex64(np.exp(1j * phase)))[:, :, None]
            wave = plane.real * x.real - plane.imag * x.imag
            for axis, size in zip(self.points, amplitude, strict=True):
                axis += np.float32(size) * wave
            furthest += np.abs(amplitude)
        return float(furthest.max())

    def _box(self, bounds: Bounds) -> tuple[slice, slice, slice] | None:
        """The voxels that may lie in ``bounds`` of the patient's frame; ``None`` when the scan shows none."""
        reach = self._bend_mm + self.edge_mm
        corners = np.array(list(itertools.product(*((low - reach, high + reach) for low, high in bounds))))
        positions = corners @ self.pose.matrix.T + self.pose.shift
        affine = self.geometry.affine
        indices = (positions - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
        low = np.clip(np.floor(indices.min(axis=0)), 0, self.geometry.size).astype(int)
        high = np.clip(np.ceil(indices.max(axis=0)) + 1, 0, self.geometry.size).astype(int)
        if (high <= low).any():
            return None
        x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return z, y, x


def _check(seed: int, shape: Sequence[int], spacing: Sequence[float], direction: Sequence[float]) -> None:
    matrix = np.array(direction, float)
    if seed < 0:
        raise SkcdfError(f"Phantom seed {seed} is negative.", "Take 0, 1, 2 …")
    if len(shape) != 3 or min(shape) < 1:
        raise SkcdfError(
            f"Phantom shape {tuple(shape)} is not a volume.", "Give three positive voxel counts: z, y, x."
        )
    if len(spacing) != 3 or not all(0 < s < math.inf for s in spacing):
        raise SkcdfError(
            f"Phantom spacing {tuple(spacing)} is not usable.", "Give three positive mm: z, y, x."
        )
    if matrix.shape != (9,) or not np.allclose(
        matrix.reshape(3, 3) @ matrix.reshape(3, 3).T, np.eye(3), atol=1e-4
    ):
        raise SkcdfError(
            "The phantom's direction is not orthonormal.", "Give the nine numbers of a rotation."
        )


def _draw_pose(draws: Draws) -> _Pose:
    size = draws.uniform("body size", 0.93, 1.07)
    scale = size * (1.0 + draws.jitter("body proportions", 0.015))
    turn = rotation(draws.jitter("body rotation", 2.0) * (1.0, 1.0, 1.5))
    shift = draws.jitter("body shift", 4.0)
    return _Pose(turn * scale, shift)


def _grid(
    draws: Draws,
    shape: tuple[int, int, int],
    spacing: Triple,
    direction: Sequence[float],
    cut_off_share: float,
) -> Geometry:
    axes = np.reshape(direction, (3, 3))
    half_extent = 0.5 * (np.array(shape[::-1]) - 1) * np.array(spacing[::-1])
    center = np.array((0.0, 8.0, SCAN_CENTER_MM)) + draws.jitter("field of view", 3.0)
    if draws.uniform("is cut off", 0.0, 1.0) < cut_off_share:
        half_height = float(np.abs(axes[2]) @ half_extent)
        if draws.uniform("cut off side", 0.0, 1.0) < 0.5:
            center[2] = draws.uniform("cut off below", *LOWEST_VIEW_MM) + half_height
        else:
            center[2] = draws.uniform("cut off above", *HIGHEST_VIEW_MM) - half_height
    origin = center - axes @ half_extent
    return Geometry(
        (int(shape[2]), int(shape[1]), int(shape[0])),
        (float(spacing[2]), float(spacing[1]), float(spacing[0])),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        tuple(float(value) for value in direction),
    )


def _linear(shape: tuple[int, int, int], matrix: np.ndarray, offset: np.ndarray) -> Points:
    """``matrix @ (x, y, z) + offset`` for every index of an array ``(z, y, x)``."""
    z, y, x = (np.arange(n, dtype=np.float64) for n in shape)
    planes = [
        (
            (row[2] * z + start)[:, None, None].astype(np.float32)
            + (row[1] * y)[:, None].astype(np.float32)
            + (row[0] * x).astype(np.float32)
        )
        for row, start in zip(matrix, offset, strict=True)
    ]
    return planes[0], planes[1], planes[2]


def _paint_couch(canvas: _Canvas, pose: _Pose) -> None:
    """The scanner's table: a thin curved shell around foam, level whatever the patient's pose."""
    affine = canvas.geometry.affine
    x, y, _ = _linear(canvas.geometry.shape, affine[:3, :3], affine[:3, 3])
    back = pose.matrix[1, 1] * (OUTER_WALL[2] + 30.0) + pose.shift[1]
    radius, half_thickness = 520.0, 11.0
    from_axis = np.hypot(x, y - np.float32(back + 14.0 - radius)) - np.float32(radius)
    shell = np.maximum(np.abs(from_axis) - half_thickness, np.abs(x) - 210.0)
    shell = np.maximum(shell, np.float32(back - 60.0) - y)
    # The shell is at least as thick as a voxel, or it would fall apart into dots.
    thickness = 2.0 + canvas.edge_mm
    hounsfield = -900.0 + 850.0 * soft_step(-(shell + thickness), canvas.edge_mm)
    canvas.scan += soft_step(shell, canvas.edge_mm) * (hounsfield - canvas.scan)


def _add_noise(scan: np.ndarray, geometry: Geometry, draws: Draws) -> np.ndarray:
    """Blurs like a scanner, adds grainy noise that is stronger deep inside the body, and rounds to int16."""
    blur = [0.7 / s for s in geometry.array_spacing]
    scan = ndimage.gaussian_filter(scan, blur, truncate=3.0)
    white = draws.stream("noise").standard_normal(geometry.shape, dtype=np.float32)
    grain = ndimage.gaussian_filter(white, [0.9 / s for s in geometry.array_spacing], truncate=3.0)
    grain *= np.float32(draws.uniform("noise HU", 9.0, 17.0)) / max(float(grain.std()), 1e-6)
    attenuation = np.clip((scan + 1000.0) / 1000.0, 0.3, 1.1)
    return np.clip(np.rint(scan + grain * attenuation), LOWEST_HU, 3071).astype(np.int16)
