"""What models have proposed in this session, organ by organ, to tell later how much a person corrected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import slicer

from skcdf.labels import Label

from .SegmentationFrame import frameOf, movementSince
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

_proposals: SessionMemory[tuple[Proposals, str]] = SessionMemory()
"""With the frame that they were made in."""


def proposals(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Proposals | None:
    """What was proposed for a segmentation, where that lies now; ``None`` where this session has seen no run."""
    remembered = _proposals.get(segmentationNode)
    if remembered is None:
        return None
    content, frame = remembered
    return movedProposals(content, movementSince(segmentationNode, frame))


def setProposals(segmentationNode: slicer.vtkMRMLSegmentationNode, content: Proposals | None) -> None:
    """Puts others in their place."""
    _proposals.put(segmentationNode, None if content is None else (content, frameOf(segmentationNode)))


def movedProposals(content: Proposals, movement: np.ndarray) -> Proposals:
    """The same after all of the segmentation was moved by a 4×4 matrix in mm."""
    return {name: each._replace(voxels=each.voxels.moved(movement)) for name, each in content.items()}


def rememberProposals(segmentationNode: slicer.vtkMRMLSegmentationNode, new: Proposals) -> None:
    """Adds those of a run; what earlier runs proposed for other organs stays."""
    setProposals(segmentationNode, {**(proposals(segmentationNode) or {}), **new})
