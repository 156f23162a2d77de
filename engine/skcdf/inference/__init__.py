"""Inference: sliding window, labels on the scan's grid, where a model is unsure, and the predictor that ties them."""

from .choices import Choices, Region
from .estimate import Estimate, Pace
from .places import UnsurePlace
from .predictor import Examination, Predictor, Segmentation
from .uncertainty import OrganUncertainty

__all__ = [
    "Choices",
    "Estimate",
    "Examination",
    "OrganUncertainty",
    "Pace",
    "Predictor",
    "Region",
    "Segmentation",
    "UnsurePlace",
]
