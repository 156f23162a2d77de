"""Which organs of a case a person has looked at: what the check-list shows before the case goes into the pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import slicer

from skcdf.labels import LabelSet

from .SegmentIdentity import segmentsOfLabels
from .SegmentRecord import isCompleted
from .Texts import _

OrganPresence = Literal["completed", "present", "missing"]


@dataclass(frozen=True)
class OrganCheck:
    """One line of the check-list.

    Attributes:
        name: of the label.
        title: what people read.
        presence: ``completed`` in the Segment Editor, ``present`` as a segment, or ``missing``.
        checked: whether it counts as looked at.
    """

    name: str
    title: str
    presence: OrganPresence
    checked: bool

    @property
    def text(self) -> str:
        """The line: organ and state."""
        states = {
            "completed": _("completed"),
            "present": _("not completed"),
            "missing": _("no segment; check if absent"),
        }
        return f"{self.title} ({states[self.presence]})"


def organChecks(
    segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    labelSet: LabelSet,
    chosen: Mapping[str, bool] | None = None,
) -> tuple[OrganCheck, ...]:
    """The check-list of a case, in the order of the label set.

    Args:
        segmentationNode: the organs; ``None``: there is none yet.
        labelSet: of the pool.
        chosen: what the user has said already, by the label's name. A completed organ is checked whatever was said:
            its status is where one says otherwise.
    """
    if segmentationNode is None:
        return ()
    said, segmentation = chosen or {}, segmentationNode.GetSegmentation()
    ofLabel, _foreign = segmentsOfLabels(segmentationNode, labelSet)
    checks = []
    for label in labelSet.labels:
        segmentIDs = ofLabel.get(label.name, [])
        completed = bool(segmentIDs) and all(
            isCompleted(segmentation.GetSegment(segmentID)) for segmentID in segmentIDs
        )
        presence: OrganPresence = "completed" if completed else "present" if segmentIDs else "missing"
        checks.append(OrganCheck(label.name, label.title, presence, completed or said.get(label.name, False)))
    return tuple(checks)


def checkedNames(checks: Iterable[OrganCheck]) -> tuple[str, ...]:
    """The labels that count as looked at."""
    return tuple(check.name for check in checks if check.checked)
