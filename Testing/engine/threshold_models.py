"""Models that find the organs of the toy scans by their intensity, so that a test can make one better or worse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from skcdf.cases import Case, Dataset, make_dataset
from skcdf.labels import LabelSet
from skcdf.preprocessing import Intensity, PreprocessingPlan

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
RIGHT = (0.005, 1.755, 2.855)
"""Normalised intensities between background, spleen, right and left kidney of the toy scans."""
HALF_SPLEEN, NO_LEFT_KIDNEY = (1.005, 1.755, 2.855), (0.005, 1.755, 9.0)


class Thresholds(nn.Module):
    """Class k lies between the thresholds k - 1 and k; they are in the weights."""

    def __init__(self, thresholds: Sequence[float] = RIGHT, classes: int = 4) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, classes, 1)
        steps = torch.tensor([0.0, *thresholds])[:classes]
        self.convolution.weight.data = torch.arange(classes).float().view(-1, 1, 1, 1, 1)
        self.convolution.bias.data = -steps.cumsum(0)

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image)


def dataset_of(cases: Sequence[Case], labels: LabelSet = LABELS) -> Dataset:
    return make_dataset(Path("somewhere"), "toys", labels, "CT", cases)
