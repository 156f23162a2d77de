"""Couch, head-rest and air noise round a body whose scan was masked, painted anew into every training patch.

Some published scans hold one value outside the body and no couch (OpenKBP: −1024 HU). A network that saw nothing else
takes a couch for anatomy. What is painted lies beyond the first or last voxel of the body in its column of the patient
from front to back, so that no voxel of the body changes; labels stay as they are (`docs/methods.md`, Surroundings).
The ranges below were chosen to hold what scanners' couches look like, and more; they were not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..image import Image
from ..phantom_shapes import soft_step
from ..preprocessing import Intensity, Placement

POSTERIOR_MM = 80.0
"""Air that a volume gets behind the back, where the body's box ends after 10 mm: a couch has to lie somewhere."""
CONSTANT_SHARE = 0.9
"""A scan counts as masked where this share of the voxels round the body has its lowest value; OpenKBP's have 0.948."""
COUCHES, HEAD_RESTS = 0.6, 0.4
"""Shares of patches that show one."""
AIR_HU = -1000.0
_BODY_HU = -500.0
_BLUR_MM = 1.0
_NO_STEP_MM = 1e-4


@dataclass(frozen=True)
class Support:
    """A curved board of foam in a skin, which the patient lies on: a couch, or a cup for the head.

    Attributes:
        length: mm from the scan's upper end that it reaches down.
        gap: mm between it and the hindmost point of the body on that length.
        offset, half_width: of its middle to the patient's left, and of each half, mm.
        curvature: 1/mm; its edges bend towards the front; 0 is flat.
        thickness, skin: mm.
        core_hu, skin_hu: HU.
    """

    length: float
    gap: float
    offset: float
    half_width: float
    curvature: float
    thickness: float
    skin: float
    core_hu: float
    skin_hu: float


