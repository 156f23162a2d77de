"""How segments are shown: surfaces that stay up to date, and each segment's own opacities and visibilities."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import slicer

from .SegmentLabelMaps import CLOSED_SURFACE

DisplayProperties = dict[str, bool | float]

_PROPERTIES = (
    *("Visibility", "Visibility3D", "Visibility2DFill", "Visibility2DOutline", "Pickable"),
    *("Opacity3D", "Opacity2DFill", "Opacity2DOutline"),
)


@contextlib.contextmanager
def surfacesKept(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Iterable[str]
) -> Iterator[None]:
    """While segments are changed; afterwards those have surfaces again, if the segmentation had any.

    Views are told once, at the end.
    """
    segmentation = segmentationNode.GetSegmentation()
    hadSurfaces = segmentation.ContainsRepresentation(CLOSED_SURFACE)
    wasModifying = segmentationNode.StartModify()
    try:
        yield
        if hadSurfaces:
            changed = set(segmentIDs)
            for segmentID in segmentation.GetSegmentIDs():
                segment = segmentation.GetSegment(segmentID)
                # Others lose theirs, too, when a label map that they share is changed.
                if segmentID in changed or segment.GetRepresentation(CLOSED_SURFACE) is None:
                    segment.RemoveRepresentation(CLOSED_SURFACE)
            segmentation.CreateRepresentation(CLOSED_SURFACE)
    finally:
        segmentationNode.EndModify(wasModifying)


def displayProperties(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentID: str) -> DisplayProperties:
    """How a segment is shown; empty where the segmentation has no display node."""
    display = segmentationNode.GetDisplayNode()
    if display is None:
        return {}
    return {name: getattr(display, f"GetSegment{name}")(segmentID) for name in _PROPERTIES}


def setDisplayProperties(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentID: str, properties: DisplayProperties
) -> None:
    """Shows a segment as another time; see `displayProperties`."""
    display = segmentationNode.GetDisplayNode()
    if display is not None:
        for name, value in properties.items():
            getattr(display, f"SetSegment{name}")(segmentID, value)
