"""Which organ of a label set a segment is, and the tags in which Slicer keeps what is known of a segment."""

from __future__ import annotations

import slicer
import vtk

from skcdf.labels import Label, LabelSet

from .Terminology import TAG_NAME, contradicts, names


def segmentTag(segment: slicer.vtkSegment, name: str) -> str:
    """A tag's value; empty where there is none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def labelOfSegment(segmentID: str, segment: slicer.vtkSegment, labelSet: LabelSet) -> Label | None:
    """The organ a segment is: by its terminology code, else by its ID, else by its name.

    The code comes first since it is what the user sees and edits; the ID cannot be seen. A code that says
    otherwise overrules ID and name.
    """
    tag = segmentTag(segment, TAG_NAME)
    byCode = [label for label in labelSet.labels if names(tag, label)]
    if len(byCode) == 1:
        return byCode[0]
    name = segment.GetName().strip().casefold()
    byID = [label for label in labelSet.labels if label.name == segmentID]
    byName = [label for label in labelSet.labels if name in (label.name.casefold(), label.title.casefold())]
    for label in (*byID, *byName):
        if not contradicts(tag, label):
            return label
    return None


def segmentsOfLabels(
    segmentationNode: slicer.vtkMRMLSegmentationNode, labelSet: LabelSet
) -> tuple[dict[str, list[str]], list[str]]:
    """The segment IDs of every organ that has any, by the label's name, and those of segments that are none."""
    segmentation = segmentationNode.GetSegmentation()
    ofLabel: dict[str, list[str]] = {}
    foreign = []
    for segmentID in segmentation.GetSegmentIDs():
        label = labelOfSegment(segmentID, segmentation.GetSegment(segmentID), labelSet)
        if label is None:
            foreign.append(segmentID)
        else:
            ofLabel.setdefault(label.name, []).append(segmentID)
    return ofLabel, foreign
