"""Reads scans and writes label maps, with the grid they lie on.

NIfTI goes through nibabel, which refuses truncated files and keeps the header readable where ITK gives up;
NRRD, MetaImage and DICOM go through SimpleITK.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .geometry import Geometry


@dataclass(frozen=True)
class Image:
    """A 3-D scalar image.

    Attributes:
        array: voxels ``(z, y, x)``; scans keep the file's type where it is an integer of at most 32 bit or
            float32, anything wider becomes float32; label maps are integers.
        geometry: the grid.
        source: the file or folder it came from, for messages; empty for an image made in memory.
        metadata: what the file says of itself and `check_input` uses: ``modality`` and ``body_part`` (DICOM).
    """

    array: np.ndarray
    geometry: Geometry
    source: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


def read_image(path: Path | str) -> Image: ...
