"""An organ that the model did not find gets a segment, so that a person can draw it."""

from __future__ import annotations

import slicer

from skcdf.labels import Label, LabelSet

from .Terminology import TAG_NAME, terminologyTag


def organTitle(organ: str) -> str:
    """What people call an organ, by the name of its label."""
    return _label(organ).title


def addOrgan(segmentationNode: slicer.vtkMRMLSegmentationNode, organ: str) -> str:
    """Adds an empty segment with the organ's name, colour and code, as a model's would have; returns its ID.

    Args:
        segmentationNode: where.
        organ: the name of its label, which becomes the segment's ID. One that is there already stays as it is.
    """
    segmentation, label = segmentationNode.GetSegmentation(), _label(organ)
    if segmentation.GetSegment(organ) is None:
        color = [channel / 255 for channel in label.color]
        segmentation.AddEmptySegment(organ, label.title, color)
        segmentation.GetSegment(organ).SetTag(TAG_NAME, terminologyTag(label))
    return organ


def _label(organ: str) -> Label:
    """The shipped label of that name, else one with a code of its own."""
    (label,) = LabelSet.from_names("organ", (organ,)).labels
    return label
