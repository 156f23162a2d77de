"""Which volumes can be segmented, and which one the user is looking at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

COMPOSITE = "vtkMRMLSliceCompositeNode"
FIRST_VIEW = "Red"
SYNTHETIC = "SKCDF.Synthetic"
"""The attribute of a volume that shows nobody."""


def isSegmentable(node: slicer.vtkMRMLNode | None) -> bool:
    """Whether a node is a scan: one value per voxel, voxels, in the user's lists, and no label map."""
    # The exact class: label maps, colour images and vector fields are children of it.
    if node is None or node.GetClassName() != "vtkMRMLScalarVolumeNode" or node.GetHideFromEditors():
        return False
    image = node.GetImageData()
    return image is not None and 0 not in image.GetDimensions() and image.GetNumberOfScalarComponents() == 1


def isSynthetic(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a scan shows a phantom made by this program, and no person."""
    return volumeNode.GetAttribute(SYNTHETIC) is not None


def segmentableVolumes() -> tuple[slicer.vtkMRMLScalarVolumeNode, ...]:
    """The scans of the scene, in the order in which they were loaded."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return tuple(volume for volume in volumes if isSegmentable(volume))


def volumeOnScreen() -> slicer.vtkMRMLScalarVolumeNode | None:
    """The scan that the slice views show: the red one's background before its foreground, then the other views'.

    Where they show none, the scene's only scan; ``None`` where there is none, or a choice to make.
    """
    for node in _shown():
        if isSegmentable(node):
            return node
    volumes = segmentableVolumes()
    return volumes[0] if len(volumes) == 1 else None


def isOnScreen(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether any slice view shows the volume."""
    return any(node is volumeNode for node in _shown())


def _shown() -> Iterator[slicer.vtkMRMLNode | None]:
    views = slicer.util.getNodesByClass(COMPOSITE)
    for view in sorted(views, key=lambda view: view.GetLayoutName() != FIRST_VIEW):
        for nodeID in (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()):
            if nodeID:
                yield slicer.mrmlScene.GetNodeByID(nodeID)


class ScreenWatch(VTKObservationMixin):
    """Tells when the scene's volumes, or what the slice views show, may have changed.

    Args:
        onChange: called without arguments, often several times in a row.
    """

    def __init__(self, onChange: Callable[[], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._onChange = onChange

    def start(self) -> None:
        """Begins to watch."""
        self.stop()
        scene = slicer.mrmlScene
        for event in (
            scene.NodeAddedEvent,
            scene.NodeRemovedEvent,
            scene.EndImportEvent,
            scene.EndCloseEvent,
        ):
            self.addObserver(scene, event, self._onScene)
        self._watchViews()

    def stop(self) -> None:
        """Lets go of scene and views."""
        self.removeObservers()

    def _watchViews(self) -> None:
        for view in slicer.util.getNodesByClass(COMPOSITE):
            if not self.hasObserver(view, vtk.vtkCommand.ModifiedEvent, self._onView):
                self.addObserver(view, vtk.vtkCommand.ModifiedEvent, self._onView)

    def _onScene(self, caller: Any = None, event: Any = None) -> None:
        self._watchViews()
        self._onChange()

    def _onView(self, caller: Any = None, event: Any = None) -> None:
        self._onChange()
