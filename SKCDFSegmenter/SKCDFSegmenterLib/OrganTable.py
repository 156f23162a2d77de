"""The figures of a segmentation as a table of the scene: a row for each segment, brought up to date after edits."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import slicer
import vtk

from skcdf.files import write_text
from skcdf.labels import organ_words

from .SegmentFigures import SegmentFigures, segmentFigures
from .SegmentRecord import SegmentState, provenance, segmentStates
from .Texts import _

TABLE_ROLE = "SKCDF.Table"
"""By which a segmentation node refers to its table."""
Row = dict[str, str]
"""The texts of a row, by the column's name."""


def organTable(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    rows: Iterable[Mapping[str, Any]] = (),
) -> slicer.vtkMRMLTableNode:
    """Makes the table of a segmentation, or brings the one that it has up to date.

    Figures are those of the segments as they are now, measured in the scan. Organs without a segment follow at the
    end if ``rows``, or the table so far, say that a model has looked for them and found nothing.

    Args:
        segmentationNode: the segmentation.
        volumeNode: the scan.
        rows: ``organs`` of the worker's result.

    Raises:
        SkcdfError: the scan has no usable grid, or the segments cannot be brought onto it.
    """
    known = {row["organ"]: row for row in rows}
    order = segmentationNode.GetSegmentation().GetSegmentIDs()
    present = _rowsOfSegments(segmentationNode, volumeNode, order, known)
    there = {organ_words(name) for row in present.values() for name in (row["organ"], row["segment"])}
    tableNode = tableOf(segmentationNode) or _newTable(segmentationNode)
    # One that was found and has no segment any more was removed by the user: nothing is to be said of it.
    notFound = {row["organ"]: row for row in _read(tableNode) if not row["segment"]}
    notFound |= {row["organ"]: row for row in map(_missingRow, known.values()) if row is not None}
    missing = [row for organ, row in notFound.items() if organ_words(organ) not in there]
    _write(tableNode, [*present.values(), *missing])
    return tableNode


def tableOf(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> slicer.vtkMRMLTableNode | None:
    """The table that a segmentation has, also after its scene was loaded; ``None`` where it has none."""
    return None if segmentationNode is None else segmentationNode.GetNodeReference(TABLE_ROLE)


def tableToCsv(tableNode: slicer.vtkMRMLTableNode, path: Path | str) -> None:
    """Writes the table as a CSV file.

    Raises:
        SkcdfError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_titles()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_read(tableNode))
    write_text(path, text.getvalue())


def _rowsOfSegments(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentIDs: Iterable[str],
    known: Mapping[str, Mapping[str, Any]],
) -> dict[str, Row]:
    """Their rows, by ID; ``known`` spares measuring what nobody has changed."""
    states = segmentStates(segmentationNode, segmentIDs)
    unchanged = {
        segmentID: known[segmentID]
        for segmentID, state in states.items()
        if state == "proposed" and segmentID in known
    }
    figures = segmentFigures(segmentationNode, volumeNode, states, unchanged)
    return {
        segmentID: _row(segmentationNode, segmentID, states[segmentID], figures[segmentID])
        for segmentID in states
    }


def _row(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentID: str,
    state: SegmentState,
    figures: SegmentFigures,
) -> Row:
    segment = segmentationNode.GetSegmentation().GetSegment(segmentID)
    origin = provenance(segment)
    states = {
        "proposed": _("proposed"),
        "edited": _("edited"),
        "completed": _("completed"),
        "foreign": _("drawn by hand"),
    }
    remarks = {
        "small": _("unusually small"),
        "large": _("unusually large"),
        "pieces": _("in several pieces"),
        "incomplete": _("incomplete"),
    }
    unsure = None if origin is None else origin.unsure
    return {
        "organ": segment.GetName(),
        "volume_ml": f"{figures.volumeMl:.2f}",
        "mean": _text(figures.mean),
        "sd": _text(figures.sd),
        "pieces": str(figures.pieces),
        "unsure_percent": "" if unsure is None else f"{100 * unsure:.1f}",
        "state": states[state],
        "model": origin.model if origin is not None else "",
        "remarks": "; ".join(remarks[flag] for flag in figures.flags),
        "segment": segmentID,
    }


def _missingRow(row: Mapping[str, Any]) -> Row | None:
    """That of an organ that a model has looked for and not found; ``None`` where it was found."""
    if row["volume_ml"]:
        return None
    blank = dict.fromkeys(_titles(), "")
    name = row["organ"].replace("_", " ").capitalize()
    found = {
        "organ": name,
        "volume_ml": "0.00",
        "pieces": "0",
        "state": _("not found"),
        "model": row["model"],
    }
    return {**blank, **found}


def _titles() -> dict[str, str]:
    """The titles of the columns, by their names, which are those of a CSV file."""
    return {
        "organ": _("Organ"),
        "volume_ml": _("Volume (mL)"),
        "mean": _("Mean"),
        "sd": _("SD"),
        "pieces": _("Pieces"),
        "unsure_percent": _("Unsure (%)"),
        "state": _("State"),
        "model": _("Model"),
        "remarks": _("Remarks"),
        "segment": _("Segment ID"),
    }


def _newTable(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLTableNode:
    name = _("{name} statistics").format(name=segmentationNode.GetName())
    tableNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.SetLocked(True)
    segmentationNode.SetNodeReferenceID(TABLE_ROLE, tableNode.GetID())
    return tableNode


def _write(tableNode: slicer.vtkMRMLTableNode, rows: list[Row]) -> None:
    kinds = {"volume_ml": vtk.vtkDoubleArray, "pieces": vtk.vtkIntArray}
    table = vtk.vtkTable()
    for name in _titles():
        column = kinds.get(name, vtk.vtkStringArray)()
        column.SetName(name)
        column.SetNumberOfValues(len(rows))
        for index, row in enumerate(rows):
            column.SetVariantValue(index, vtk.vtkVariant(row[name]))
        table.AddColumn(column)
    tableNode.SetAndObserveTable(table)
    for name, title in _titles().items():
        tableNode.SetColumnTitle(name, title)


def _read(tableNode: slicer.vtkMRMLTableNode) -> list[Row]:
    rows = []
    for index in range(tableNode.GetNumberOfRows()):
        cells = (tableNode.GetCellText(index, tableNode.GetColumnIndex(name)) for name in _titles())
        rows.append(dict(zip(_titles(), cells, strict=True)))
    return rows


def _text(value: float) -> str:
    return f"{value:z.1f}" if math.isfinite(value) else ""
