"""Step 1: from a scan to organs with one click."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from ..DeviceLine import deviceDetail, deviceLine
from ..PanelSettings import segmentationSettings
from ..ResultWords import deviceName
from ..SegmentationQueue import QueuedOutcome
from ..SetUpWords import neededFirst
from ..Texts import _
from ..Workspace import Workspace
from .CheckLine import CheckLine
from .Dialogs import Dialogs
from .Lines import showLine
from .ModelSelector import ModelSelector
from .ResultView import ResultView
from .RunControl import RunControl
from .RunOptions import RunOptions
from .ScanSelectors import ScanSelectors
from .Section import Section


class SegmentPanel(Section):
    """The section *1. Segment*."""

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, "SegmentPanel", workspace, dialogs)
        self._entered = self._ready = False
        self._chosen: Any = None
        self._ended = ""  # how the last run ended, until something else is chosen
        self._produced: slicer.vtkMRMLSegmentationNode | None = None  # while the module was closed
        self._scans = ScanSelectors(self.ui, self.widget, self.refresh)
        self._models = ModelSelector(self.ui, workspace, self.refresh)
        self._options = RunOptions(self.ui, self.refresh)
        self._check = CheckLine(self.ui, self.widget, workspace, self.refresh)
        self._run = RunControl(self.ui, workspace, self.segment, self._finished)
        self._result = ResultView(self.ui, dialogs)
        self._ready = True
        self.ui.segmentCollapsible.connect("contentsCollapsed(bool)", self._onCollapsed)
        workspace.worker.deviceChanged.connect(self.refresh)
        workspace.readinessChanged.connect(self.refresh)
        self.refresh()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Binds the section to the scene's parameters."""
        super().setParameterNode(parameterNode)
        for part in (self._scans, self._models, self._options):
            part.setParameterNode(parameterNode)
        if parameterNode is not None and self._entered:
            self._scans.enter()  # it let go of the scene that was closed
        if parameterNode is not None and self._produced is not None:
            produced, self._produced = self._produced, None
            if slicer.mrmlScene.IsNodePresent(produced):
                parameterNode.outputSegmentation = produced

    def parametersChanged(self) -> None:
        """Shows what the parameters say."""
        if self.parameterNode is None:
            return
        self._scans.compareWithScreen()
        self._models.parametersChanged()
        self._options.parametersChanged()
        self._result.showSegmentation(self.parameterNode.outputSegmentation)
        self.refresh()

    def enter(self) -> None:
        """The module was opened."""
        self._entered = True
        self._scans.enter()
        self.refresh()

    def exit(self) -> None:
        """Another module was opened; a run goes on."""
        self._entered = False
        self._scans.exit()
        self._check.pause()

    def sceneClosing(self) -> None:
        """Lets go of the scene; a run in it is ended."""
        self._run.cancel()
        self._produced, self._chosen, self._ended = None, None, ""
        self._scans.exit()
        self._scans.reset()
        self._options.reset()
        self._options.cleanup()
        self._check.stop()
        self._result.clear()

    def cleanup(self) -> None:
        """The application closes, or the module is loaded again."""
        self.workspace.worker.deviceChanged.disconnect(self.refresh)
        self.workspace.readinessChanged.disconnect(self.refresh)
        self._models.cleanup()
        self.sceneClosing()
        self.setParameterNode(None)

    def refresh(self) -> None:
        """Shows what is chosen and what can be done with it, and asks what is known of that."""
        if not self._ready:  # the parts are being made
            return
        scans, choice, organs = self._scans.scans, self._models.choice, self._models.organs
        self._options.show(scans[0] if scans else None, choice, organs, self._scans.several)
        self._models.showHint(scans)
        self._showDevice()
        missing = self._missing()
        chosen = None if missing else self._choices()
        if chosen != self._chosen:
            self._chosen, self._ended = chosen, ""
        if missing:
            self._check.stop()
        elif self._entered and not self._run.running and not self.ui.segmentCollapsible.collapsed:
            self._check.ask(*chosen[:3])
        warned = self._check.warned or not self._models.suits(scans)
        # How it ended comes first: of a run whose scan was closed, nothing else would tell it.
        self._run.show(not missing, warned, "\n".join(filter(None, (self._ended, missing))))

    def segment(self) -> None:
        """Starts a run with what is chosen."""
        with self.errorsShown():
            if self._missing():
                return
            self._check.pause()
            self._ended = ""
            self._run.start(*self._choices(), self._scans.several)

    def _choices(self) -> tuple[Any, ...]:
        """Scans, settings, region and the segmentation that the result goes into."""
        settings = segmentationSettings(self.parameterNode, self._models.choice)
        if self._scans.several:
            return (self._scans.scans, settings, None, None)
        return (self._scans.scans, settings, self._options.region, self._options.segmentationNode)

    def _missing(self) -> str:
        """What a run still needs, as a sentence; empty: nothing."""
        if not self._scans.scans or self.parameterNode is None:
            if self._scans.several:
                return _("Tick the scans that shall be segmented in a row.")
            return _("Choose a scan, or load one: drag its files or its folder onto this window.")
        if self._models.choice is None:
            return _("A model is needed: see above.")
        if self._models.organs is None:
            return _("Tick at least one organ, or take all that the model knows.")
        if self._torchIsMissing():
            return _("PyTorch is needed to segment: set it up at the top of this panel.")
        return neededFirst(self.workspace.readiness, ("safetensors",))

    def _torchIsMissing(self) -> bool:
        hello, readiness = self.workspace.worker.hello, self.workspace.readiness
        if hello is not None:
            return not hello.get("torch")
        return readiness is not None and readiness.torchState in ("missing", "half", "broken")

    def _showDevice(self) -> None:
        """Where it is computed; of a closed section, its title says so. What is lacking is said beside the button."""
        hello, isAutomatic = self.workspace.worker.hello, self.workspace.options.device == "auto"
        readiness = self.workspace.readiness if isAutomatic else None  # it was looked for the fastest
        text, detail = deviceLine(hello, readiness), deviceDetail(hello, readiness)
        isClosed = self.ui.segmentCollapsible.collapsed
        title = _("1. Segment (on {device})") if isClosed and text else _("1. Segment")
        self.ui.segmentCollapsible.text = title.format(device=deviceName(detail))
        self.ui.segmentCollapsible.toolTip = "\n".join(filter(None, (_("Find the organs in a scan."), text)))
        if not text and self.workspace.checkingReadiness:
            text = _("Looking at what this computer can compute with …")
        self.ui.deviceLabel.toolTip = detail
        showLine(self.ui.deviceLabel, text)

    def _onCollapsed(self, collapsed: bool) -> None:
        self.refresh()

    def _finished(self, outcomes: tuple[QueuedOutcome, ...]) -> None:
        ended = self._result.showOutcomes(outcomes)
        produced = [each.outcome.segmentationNode for each in outcomes if each.outcome.segmentationNode]
        if produced:
            self._options.reset()
            if self.parameterNode is None:
                self._produced = produced[-1]
            else:
                self.parameterNode.outputSegmentation = produced[-1]
        self.refresh()
        self._ended = ended
        self.refresh()
        with self.errorsShown():
            self._result.measure()
