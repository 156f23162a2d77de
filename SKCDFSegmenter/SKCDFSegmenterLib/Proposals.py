"""What models have proposed in this session, organ by organ, to tell later how much a person corrected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import slicer

from skcdf.labels import Label

from .SegmentVoxels import SegmentVoxels
from .SessionMemory import SessionMemory
from .Terminology import names, terminologyTag


class Proposal(NamedTuple):
    """What a run made of one organ.

    Attributes:
        label: the organ, as the model's label set has it.
        voxels: what it found; no voxel where it found nothing.
        model: the model's title.
    """

    label: Label
    voxels: SegmentVoxels
    model: str

    def isOf(self, label: Label) -> bool:
        """Whether a label, maybe of another set, is that organ."""
        return names(terminologyTag(self.label), label) or self.label.name == label.name


Proposals = Mapping[str, Proposal]
"""By the label's name; organs that no run was about are not named."""

_proposals: SessionMemory[Proposals] = SessionMemory()


def proposals(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Proposals | None:
    """What was proposed for a segmentation; ``None`` where this session has seen no run, as after loading a scene."""
    return _proposals.get(segmentationNode)


def setProposals(segmentationNode: slicer.vtkMRMLSegmentationNode, content: Proposals | None) -> None:
    """Puts others in their place."""
    _proposals.put(segmentationNode, content)


def rememberProposals(segmentationNode: slicer.vtkMRMLSegmentationNode, new: Proposals) -> None:
    """Adds those of a run; what earlier runs proposed for other organs stays."""
    setProposals(segmentationNode, {**(proposals(segmentationNode) or {}), **new})
