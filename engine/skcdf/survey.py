"""What a data set looks like: the figures that a plan is made from (nnU-Net calls it the fingerprint)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cases import Dataset, Modality
from .errors import SkcdfError
from .geometry import axis_order_to_lps
from .image import read_geometry, read_image, read_label_map
from .model_parts import UsualOrgan
from .organ_shapes import organ_shapes
from .plausibility import UsualOrgans
from .preprocessing import Spacing
from .progress import Progress, ProgressCallback, ignore_progress

_SAMPLES_PER_CASE = 20_000


@dataclass(frozen=True)
class Survey:
    """Figures of a data set's training scans, axes in LPS order.

    Attributes:
        modality: of all scans.
        spacings: voxel size ``(z, y, x)`` in mm of every scan ``(case, 3)``, labelled or not.
        extents: size ``(z, y, x)`` in mm of every scan ``(case, 3)``.
        intensity_range: lowest and highest raw intensity of the labelled scans.
        foreground: raw intensities inside labels, evenly sampled from every labelled scan.
        lowest_organ: median raw intensity of the darkest organ.
        labelled, unlabelled: number of training scans.
        usual: what every organ is like that a case shows whole.
    """

    modality: Modality
    spacings: np.ndarray
    extents: np.ndarray
    intensity_range: tuple[float, float]
    foreground: np.ndarray
    lowest_organ: float
    labelled: int
    unlabelled: int
    usual: tuple[UsualOrgan, ...] = ()

    @property
    def median_spacing(self) -> Spacing:
        """Median voxel size ``(z, y, x)`` in mm."""
        z, y, x = np.median(self.spacings, axis=0)
        return float(z), float(y), float(x)


def survey_dataset(dataset: Dataset, progress: ProgressCallback = ignore_progress) -> Survey:
    """Reads every training scan's header and the voxels of the labelled ones.

    Raises:
        SkcdfError: there is no labelled training case, a file cannot be read, no voxel is labelled, or
            all scans are constant.
    """
    if not dataset.labelled:
        raise SkcdfError(
            f"{dataset.root}: there is no labelled training case.", "Annotate and add one first."
        )
    spacings, extents = [], []
    for case in dataset.training:
        geometry = read_geometry(case.image)
        geometry = axis_order_to_lps(geometry).apply_to_geometry(geometry)
        spacings.append(geometry.array_spacing)
        extents.append([n * s for n, s in zip(geometry.shape, geometry.array_spacing, strict=True)])
    rng = np.random.default_rng(0)
    samples, ranges, medians, usual = [], [], [], UsualOrgans()
    for index, case in enumerate(dataset.labelled):
        assert case.label is not None  # what `labelled` means
        reference = read_label_map(case.label)
        scan, label_map = read_image(case.image).array, reference.array
        if scan.shape != label_map.shape:
            raise SkcdfError(
                f"{case.label}: the label map does not lie on the grid of {case.image}.",
                "Resample the label map to its scan, or withdraw the case.",
            )
        inside, organs = scan[label_map > 0], label_map[label_map > 0]
        if inside.size:
            chosen = rng.choice(inside.size, min(inside.size, _SAMPLES_PER_CASE), replace=False)
            samples.append(inside[chosen].astype(np.float64))
            medians.append(min(float(np.median(inside[organs == value])) for value in np.unique(organs)))
        ranges.append((float(scan.min()), float(scan.max())))
        shapes = organ_shapes(label_map, dataset.label_set)
        usual.add(shapes, case.annotated, reference.geometry.voxel_volume_ml)
        progress(Progress("survey", index + 1, len(dataset.labelled)))
    if not samples:
        raise SkcdfError(
            f"{dataset.root}: no label map has a labelled voxel.", "Annotate at least one organ."
        )
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if low == high:
        raise SkcdfError(
            f"{dataset.root}: every voxel of every labelled scan is {low:g}, so nothing can be learnt from them.",
            "Look at how the scans were exported.",
        )
    return Survey(
        dataset.modality,
        np.array(spacings),
        np.array(extents),
        (low, high),
        np.concatenate(samples),
        float(np.median(medians)),
        len(dataset.labelled),
        len(dataset.unlabelled),
        usual.known(),
    )
