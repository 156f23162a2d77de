"""The states of a segmentation's organs while somebody works on it: cheap to ask, exact when it matters.

Whether a segment is as the model proposed it is told by its voxels, and looking at all of them takes a noticeable
moment: not after every stroke of a brush.
"""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from .SegmentRecord import SegmentState, completedAt, isCompleted, provenance, segmentStates
from .Texts import _


@dataclass(frozen=True)
class OrganState:
    """One segment.

    Attributes:
        segmentID, name: of the segment.
        state: what has become of it.
        unsure: share of its voxels that the model was unsure of, 0 to 1; ``None`` where that is not known.
        origin: which model proposed it and when, and when it was completed, in words; empty where neither is known.
    """

    segmentID: str
    name: str
    state: SegmentState
    unsure: float | None
    origin: str


class SegmentStates:
    """Remembers what the voxels of a segmentation have told.

    Args:
        segmentationNode: the segmentation.
    """

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
        self._segmentationNode = segmentationNode
        self._seen: dict[str, SegmentState] = {}

    def look(self) -> None:
        """Looks at the voxels of all segments."""
        self._seen = segmentStates(self._segmentationNode)

    def touched(self, segmentID: str) -> None:
        """Somebody works on a segment: it counts as edited until `look` finds that it is not."""
        if self._seen.get(segmentID) == "proposed":
            self._seen[segmentID] = "edited"

    def organs(self) -> tuple[OrganState, ...]:
        """All segments in the order of the segmentation; looks only at those that it does not know."""
        segmentation = self._segmentationNode.GetSegmentation()
        segments = {
            segmentID: segmentation.GetSegment(segmentID) for segmentID in segmentation.GetSegmentIDs()
        }
        unknown = [
            segmentID
            for segmentID, segment in segments.items()
            if not isCompleted(segment) and self._seen.get(segmentID, "completed") == "completed"
        ]
        if unknown:
            self._seen |= segmentStates(self._segmentationNode, unknown)
        rows = []
        for segmentID, segment in segments.items():
            record = provenance(segment)
            state = "completed" if isCompleted(segment) else self._seen[segmentID]
            unsure = None if record is None else record.unsure
            rows.append(OrganState(segmentID, segment.GetName(), state, unsure, _originWords(segment)))
        return tuple(rows)


def _originWords(segment: slicer.vtkSegment) -> str:
    record, completed, words = provenance(segment), completedAt(segment), []
    if record is not None:
        text = _("Proposed by {model}, {date}.")
        words.append(text.format(model=record.model, date=_dateWords(record.created)))
    if completed:
        words.append(_("Completed {date}.").format(date=_dateWords(completed)))
    return " ".join(words)


def _dateWords(created: str) -> str:
    """A time as people write it, in UTC as it is kept: other computers show the same."""
    return created[:16].replace("T", " ") + " UTC"
