"""The hash by which scans and label maps are known, whatever file holds them."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from .geometry import axis_order_to_lps
from .image import Image


def voxel_hash(image: Image) -> str:
    """SHA-256 of what a network sees of an image, whatever file format and number type holds it.

    Axes are brought to LPS order first: programs that convert DICOM store the same scan with its rows turned round.
    Voxels count as float32; the spacing counts to 0.1 %, on a logarithmic scale, where no round number lies
    on the border between two steps.
    """
    order = axis_order_to_lps(image.geometry)
    array, geometry = order.apply(image.array), order.apply_to_geometry(image.geometry)
    digest = hashlib.sha256()
    steps = [round(1000 * math.log(length)) for length in geometry.array_spacing]
    digest.update(repr((array.shape, steps)).encode())
    for plane in array:
        # Adding zero turns -0 into 0.
        digest.update((plane.astype("<f4") + np.float32(0)).tobytes())
    return digest.hexdigest()
