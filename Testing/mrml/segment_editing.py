"""Edits as the Segment Editor makes them: through the logic that its effects use, undo and masking included."""

from __future__ import annotations

from typing import Any

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy


class SegmentEditor:
    """An editor of one segmentation.

    Args:
        slicer: the application's module.
        segmentation: what is edited.
        volume: the source volume.
    """

    def __init__(self, slicer: Any, segmentation: Any, volume: Any) -> None:
        self._slicer, self._segmentation = slicer, segmentation
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        history = slicer.vtkSegmentationHistory()
        history.SetSegmentation(segmentation.GetSegmentation())
        self._logic.SetSegmentationHistory(history)
        self._logic.SetSegmentEditorNode(self.node)
        self._logic.SetSegmentationNode(segmentation)
        self._logic.SetSourceVolumeNode(volume)

    def paint(self, segmentID: str, mask: np.ndarray) -> None:
        """Adds the voxels of ``mask``, which covers the volume, ``(z, y, x)``; other segments lose them."""
        self._modify(segmentID, mask, self._logic.ModificationModeAdd)

    def erase(self, segmentID: str, mask: np.ndarray) -> None:
        """Takes the voxels of ``mask`` away."""
        self._modify(segmentID, mask, self._logic.ModificationModeRemove)

    def undo(self) -> None:
        """Takes the last edit back."""
        self._logic.Undo()

    def _modify(self, segmentID: str, mask: np.ndarray, mode: int) -> None:
        self._logic.SetCurrentSegmentID(segmentID)
        self._logic.SaveStateForUndo()
        self._logic.ResetModifierLabelmapToDefault()
        labelMap = self._logic.GetModifierLabelmap()
        assert labelMap.GetDimensions() == mask.shape[::-1]
        vtk_to_numpy(labelMap.GetPointData().GetScalars()).reshape(mask.shape)[mask] = 1
        labelMap.Modified()
        self._logic.ModifySegmentByLabelmap(self._segmentation, segmentID, labelMap, mode, False, False)
