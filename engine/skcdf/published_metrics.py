"""The ways in which published programs count Dice and surface distance, so that figures can be set side by side.

They differ from `skcdf.metrics`: label maps are compared on a fixed
grid, distances are in voxels of that grid and run from the prediction's surface to the reference's only (MedPy's
``asd``), and absent organs get fixed marks instead of being left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .metrics import SurfaceDistances, dice

_VOXELS = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class MetricConvention:
    """How one group of publications counts.

    Attributes:
        name: the publication's short name: ``SKCDF``.
        both_absent_dice: Dice, 0 to 100, of an organ that prediction and reference both lack; its ASD is 0.
        grid: ``(z, y, x)`` voxels to which both label maps are brought; ``None``: they are compared as given.
        absent_asd: ASD in voxels of an organ that only one of the two has; its Dice is 0. ``None``: the
            convention for ASD is not known, and none is given.
        blank_asd: ASD of every organ when the prediction holds no organ at all, each with Dice 0; ``None``:
            such a case follows the rules above.
        unknown: what of the published procedure is not known, one sentence each.
    """

    name: str
    both_absent_dice: float
    grid: tuple[int, int, int] | None = None
    absent_asd: float | None = None
    blank_asd: float | None = None
    unknown: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """One line for people."""
        grid = " x ".join(map(str, self.grid)) if self.grid else "the scan's own"
        distance = (
            "ASD not given"
            if self.absent_asd is None
            else f"ASD in voxels, from the prediction's surface only, {self.absent_asd:g} where one lacks the organ"
        )
        if self.blank_asd is not None:
            distance += f", {self.blank_asd:g} in a case without any prediction"
        return (
            f"{self.name}: grid (z, y, x) {grid}; Dice in %, {self.both_absent_dice:g} where both lack the "
            f"organ; {distance}"
        )

    def score(self, prediction: np.ndarray, reference: np.ndarray, organs: int) -> np.ndarray:
        """Compares two label maps of one case.

        Args:
            prediction: integer label map ``(z, y, x)`` on the scan's grid.
            reference: integer label map of the same shape.
            organs: number of organs; their values are 1 to ``organs``.

        Returns:
            ``(organs, 2)``: Dice, 0 to 100, and ASD in voxels (nan where the convention is not known).
        """
        if self.grid is not None:
            prediction, reference = nearest(prediction, self.grid), nearest(reference, self.grid)
        if self.blank_asd is not None and not prediction.any():
            return np.tile([0.0, self.blank_asd], (organs, 1))
        return np.array(
            [self._organ(prediction == value, reference == value) for value in range(1, organs + 1)]
        )

    def _organ(self, prediction: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
        present = bool(prediction.any()), bool(reference.any())
        if not any(present):
            overlap, distance = self.both_absent_dice, 0.0
        elif all(present):
            overlap, distance = 100.0 * dice(prediction, reference), directed_distance(prediction, reference)
        else:
            overlap, distance = 0.0, self.absent_asd or 0.0
        return overlap, math.nan if self.absent_asd is None else distance


def directed_distance(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Mean distance in voxels from the prediction's surface to the reference's, as MedPy's ``asd``.

    Args:
        prediction: boolean mask ``(z, y, x)``.
        reference: mask of the same shape.

    Returns:
        The mean over the prediction's surface voxels; nan when a mask is empty.
    """
    distances = SurfaceDistances.between(prediction, reference, _VOXELS)
    return float(distances.from_prediction.mean()) if distances else math.nan


def nearest(label_map: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """``label_map`` brought to ``shape``, ``(z, y, x)``, as PyTorch's ``interpolate(mode="nearest")`` does.

    Voxel ``i`` takes voxel ``floor(i · size / new size)``, in single precision: PyTorch's rounding, too, decides
    which voxel is taken.
    """
    taken = [
        np.minimum(np.arange(new, dtype=np.float32) * (np.float32(size) / np.float32(new)), size - 1).astype(
            int
        )
        for size, new in zip(label_map.shape, shape, strict=True)
    ]
    return label_map[np.ix_(*taken)]
