"""The places of a segmentation where its model was least sure, and the views brought there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import slicer
import vtk

from .SegmentationFrame import frameOf, movementSince
from .SegmentRecord import isCompleted
from .VolumeImage import RAS_TO_LPS

PLACES, FRAME = "SKCDF.Places", "SKCDF.PlacesFrame"
"""Attributes of a segmentation node: its places as JSON, and the frame they are in; a saved scene keeps both."""


@dataclass(frozen=True)
class Place:
    """Somewhere to look.

    Attributes:
        organ: the label's name, which is its segment's ID.
        position: in mm, LPS, on the scan without its parent transform, as it lay when the place was stored.
        unsure: 0 to 1.
        volumeMl: volume of what is unsure there.
        reason: in words, after the organ's name.
    """

    organ: str
    position: tuple[float, float, float]
    unsure: float
    volumeMl: float
    reason: str


def storePlaces(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    rows: Iterable[Mapping[str, Any]],
    organs: Iterable[str] = (),
) -> None:
    """Keeps the places of a run with the segmentation.

    Args:
        segmentationNode: the run's result.
        rows: ``places`` of the worker's result, most useful first.
        organs: what the run was about; earlier places of other organs stay, behind the new ones. Empty: all.
    """
    new = [_placeOfRow(row) for row in rows]
    about = set(organs)
    kept = [
        replace(place, position=_positionNow(place, segmentationNode))
        for place in places(segmentationNode)
        if about and place.organ not in about
    ]
    content = [asdict(place) for place in (*new, *kept)]
    segmentationNode.SetAttribute(PLACES, json.dumps(content) if content else None)
    segmentationNode.SetAttribute(FRAME, frameOf(segmentationNode) if content else None)


def places(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> tuple[Place, ...]:
    """The places that a segmentation has, most useful first; none for one of another origin."""
    text = segmentationNode.GetAttribute(PLACES) if segmentationNode is not None else None
    try:
        rows = json.loads(text or "[]")
        return tuple(Place(**{**row, "position": _triple(row["position"])}) for row in rows)
    except (ValueError, TypeError, KeyError):
        return ()  # written by another version: no reason to trouble the user


def nextPlace(
    segmentationNode: slicer.vtkMRMLSegmentationNode | None, after: Place | None = None
) -> Place | None:
    """The place after that one, the first one after the last; ``None`` where every organ is completed."""
    everything = places(segmentationNode)
    start = everything.index(after) + 1 if after in everything else 0
    ahead = (*everything[start:], *everything[:start])
    return next((place for place in ahead if not _isDone(segmentationNode, place)), None)


def jumpTo(place: Place, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Brings all slice views and the cross-hair to a place, wherever parent transforms have moved the scan."""
    position = worldPosition(place, segmentationNode)
    scene = segmentationNode.GetScene()
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *position, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is None:
        return
    crosshair.SetCrosshairRAS(position)
    if crosshair.GetCrosshairMode() == crosshair.NoCrosshair:
        crosshair.SetCrosshairMode(crosshair.ShowBasic)


def worldPosition(
    place: Place, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> tuple[float, float, float]:
    """Where a place is in the world: RAS in mm, as the slice views have it."""
    x, y, z = _positionNow(place, segmentationNode)
    toWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        segmentationNode.GetParentTransformNode(), None, toWorld
    )
    return toWorld.TransformPoint(-x, -y, z)


def _positionNow(
    place: Place, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> tuple[float, float, float]:
    """Where a place is in the segmentation's frame, LPS, after transforms that were hardened."""
    moved = movementSince(segmentationNode, segmentationNode.GetAttribute(FRAME) or "")
    return _triple((RAS_TO_LPS @ moved @ RAS_TO_LPS @ [*place.position, 1.0])[:3])


def _isDone(segmentationNode: slicer.vtkMRMLSegmentationNode, place: Place) -> bool:
    segment = segmentationNode.GetSegmentation().GetSegment(place.organ)
    return segment is not None and isCompleted(segment)


def _placeOfRow(row: Mapping[str, Any]) -> Place:
    return Place(row["organ"], _triple(row["position"]), row["unsure"], row["volume_ml"], row["reason"])


def _triple(numbers: Iterable[float]) -> tuple[float, float, float]:
    x, y, z = (float(number) for number in numbers)
    return x, y, z