@dataclass(frozen=True)
class Scene:
    """What is painted round the body in one patch.

    Attributes:
        supports: a couch and a head-rest, if any; where they meet, the brighter one is seen.
        sharpness: from 0, as blurred as the scanner, to 1, as a voxel averages.
        noise: standard deviation of air, HU.
        noise_seed: of that noise.
    """

    supports: tuple[Support, ...]
    sharpness: float
    noise: float
    noise_seed: int


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draws what lies round the body in one patch."""
    flat = rng.random() < 0.5
    couch = Support(
        length=np.inf,
        gap=rng.uniform(0, 20),
        offset=rng.normal(0, 20),
        half_width=rng.uniform(180, 280),
        curvature=0.0 if flat else rng.uniform(0, 1 / 400),
        thickness=rng.uniform(8, 60),
        skin=rng.uniform(1, 6),
        core_hu=rng.uniform(-990, -800),
        skin_hu=rng.uniform(-250, 300),
    )
    head_rest = Support(
        length=rng.uniform(80, 180),
        gap=rng.uniform(0, 10),
        offset=rng.normal(0, 10),
        half_width=rng.uniform(60, 120),
        curvature=rng.uniform(1 / 250, 1 / 90),
        thickness=rng.uniform(3, 30),
        skin=rng.uniform(1, 10),
        core_hu=rng.uniform(-990, -500),
        skin_hu=rng.uniform(-250, 300),
    )
    shown = rng.random(2) < (COUCHES, HEAD_RESTS)
    supports = tuple(each for each, is_shown in zip((couch, head_rest), shown, strict=True) if is_shown)
    return Scene(supports, rng.random(), rng.uniform(5, 40), int(rng.integers(2**62)))


@dataclass(frozen=True)
class Surroundings:
    """Where the air round a preprocessed body is.

    Attributes:
        front, back: first and last voxel of the body along y in every column, ``(z, x)`` int16; in a column without
            body the length of y, and −1.
        step_mm: 3×3; column ``a`` is the step in LPS mm ``(x, y, z)`` along array axis ``a``, one of ``(z, y, x)``.
        intensity: from HU to what the network sees.
    """

    front: np.ndarray
    back: np.ndarray
    step_mm: np.ndarray
    intensity: Intensity

    def paint(self, image: np.ndarray, start: tuple[int, int, int], scene: Scene) -> None:
        """Paints ``scene`` round the body.

        Args:
            image: normalised intensities ``(z, y, x)``, a box of the volume; changed in place.
            start: the box's first voxel ``(z, y, x)`` in the volume.
            scene: see `draw_scene`.
        """
        planes, _, columns = (slice(a, a + n) for a, n in zip(start, image.shape, strict=True))
        front, back = self.front[planes, None, columns], self.back[planes, None, columns]
        y = np.arange(start[1], start[1] + image.shape[1])[:, None]
        # Air is below every window but that of the lung: there its noise is cut away whatever we add.
        if self.intensity.low < AIR_HU + 4 * scene.noise:
            rng = np.random.default_rng(scene.noise_seed)
            noise = AIR_HU + scene.noise * rng.standard_normal(image.shape, np.float32)
            np.copyto(image, self.intensity.apply(noise), "same_kind", (y < front) | (y > back))
        edge_mm = _BLUR_MM + scene.sharpness * float(np.linalg.norm(self.step_mm, axis=0).mean())
        for support in scene.supports:
            self._paint_support(image, start, support, edge_mm, y > back)

    def _paint_support(
        self,
        image: np.ndarray,
        start: tuple[int, int, int],
        support: Support,
        edge_mm: float,
        behind: np.ndarray,
    ) -> None:
        middle = self._lies_on(support.length)
        if middle is None:
            return
        axes = np.ogrid[tuple(slice(a, a + n) for a, n in zip(start, image.shape, strict=True))]
        left, posterior = (
            # What does not matter is left out: on an upright grid all planes are computed as one.
            sum(
                np.float32(step) * axis
                for step, axis in zip(row, axes, strict=True)
                if abs(step) > _NO_STEP_MM
            )
            - np.float32(at)
            for row, at in zip(self.step_mm[:2], middle, strict=True)
        )
        left = left - np.float32(support.offset)
        slope = np.float32(support.curvature) * left
        depth = (posterior - np.float32(support.gap) + slope * left / 2) / np.hypot(1, slope)
        half = support.thickness / 2
        outside = np.maximum(np.abs(depth - half) - half, np.abs(left) - support.half_width)
        inside_skin = soft_step(outside + support.skin, edge_mm)
        hounsfield = support.skin_hu + inside_skin * (support.core_hu - support.skin_hu)
        cover = soft_step(outside, edge_mm)
        reached = axes[0] > self.front.shape[0] - 1 - support.length / np.linalg.norm(self.step_mm[:, 0])
        painted = self.intensity.apply(AIR_HU + cover * (hounsfield - AIR_HU))
        np.maximum(image, painted, out=image, where=behind & reached, casting="same_kind")

    def _lies_on(self, length: float) -> tuple[float, float] | None:
        """Middle and hindmost position of the body, LPS mm ``(x, y)``, on ``length`` mm from the upper end."""
        first = self.back.shape[0] - length / np.linalg.norm(self.step_mm[:, 0])
        z, x = np.nonzero(self.back >= 0)
        z, x = z[z >= first], x[z >= first]
        if not z.size:
            return None
        left, posterior = self.step_mm[:2] @ np.stack((z, self.back[z, x], x))
        return float(left.mean()), float(posterior.max())


def surroundings_of(
    scan: Image, placement: Placement, raw: np.ndarray, labels: np.ndarray | None, intensity: Intensity
) -> Surroundings | None:
    """Where the air round the body of ``scan`` is; ``None`` where the scan shows real air.

    Args:
        scan: CT in HU.
        placement: of ``raw`` in it.
        raw: the scan on the model's grid, HU ``(z, y, x)``.
        labels: on that grid, if any: what is labelled is body, whatever its HU.
        intensity: from HU to what the network sees.
    """
    fill = scan.array.min()
    array = placement.axis_order.apply(scan.array)
    air = array[_beyond(*_ends(array > _BODY_HU), array.shape[1])]
    if np.count_nonzero(air == fill) < CONSTANT_SHARE * max(1, air.size):
        return None
    # Interpolation leaves what lies between fill and fill as it is but for rounding; the rest holds some body.
    body = raw > fill + 0.01
    if labels is not None:
        body |= labels > 0
    geometry = placement.model_geometry
    return Surroundings(*_ends(body), geometry.affine[:3, 2::-1], intensity)


def _ends(body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last true voxel along y of every column ``(z, x)``; the length of y and −1 where there is none."""
    length, found = body.shape[1], body.any(1)
    front = np.where(found, body.argmax(1), length).astype(np.int16)
    back = np.where(found, length - 1 - body[:, ::-1].argmax(1), -1).astype(np.int16)
    return front, back


def _beyond(front: np.ndarray, back: np.ndarray, length: int) -> np.ndarray:
    """Voxels ``(z, y, x)`` before ``front`` or behind ``back``."""
    y = np.arange(length)[:, None]
    return (y < front[:, None]) | (y > back[:, None])
