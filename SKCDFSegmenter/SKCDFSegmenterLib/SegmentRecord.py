"""Where a segment came from and what happened to it since: kept in its tags, so that files and scenes keep it, too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import slicer

from .SegmentationFrame import referenceLattice
from .SegmentIdentity import segmentTag
from .SegmentLabelMaps import BINARY_LABELMAP, voxelsOfSegments
from .SegmentVoxels import SegmentVoxels

MODEL, MODEL_HASH, CREATED, HASH, UNSURE, USUAL, PIECES = (
    f"SKCDF.{name}" for name in ("Model", "ModelHash", "Created", "Hash", "Unsure", "Usual", "Pieces")
)
COMPLETED = "SKCDF.Completed"

SAME_PLACE = 0.3
"""Voxels by which two places may differ and be the same."""

SegmentState = Literal["proposed", "edited", "completed", "foreign"]


@dataclass(frozen=True)
class ModelRecord:
    """Which model has proposed segments, and how sure it was.

    Attributes:
        title: name and version: ``abdomen v3``.
        hash: of the model's files; empty where it is not known.
        created: when, ISO 8601 in UTC; empty: now.
        unsure: share of each organ's voxels that are unsure, 0 to 1, by the label's name.
        usual: smallest and largest volume in mL in the training cases, by the label's name.
        pieces: in how many pieces each organ was found where that is usual for it, by the label's name.
    """

    title: str
    hash: str = ""
    created: str = ""
    unsure: Mapping[str, float] = field(default_factory=dict)
    usual: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    pieces: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def ofResult(cls, result: Mapping, modelHash: str = "") -> ModelRecord:
        """That of a worker's result of ``segment``."""
        rows = result["organs"]
        unsure = {row["organ"]: row["unsure"] for row in rows if row.get("unsure") is not None}
        usual = {row["organ"]: tuple(row["usual_ml"]) for row in rows if row.get("usual_ml")}
        pieces = {
            row["organ"]: row["pieces"]
            for row in rows
            if row["pieces"] and "pieces" not in row.get("flags", ())
        }
        return cls(result["model"], modelHash, "", unsure, usual, pieces)


@dataclass(frozen=True)
class SegmentProvenance:
    """What a segment's tags say.

    Attributes:
        model: title of the model that has proposed it.
        modelHash: of the model's files; empty where it was not known.
        created: when, ISO 8601 in UTC.
        unsure: share of its voxels that were unsure, 0 to 1; ``None`` where it is not known.
        usualMl: smallest and largest volume in the model's training cases; ``None`` where it is not known.
        usualPieces: in how many pieces it may be without being unusual.
    """

    model: str
    modelHash: str
    created: str
    unsure: float | None
    usualMl: tuple[float, float] | None
    usualPieces: int


def writeRecord(
    segment: slicer.vtkSegment,
    organ: str,
    record: ModelRecord,
    voxels: SegmentVoxels,
    anchor: np.ndarray | None,
) -> None:
    """Notes in a segment's tags that a model has proposed it.

    Args:
        segment: the segment.
        organ: the name of its label.
        record: what is known of the model.
        voxels: what it proposed.
        anchor: see `anchorOf`.
    """
    created = record.created or _now()
    usual = record.usual.get(organ)
    values = {
        MODEL: record.title,
        MODEL_HASH: record.hash,
        CREATED: created,
        HASH: _fingerprint(voxels, anchor),
        UNSURE: f"{record.unsure[organ]:.4f}" if record.unsure.get(organ) is not None else "",
        USUAL: f"{usual[0]:.3f} {usual[1]:.3f}" if usual else "",
        PIECES: str(record.pieces.get(organ, "")),
    }
    for name, value in values.items():
        # In a .seg.nrrd file this character separates tags.
        segment.SetTag(name, value.replace("|", " ")) if value else segment.RemoveTag(name)


def provenance(segment: slicer.vtkSegment) -> SegmentProvenance | None:
    """What a segment's tags say; ``None`` for one that no model of ours has proposed."""
    if not segment.HasTag(HASH):
        return None
    model, modelHash, created = (segmentTag(segment, name) for name in (MODEL, MODEL_HASH, CREATED))
    unsure, usual, pieces = (_numbers(segmentTag(segment, name)) for name in (UNSURE, USUAL, PIECES))
    return SegmentProvenance(
        model,
        modelHash,
        created,
        unsure[0] if len(unsure) == 1 else None,
        (usual[0], usual[1]) if len(usual) == 2 else None,
        max(1, int(pieces[0])) if len(pieces) == 1 else 1,
    )


