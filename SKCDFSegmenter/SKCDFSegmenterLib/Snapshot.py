"""What the last run replaced in a segmentation, and the way back to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import slicer

from .Proposals import Proposals, movedProposals, proposals, setProposals
from .SegmentationFrame import frameOf, movementSince
from .SegmentDisplay import DisplayProperties, displayProperties, setDisplayProperties, surfacesKept
from .SegmentLabelMaps import BINARY_LABELMAP, eraseVoxels, sharedLabelMaps, voxelsOfSegments
from .SegmentVoxels import SegmentVoxels
from .SessionMemory import SessionMemory
from .Signal import Signal
from .UnsurePlaces import FRAME, PLACES


@dataclass(frozen=True)
class _SavedSegment:
    """A segment as it was: name, colour and tags; voxels; how it was shown."""

    metadata: slicer.vtkSegment
    voxels: SegmentVoxels
    display: DisplayProperties


@dataclass(frozen=True)
class _Snapshot:
    """Some segments of a segmentation as they were.

    Attributes:
        segments: by ID; ``None`` for one that did not exist.
        order: of all segments.
        description: of the node.
        places: the attributes in which the node stores its unsure places; ``None``: it stored none.
        proposals: what models had proposed.
        frame: in which all this lay.
    """

    segments: dict[str, _SavedSegment | None]
    order: tuple[str, ...]
    description: str
    places: dict[str, str | None]
    proposals: Proposals | None
    frame: str

    @property
    def voxels(self) -> dict[str, SegmentVoxels]:
        """Those of the segments that existed, by ID."""
        return {segmentID: each.voxels for segmentID, each in self.segments.items() if each is not None}

    def moved(self, movement: np.ndarray) -> _Snapshot:
        """The same after all of the segmentation was moved by a 4×4 matrix in mm."""
        segments = {
            segmentID: None if each is None else replace(each, voxels=each.voxels.moved(movement))
            for segmentID, each in self.segments.items()
        }
        proposed = None if self.proposals is None else movedProposals(self.proposals, movement)
        return replace(self, segments=segments, proposals=proposed)


_snapshots: SessionMemory[_Snapshot] = SessionMemory()

replacing = Signal()
"""Emits a segmentation just before a run, or the way back from one, replaces segments in it."""


def takeSnapshot(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentIDs: Iterable[str],
) -> dict[str, SegmentVoxels]:
    """Remembers segments that are about to be replaced, removed or added; it takes the place of the last snapshot.

    Args:
        segmentationNode: the segmentation.
        segmentIDs: the segments; restoring leaves all others alone, whatever happened to them since.

    Returns:
        The voxels that it keeps, by ID.
    """
    replacing.emit(segmentationNode)
    snapshot = _snapshot(segmentationNode, tuple(segmentIDs))
    _snapshots.put(segmentationNode, snapshot)
    return snapshot.voxels


def canRestore(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> bool:
    """Whether there is something to go back to."""
    return segmentationNode is not None and _snapshots.get(segmentationNode) is not None


def restorePrevious(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    """Brings back what the last run replaced: voxels, names, colours, tags and order; once more undoes that.

    Returns:
        Whether there was something to bring back.
    """
    wanted = _snapshots.get(segmentationNode)
    if wanted is None:
        return False
    wanted = wanted.moved(movementSince(segmentationNode, wanted.frame))
    replacing.emit(segmentationNode)
    present = _snapshot(segmentationNode, tuple(wanted.segments))
    with surfacesKept(segmentationNode, wanted.segments):
        eraseVoxels(segmentationNode, present.voxels)  # from the label maps that they share with others
        _bringBack(segmentationNode, wanted)
    segmentationNode.SetDescription(wanted.description)
    for name, value in wanted.places.items():
        segmentationNode.SetAttribute(name, value)
    setProposals(segmentationNode, wanted.proposals)
    _snapshots.put(segmentationNode, present)
    return True


def _snapshot(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: tuple[str, ...]) -> _Snapshot:
    segmentation = segmentationNode.GetSegmentation()
    order = segmentation.GetSegmentIDs()
    present = [segmentID for segmentID in segmentIDs if segmentID in order]
    saved: dict[str, _SavedSegment | None] = dict.fromkeys(segmentIDs)
    for segmentID, voxels in voxelsOfSegments(segmentationNode, present).items():
        metadata = slicer.vtkSegment()
        metadata.DeepCopyMetadata(segmentation.GetSegment(segmentID))
        saved[segmentID] = _SavedSegment(metadata, voxels, displayProperties(segmentationNode, segmentID))
    return _Snapshot(
        saved,
        tuple(order),
        segmentationNode.GetDescription() or "",
        {name: segmentationNode.GetAttribute(name) for name in (PLACES, FRAME)},
        proposals(segmentationNode),
        frameOf(segmentationNode),
    )


def _bringBack(segmentationNode: slicer.vtkMRMLSegmentationNode, wanted: _Snapshot) -> None:
    segmentation = segmentationNode.GetSegmentation()
    saved = {segmentID: each for segmentID, each in wanted.segments.items() if each is not None}
    values = {segmentID: each.metadata.GetLabelValue() for segmentID, each in saved.items()}
    images = sharedLabelMaps(wanted.voxels, values)
    present = [segmentID for segmentID in wanted.segments if segmentation.GetSegment(segmentID) is not None]
    for segmentID in present:
        if segmentID not in saved:
            segmentation.RemoveSegment(segmentID)
    for segmentID, each in saved.items():
        segment = segmentation.GetSegment(segmentID) or slicer.vtkSegment()
        segment.DeepCopyMetadata(each.metadata)
        segment.SetLabelValue(values[segmentID])
        segment.AddRepresentation(BINARY_LABELMAP, images[segmentID])
        if segmentID not in present:
            segmentation.AddSegment(segment, segmentID)
        setDisplayProperties(segmentationNode, segmentID, each.display)
    older = [segmentID for segmentID in wanted.order if segmentation.GetSegment(segmentID) is not None]
    for index, segmentID in enumerate(older):  # those that came since are behind them
        segmentation.SetSegmentIndex(segmentID, index)
