"""The figures of a segmentation as a table of the scene: one row per segment, kept up to date after edits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import slicer


def organTable(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    rows: Iterable[Mapping[str, Any]] = (),
) -> slicer.vtkMRMLTableNode:
    """Makes the table of a segmentation, or brings the one it has up to date.

    Args:
        segmentationNode: the segmentation.
        volumeNode: the scan that intensities are of.
        rows: ``organs`` of the worker's result, for organs that have no segment since they were not found.
    """


def refreshSegment(
    tableNode: slicer.vtkMRMLTableNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentID: str,
) -> None:
    """Brings the row of one segment up to date, after it was edited, added or removed."""


def tableToCsv(tableNode: slicer.vtkMRMLTableNode, path: Path | str) -> None:
    """Writes the table as a CSV file, as spreadsheets read it.

    Raises:
        SkcdfError: the file cannot be written.
    """
