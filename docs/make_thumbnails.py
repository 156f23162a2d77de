"""Makes the pictures by which *Sample Data* shows the phantoms: a coronal slice through the kidneys of each.

    python docs/make_thumbnails.py [FOLDER]

Needs ``pip install .[report]`` and ``slicer-core``, since the list of the phantoms is the module's own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Testing" / "mrml"), str(ROOT / "SKCDFSegmenter"), str(ROOT / "engine")]

SIZE = (240, 160)
WINDOW = (-160.0, 240.0)
ORGANS = ("left_kidney", "right_kidney")


def main(folder: Path = ROOT / "SKCDFSegmenter" / "Resources" / "Icons") -> None:
    """Draws all of them."""
    from mrml_bootstrap import startSlicerCore

    startSlicerCore()
    from SKCDFSegmenterLib.SampleScans import PHANTOMS

    for phantom in PHANTOMS:
        scan, labels = phantom.scan()
        thumbnail(scan.array, labels.array).save(folder / phantom.thumbnail, optimize=True)
        print(f"{folder / phantom.thumbnail}: drawn")


def thumbnail(scan: np.ndarray, labels: np.ndarray) -> Any:
    """The coronal slice that shows most of some organs, its middle, right side of the body on the left."""
    from skcdf.labels import LabelSet
    from skcdf.phantom import PHANTOM_LABELS

    label_set = LabelSet.load(PHANTOM_LABELS)
    values = [label_set.value_of(name) for name in ORGANS]
    row = int(np.isin(labels, values).sum(axis=(0, 2)).argmax())
    slice_ = scan[::-1, row, :]  # head at the top; the index axis x runs to the patient's left
    low, high = WINDOW
    grey = np.clip((slice_ - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    height, width = grey.shape
    cropped = min(width, round(height * SIZE[0] / SIZE[1]))
    left = (width - cropped) // 2
    return Image.fromarray(grey[:, left : left + cropped]).resize(SIZE, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
