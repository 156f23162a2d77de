"""Scans and label maps of a few hundred voxels, for tests of the labelled pool."""

from __future__ import annotations

import numpy as np

from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool

ORGANS = ["spleen", "right_kidney", "left_kidney"]
LABELS = LabelSet.from_names("toy", ORGANS)
GEOMETRY = Geometry((12, 6, 5), (1.0, 1.0, 2.0), (-10.0, 20.0, 30.0))


def scan(seed: int) -> Image:
    voxels = np.random.default_rng(seed).integers(-1000, 1000, GEOMETRY.shape)
    return Image(voxels.astype(np.int16), GEOMETRY)


def drawn(*values: int, size: int = 2, swapped: bool = False) -> Image:
    """Organs from the patient's right to left: right kidney, spleen, left kidney."""
    voxels = np.zeros(GEOMETRY.shape, np.uint8)
    places = {2: 0, 1: 4, 3: 8} if not swapped else {3: 0, 1: 4, 2: 8}
    for value in values:
        voxels[1:4, 1 : 1 + size, places[value] : places[value] + 3] = value
    return Image(voxels, GEOMETRY)


def snapshot(pool: LabelledPool) -> dict[str, bytes]:
    files = (path for path in pool.root.rglob("*") if path.is_file() and "locks" not in path.parts)
    return {path.relative_to(pool.root).as_posix(): path.read_bytes() for path in files}
