"""The parts of a model's description: network, window, expected scans, provenance, accuracy, weights file.

Each checks itself, so that a description that exists is valid.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from .records import FieldError

Range = tuple[float, float]


def require(condition: bool, name: str, problem: str) -> None:
    """Raises `FieldError` for the field ``name`` unless ``condition`` holds."""
    if not condition:
        raise FieldError(name, problem)


@dataclass(frozen=True)
class NetworkDescription:
    """Which network the weights belong to: its name in the registry and the arguments to build it with."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.name), "name", "must not be empty")


@dataclass(frozen=True)
class InferenceOptions:
    """How the sliding window runs.

    Attributes:
        overlap: share of a window's length that its neighbour covers as well, 0 to below 1.
        blend: how overlapping windows are weighted.
        air_threshold_hu: windows that hold nothing above it are background and skipped; ``None``: none is.
    """

    overlap: float = 0.5
    blend: Literal["gaussian", "constant"] = "gaussian"
    air_threshold_hu: float | None = None

    def __post_init__(self) -> None:
        require(0 <= self.overlap < 1, "overlap", f"must be from 0 to below 1, is {self.overlap}")


@dataclass(frozen=True)
class Expectations:
    """What scans the model was trained on; `skcdf.check` compares a scan with it before a run.

    Attributes:
        modality: kind of scan.
        intensity_range: lowest and highest raw intensity in the training scans (HU for CT).
        spacing_mm: smallest and largest voxel size in mm along ``(z, y, x)`` of the scan in LPS axis order.
        field_of_view_mm: smallest and largest extent in mm along the same axes.
        body_part: ``abdomen``, ``head and neck``, … for people and for comparison with the DICOM tag.
    """

    modality: Literal["CT", "MR"]
    intensity_range: Range
    spacing_mm: tuple[Range, Range, Range]
    field_of_view_mm: tuple[Range, Range, Range]
    body_part: str

    def __post_init__(self) -> None:
        low, high = self.intensity_range
        require(low < high, "intensity_range", f"must rise, is {low} to {high}")
        for name in ("spacing_mm", "field_of_view_mm"):
            for low, high in getattr(self, name):
                require(0 < low <= high, name, f"must hold positive rising ranges, has {low} to {high}")


@dataclass(frozen=True)
class TrainingRecord:
    """Where the weights come from.

    Attributes:
        method: ``supervised``, ``skcdf``, …
        iterations: optimiser steps.
        seed: of all random numbers.
        labelled_cases: training cases with labels.
        unlabelled_cases: training cases without.
        data: the training data in words, with their source and licence.
        created: date or time in ISO 8601.
        skcdf_version: the program's.
        synthetic: whether every training scan was a phantom.
        plugin: ``scdl`` or ``None``.
        compat: which face of the method was trained.
        image_hashes: of the decoded voxels of each training image.
    """

    method: str
    iterations: int
    seed: int
    labelled_cases: int
    unlabelled_cases: int
    data: str
    created: str
    skcdf_version: str
    synthetic: bool
    plugin: str | None = None
    compat: Literal["published", "corrected"] = "corrected"
    image_hashes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("iterations", "labelled_cases", "unlabelled_cases"):
            require(getattr(self, name) >= 0, name, f"must not be negative, is {getattr(self, name)}")
        try:
            datetime.fromisoformat(self.created)
        except ValueError as error:
            raise FieldError("created", f"must be an ISO 8601 date, is {self.created!r}") from error


SHARES = ("dice", "normalized_surface_dice")
"""Metrics that lie between 0 and 1."""


@dataclass(frozen=True)
class Accuracy:
    """One measured figure.

    Attributes:
        organ: the label's name, or ``mean``.
        metric: as `skcdf.metrics` names it: ``dice``, ``hausdorff95_mm``, …
        mean: over the cases.
        sd: their sample standard deviation; ``None`` for a single case.
        n: number of cases that count.
        protocol: which cases, and how they were chosen and measured.
    """

    organ: str
    metric: str
    mean: float
    sd: float | None
    n: int
    protocol: str

    def __post_init__(self) -> None:
        require(type(self.n) is int and self.n >= 1, "n", f"must be a whole number from 1 on, is {self.n}")
        finite = math.isfinite(self.mean) and (self.sd is None or math.isfinite(self.sd))
        require(finite, "mean", "and sd must be finite; leave sd out (null) for a single case")
        most = 1.0 if self.metric in SHARES else math.inf
        require(
            0 <= self.mean <= most, "mean", f"of {self.metric} must be from 0 to {most:g}, is {self.mean:g}"
        )


@dataclass(frozen=True)
class UsualOrgan:
    """What an organ was like in the training cases, as far as it was annotated, there and not cut by the scan's edge.

    Attributes:
        organ: the label's name.
        volume_ml: smallest and largest volume in mL.
        pieces: the most large pieces (`organ_shapes.LARGE_PIECE`) that it had.
        n: number of cases; of a fine-tuned model the larger of its own and its parent's.
    """

    organ: str
    volume_ml: Range
    pieces: int
    n: int

    def __post_init__(self) -> None:
        low, high = self.volume_ml
        require(0 < low <= high, "volume_ml", f"must be a positive rising range, is {low} to {high}")
        require(self.pieces >= 1, "pieces", f"must be at least 1, is {self.pieces}")
        require(self.n >= 1, "n", f"must be at least 1, is {self.n}")


@dataclass(frozen=True)
class WeightsRecord:
    """The weights file.

    Attributes:
        file: its name in the model's folder.
        sha256: of its bytes, in hexadecimal.
        dtype: how real numbers are stored.
        inference_keys: the tensors that segmentation needs; the others serve further training.
    """

    file: str
    sha256: str
    dtype: Literal["float32", "float16"]
    inference_keys: tuple[str, ...] | Literal["all"] = "all"

    def __post_init__(self) -> None:
        # The name is joined to the folder's path: it must not lead out of it on any platform.
        plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors", self.file)
        require(bool(plain), "file", f"must be a plain .safetensors file name, is {self.file!r}")
        require(bool(re.fullmatch("[0-9a-f]{64}", self.sha256)), "sha256", "must be 64 hexadecimal digits")
