"""What a user may choose for one run of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import SkcdfError
from ..image import Image
from ..labels import LabelSet
from ..model_parts import require

Region = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half-open ranges of voxels along the scan's own axes ``(z, y, x)``."""


@dataclass(frozen=True)
class Choices:
    """What is left to the user; what was not chosen is as the model says.

    Attributes:
        organs: names of those that are wanted; empty: all. The network still tells all of them apart, so a voxel of
            another organ becomes background, never the next best of the chosen ones.
        region: only this box of the scan is computed, as if the scan had been cropped to it.
        overlap: share of a window that its neighbour covers as well.
        memory_limit: bytes that the sums of scores may take.
    """

    organs: tuple[str, ...] = ()
    region: Region | None = None
    overlap: float | None = None
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        possible = self.overlap is None or 0 <= self.overlap < 1
        require(possible, "overlap", f"must be from 0 to below 1, is {self.overlap}")
        enough = self.memory_limit is None or self.memory_limit > 0
        require(enough, "memory_limit", f"must be positive, is {self.memory_limit}")
        for low, high in self.region or ():
            require(0 <= low < high, "region", f"must hold rising ranges of voxels, has {low} to {high}")

    def check_organs(self, label_set: LabelSet) -> None:
        """Raises `SkcdfError` for a chosen organ that ``label_set`` lacks."""
        unknown = [name for name in self.organs if name not in label_set.names]
        if unknown:
            raise SkcdfError(
                f"The model finds no organ called {unknown[0]}.", f"It finds {', '.join(label_set.names)}."
            )

    def cropped(self, image: Image) -> Image:
        """The part of ``image`` that is computed.

        Raises:
            SkcdfError: the region reaches beyond the scan.
        """
        if self.region is None:
            return image
        shape = image.array.shape
        if any(high > n for (_, high), n in zip(self.region, shape, strict=True)):
            raise SkcdfError(
                f"{image.source or 'The scan'}: the region {_words(self.region)} reaches beyond its "
                f"{' x '.join(map(str, shape))} voxels (z, y, x).",
                "Choose a region inside the scan.",
            )
        (z, bottom), (y, back), (x, left) = self.region
        geometry = image.geometry.crop((z, y, x), (bottom - z, back - y, left - x))
        return Image(image.array[z:bottom, y:back, x:left], geometry, image.source, image.metadata)

    def keep_chosen(self, labels: np.ndarray, label_set: LabelSet) -> None:
        """Makes background of all organs that were not chosen, in place.

        Args:
            labels: class values, any shape.
            label_set: what they mean.
        """
        if self.organs:
            kept = np.array(
                [0, *(each.value * (each.name in self.organs) for each in label_set.labels)], labels.dtype
            )
            for row in labels:  # row by row: a copy of all would double the memory
                row[...] = kept[row]

    def pasted(self, labels: np.ndarray, image: Image) -> np.ndarray:
        """Labels of the part that was computed, on the grid of the whole ``image``: background around them."""
        if self.region is None:
            return labels
        whole = np.zeros(image.array.shape, labels.dtype)
        whole[tuple(slice(*side) for side in self.region)] = labels
        return whole


def _words(region: Region) -> str:
    return " x ".join(f"{low}-{high}" for low, high in region)
