"""What a new result may change in a segmentation that people have worked on, and what it must leave alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import slicer

from skcdf.labels import Label, LabelSet

from .LabelMapExport import voxelsOnGrid
from .SegmentIdentity import segmentsOfLabels
from .SegmentRecord import SegmentState, segmentStates

Region = Sequence[Sequence[int]]
"""A box of voxels, ``[[z0, z1], [y0, y1], [x0, x1]]``, ends not included."""


@dataclass(frozen=True)
class Placement:
    """What a run may do.

    Attributes:
        organs: labels that it was about and that it may add, replace or remove, by value.
        kept: labels that it was about and that it must leave as they are: somebody has edited or completed them.
        replaced: the segment that an organ has already, by the label's name.
        guards: segments whose voxels no new organ may take.
    """

    organs: tuple[Label, ...]
    kept: tuple[Label, ...]
    replaced: dict[str, str]
    guards: tuple[str, ...]


def planPlacement(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    labelSet: LabelSet,
    organs: Iterable[str] = (),
    keepEdited: bool = True,
) -> Placement:
    """What a run may do to a segmentation.

    Args:
        segmentationNode: where its result goes.
        labelSet: of its model.
        organs: names of the labels that it was about; empty: all.
        keepEdited: whether edited segments stay; completed ones and those of other origin always do.

    Raises:
        SkcdfError: the label set has no such organ, or the segmentation is kept as surfaces.
    """
    wanted = {labelSet.labels[labelSet.value_of(name) - 1].name for name in organs} or set(labelSet.names)
    ofLabel, _foreign = segmentsOfLabels(segmentationNode, labelSet)
    states = segmentStates(segmentationNode, [segmentID for each in ofLabel.values() for segmentID in each])
    replaceable: set[SegmentState] = {"proposed"} if keepEdited else {"proposed", "edited"}
    free, kept, replaced, guards = [], [], {}, []
    for label in labelSet.labels:
        segmentIDs = ofLabel.get(label.name, [])
        if label.name not in wanted:
            guards += segmentIDs
        elif all(states[segmentID] in replaceable for segmentID in segmentIDs):
            free.append(label)
            if segmentIDs:  # of several the one that we have made; the others are somebody's copies of it
                replaced[label.name] = label.name if label.name in segmentIDs else segmentIDs[0]
        else:
            kept.append(label)
            guards += segmentIDs
    return Placement(tuple(free), tuple(kept), replaced, tuple(guards))


def permittedVoxels(
    array: np.ndarray,
    placement: Placement,
    labelSet: LabelSet,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    region: Region | None,
) -> np.ndarray:
    """The new label map without what may not be placed, and with what must stay.

    Args:
        array: the result ``(z, y, x)``, on the grid of ``volumeNode``.
        placement: what may be placed.
        labelSet: what the values mean.
        segmentationNode: where it goes.
        volumeNode: the scan.
        region: the box that was computed; outside, replaced segments keep their voxels. ``None``: everything was.
    """
    table = np.zeros(labelSet.number_of_classes, array.dtype)
    for label in placement.organs:
        table[label.value] = label.value
    permitted = table[array]
    if region is not None:
        inside = tuple(slice(first, end) for first, end in region)
        whole = np.zeros_like(permitted)
        present = voxelsOnGrid(segmentationNode, placement.replaced.values(), volumeNode)
        for name, segmentID in placement.replaced.items():
            present[segmentID].paste(whole, labelSet.value_of(name))
        whole[inside] = permitted[inside]
        permitted = whole
    for voxels in voxelsOnGrid(segmentationNode, placement.guards, volumeNode).values():
        voxels.paste(permitted, 0)
    return permitted
