"""Where in the scan, and into which segmentation; what deviates from the usual is said in the options' title."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.util import VTKObservationMixin

from skcdf.errors import SkcdfError

from ..ModelCatalogue import ModelChoice
from ..OrganPlacement import planPlacement
from ..RegionPlacement import placeInMiddle, regionShare
from ..ResultWords import errorWords, namesWords
from ..Texts import _, plural
from .Lines import showLine


class RunOptions(VTKObservationMixin):
    """The rows *Region* and *Result*, and the title of the box that they are in.

    Args:
        ui: the section's widgets.
        onChange: called when something else is chosen, or the region was moved.
    """

    def __init__(self, ui: Any, onChange: Callable[[], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._ui, self._onChange = ui, onChange
        self._parameterNode: Any = None
        self._observed: Any = None
        ui.regionSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._onRegionAdded)
        ui.resultSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onResult)

    @property
    def region(self) -> slicer.vtkMRMLMarkupsROINode | None:
        """Where to segment; ``None``: everywhere."""
        return None if self._parameterNode is None else self._parameterNode.region

    @property
    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """Where the result goes; ``None``: into a new segmentation."""
        return self._ui.resultSelector.currentNode()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Takes the parameters of a scene, or none."""
        self._parameterNode = parameterNode
        self.parametersChanged()

    def parametersChanged(self) -> None:
        """Watches the region that the parameters name."""
        region = self.region
        if region is self._observed:
            return
        self.removeObservers()
        self._observed = region
        if region is not None:
            for event in (slicer.vtkMRMLMarkupsNode.PointModifiedEvent, region.TransformModifiedEvent):
                self.addObserver(region, event, self._onRegionMoved)

    def reset(self) -> None:
        """Goes back to a new segmentation: what was meant for one run is not meant for the next."""
        self._ui.resultSelector.setCurrentNode(None)

    def cleanup(self) -> None:
        """Lets go of the region."""
        self.removeObservers()
        self._observed = None

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        choice: ModelChoice | None,
        organs: tuple[str, ...] | None,
        several: bool,
    ) -> None:
        """Says in words what is chosen.

        Args:
            volumeNode: the scan.
            choice: the model.
            organs: the organs wanted; empty: all; ``None``: none are ticked.
            several: whether scans are segmented in a row.
        """
        self._ui.regionSelector.enabled = self._ui.resultSelector.enabled = not several
        showLine(self._ui.regionHint, self._regionWords(volumeNode, several))
        showLine(self._ui.resultHint, self._resultWords(choice, organs, several))
        self._ui.optionsBox.text = self._title(organs, several)

    def _title(self, organs: tuple[str, ...] | None, several: bool) -> str:
        parts = []
        if organs is None:
            parts.append(_("no organ"))
        elif organs:
            n = len(organs)
            parts.append(plural(_("{n} organ"), _("{n} organs"), n).format(n=n))
        if several:
            parts.append(_("several scans"))
        else:
            if self.region is not None:
                parts.append(_("region"))
            if self.segmentationNode is not None:
                parts.append(_("into an existing segmentation"))
        return _("Options: {what}").format(what=", ".join(parts)) if parts else _("Options")

    def _regionWords(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None, several: bool) -> str:
        if several:
            return _("Of scans in a row the whole is segmented.")
        if self.region is None or volumeNode is None:
            return ""
        try:
            percent = round(100 * regionShare(self.region, volumeNode))
        except SkcdfError as error:
            return errorWords(error)
        return _("{percent} % of the scan. Drag the box's handles in the slice views to change it.").format(
            percent=max(1, percent)
        )

    def _resultWords(self, choice: ModelChoice | None, organs: tuple[str, ...] | None, several: bool) -> str:
        node = self.segmentationNode
        if several:
            return _("Scans in a row get a new segmentation each.")
        if node is None or choice is None or organs is None:
            return ""
        try:
            plan = planPlacement(node, choice.bundle.label_set, organs)
        except SkcdfError as error:
            return errorWords(error)
        sentences = [_("Replaced are the organs that a model proposed and nobody has changed since.")]
        if plan.kept:
            titles = namesWords(label.title for label in plan.kept)
            sentences.append(_("Left as they are: {names}.").format(names=titles))
        sentences.append(_("Restore previous (2. Correct) takes it back."))
        return " ".join(sentences)

    def _onRegionAdded(self, node: slicer.vtkMRMLMarkupsROINode) -> None:
        volumeNode = None if self._parameterNode is None else self._parameterNode.inputVolume
        if volumeNode is not None and not all(node.GetSize()):  # one that has a place keeps it
            placeInMiddle(node, volumeNode)

    def _onRegionMoved(self, caller: Any = None, event: Any = None) -> None:
        self._onChange()

    def _onResult(self, node: Any = None) -> None:
        self._onChange()
