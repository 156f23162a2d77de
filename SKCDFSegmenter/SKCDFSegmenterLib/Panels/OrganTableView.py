"""The figures of a segmentation's organs, for reading: the table of the scene in fewer and shorter columns."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

from skcdf.errors import SkcdfError

from ..OrganTable import organTable, tableOf, tableToCsv
from ..ResultWords import errorWords
from ..SegmentRecord import isCompleted
from ..Texts import _
from .Dialogs import Dialogs
from .Lines import showLine

REFERENCE_VOLUME = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
CHANGES = (
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
)


class OrganTableView(VTKObservationMixin):
    """Table, *Export CSV* and *Update*.

    Args:
        ui: the section's widgets.
        dialogs: asks for the name of a file.
    """

    def __init__(self, ui: Any, dialogs: Dialogs) -> None:
        VTKObservationMixin.__init__(self)
        self._ui, self._dialogs = ui, dialogs
        self._segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        self._rows: tuple[dict[str, Any], ...] = ()
        self._segments: list[tuple[str, bool]] = []
        ui.exportButton.connect("clicked()", self._export)
        ui.updateTableButton.connect("clicked()", self.measure)
        ui.organTable.setColumnCount(len(_columns()))
        for column, (title, toolTip) in enumerate(_columns()):
            item = qt.QTableWidgetItem(title)
            item.setToolTip(toolTip)
            ui.organTable.setHorizontalHeaderItem(column, item)
        ui.organTable.verticalHeader().setVisible(False)
        ui.organTable.horizontalHeader().setStretchLastSection(True)

    def setSegmentation(
        self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, rows: tuple[dict[str, Any], ...] = ()
    ) -> None:
        """Shows the table that a segmentation has; without one, how to get it.

        Args:
            segmentationNode: the segmentation; ``None``: none.
            rows: ``organs`` of the worker's result, where a run has just made it.
        """
        self.removeObservers()
        self._segmentationNode, self._rows = segmentationNode, rows
        if segmentationNode is not None:
            for event in CHANGES:
                self.addObserver(segmentationNode, event, self._onChanged)
            self.addObserver(
                segmentationNode, slicer.vtkSegmentation.SegmentModified, self._onSegmentModified
            )
        self._fill()

    def measure(self) -> None:
        """Measures the organs as they are now; figures of the run are taken where nobody has changed anything."""
        node = self._segmentationNode
        if node is None:
            return
        volumeNode = node.GetNodeReference(REFERENCE_VOLUME)
        if volumeNode is None:
            self._hint(_("The scan of this segmentation is not loaded, so nothing can be measured."))
            return
        try:
            organTable(node, volumeNode, self._rows)
        except SkcdfError as error:
            self._hint(errorWords(error))
            return
        self._fill()

    def _fill(self) -> None:
        table, tableNode = self._ui.organTable, tableOf(self._segmentationNode)
        self._segments = _namesAndStates(self._segmentationNode)
        rows = [] if tableNode is None else _texts(tableNode)
        table.setVisible(bool(rows))
        self._ui.exportButton.enabled = bool(rows)
        self._ui.updateTableButton.text = _("Update") if rows else _("Measure")
        table.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        table.resizeRowsToContents()
        self._hint(
            "" if rows or self._segmentationNode is None else _("Press Measure for the organs' figures.")
        )

    def _onChanged(self, caller: Any = None, event: Any = None) -> None:
        if tableOf(self._segmentationNode) is not None:
            self._hint(_("The segmentation has changed since: press Update for new figures."))

    def _onSegmentModified(self, caller: Any = None, event: Any = None) -> None:
        """Slicer tells of surfaces and colours by this event, too, and these have no figures."""
        if _namesAndStates(self._segmentationNode) != self._segments:
            self._onChanged()

    def _hint(self, text: str) -> None:
        showLine(self._ui.tableHint, text)

    def _export(self) -> None:
        name = f"{self._segmentationNode.GetName()}.csv"
        path = self._dialogs.chooseSaveFile(_("Export the table"), name, _("Tables (*.csv)"))
        if not path:
            return
        try:
            tableToCsv(tableOf(self._segmentationNode), path)
        except SkcdfError as error:
            self._hint(errorWords(error))
            return
        self._hint(_("Saved as {path}.").format(path=path))


def _namesAndStates(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> list[tuple[str, bool]]:
    """Of every segment its name, and whether it is completed."""
    if segmentationNode is None:
        return []
    segmentation = segmentationNode.GetSegmentation()
    segments = (segmentation.GetSegment(each) for each in segmentation.GetSegmentIDs())
    return [(segment.GetName(), isCompleted(segment)) for segment in segments]


def _columns() -> list[tuple[str, str]]:
    """Titles and what they mean."""
    return [
        (_("Organ"), _("Name of the segment.")),
        (_("mL"), _("Volume in mL.")),
        (_("Mean ± SD"), _("Of the scan's intensities inside the organ; HU in CT.")),
        (_("Remarks"), _("What is unusual. Incomplete: the edge of the scan cuts the organ off.")),
        (_("State"), _("Whether the organ is as the model proposed it.")),
        (_("Unsure"), _("Share of its voxels that the model was unsure of.")),
        (_("Pieces"), _("Separate pieces.")),
        (_("Model"), _("Name and version of the model that proposed it.")),
    ]


def _texts(tableNode: slicer.vtkMRMLTableNode) -> list[list[str]]:
    """The rows of `_columns`."""
    rows = []
    for index in range(tableNode.GetNumberOfRows()):
        cells = {
            name: tableNode.GetCellText(index, tableNode.GetColumnIndex(name))
            for name in (
                "organ",
                "volume_ml",
                "mean",
                "sd",
                "remarks",
                "state",
                "unsure_percent",
                "pieces",
                "model",
            )
        }
        intensity = f"{cells['mean']} ± {cells['sd']}" if cells["mean"] else ""
        unsure = f"{cells['unsure_percent']} %" if cells["unsure_percent"] else ""
        volume = _number(cells["volume_ml"])
        rows.append(
            [
                cells["organ"],
                volume,
                intensity,
                cells["remarks"],
                cells["state"],
                unsure,
                cells["pieces"],
                cells["model"],
            ]
        )
    return rows


def _number(text: str) -> str:
    """A volume, with a decimal where it matters."""
    value = float(text or 0)
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