def segmentState(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentID: str) -> SegmentState:
    """Whether a segment is as the model has proposed it: see `segmentStates`."""
    return segmentStates(segmentationNode, [segmentID])[segmentID]


def segmentStates(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Iterable[str] | None = None
) -> dict[str, SegmentState]:
    """The states of segments, by ID; of all of them by default.

    ``completed`` is what the user says by Slicer's segment status, whoever has drawn it. Of the others, ``foreign``
    ones come from no model of ours, ``proposed`` ones have the very voxels that the model gave them, whatever label
    map holds them, and ``edited`` ones have others.
    """
    segmentation = segmentationNode.GetSegmentation()
    wanted = segmentation.GetSegmentIDs() if segmentIDs is None else tuple(segmentIDs)
    states: dict[str, SegmentState] = {}
    for segmentID in wanted:
        segment = segmentation.GetSegment(segmentID)
        if isCompleted(segment):
            states[segmentID] = "completed"
        elif not segment.HasTag(HASH):
            states[segmentID] = "foreign"
    unclear = [segmentID for segmentID in wanted if segmentID not in states]
    untouched = untouchedSegments(segmentationNode, unclear)
    return {
        segmentID: states.get(segmentID, "proposed" if segmentID in untouched else "edited")
        for segmentID in wanted
    }


def untouchedSegments(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Iterable[str]
) -> dict[str, SegmentVoxels]:
    """Those of the segments that have the very voxels that a model gave them, with their voxels, by ID."""
    segmentation = segmentationNode.GetSegmentation()
    proposed = {segmentID: segmentTag(segmentation.GetSegment(segmentID), HASH) for segmentID in segmentIDs}
    if not any(proposed.values()) or segmentation.GetSourceRepresentationName() != BINARY_LABELMAP:
        return {}
    anchor = anchorOf(segmentationNode)
    found = voxelsOfSegments(segmentationNode, proposed)
    return {
        segmentID: voxels
        for segmentID, voxels in found.items()
        if _hasFingerprint(voxels, anchor, proposed[segmentID])
    }


def isCompleted(segment: slicer.vtkSegment) -> bool:
    """Whether Slicer's segment status is "Completed"."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    return logic.GetSegmentStatus(segment) == logic.Completed


def setCompleted(segment: slicer.vtkSegment, completed: bool) -> None:
    """Sets Slicer's segment status to "Completed", with the time, or back to "In progress"."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(segment, logic.Completed if completed else logic.InProgress)
    if completed:
        segment.SetTag(COMPLETED, _now())
    else:
        segment.RemoveTag(COMPLETED)


def completedAt(segment: slicer.vtkSegment) -> str:
    """When it was completed in the panel, ISO 8601 in UTC; empty where it is not, or was elsewhere."""
    return segmentTag(segment, COMPLETED) if isCompleted(segment) else ""


def anchorOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> np.ndarray | None:
    """Origin in mm of the segmentation's reference geometry, from which places are noted; ``None`` without one.

    It is part of the segmentation: files keep it, and hardening a transform moves it with the segments.
    """
    lattice = referenceLattice(segmentationNode)
    return None if lattice is None else lattice[:3, 3]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _fingerprint(voxels: SegmentVoxels, anchor: np.ndarray | None) -> str:
    """The voxels' hash and their place, which a later look compares: ``hash@x,y,z``."""
    if voxels.isEmpty:
        return "empty"
    place = () if anchor is None else voxels.offsetFrom(anchor)
    return f"{voxels.hash()}@{','.join(f'{each:.2f}' for each in place)}"


def _hasFingerprint(voxels: SegmentVoxels, anchor: np.ndarray | None, noted: str) -> bool:
    """Whether these are the voxels noted, at the place noted; files round places a little."""
    present, before = _fingerprint(voxels, anchor).split("@"), noted.split("@")
    if len(present) != len(before) or present[0] != before[0]:
        return False
    places = [_numbers(each[-1].replace(",", " ")) for each in (present, before)]
    return not all(places) or bool(np.abs(np.subtract(*places)).max() < SAME_PLACE)


def _numbers(text: str) -> list[float]:
    """The numbers of a tag; none of one that holds something else, since anybody can write tags."""
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
