"""Inference: sliding window, labels on the scan's grid, and the predictor that ties them to a model."""

from .predictor import Predictor, Segmentation

__all__ = ["Predictor", "Segmentation"]
