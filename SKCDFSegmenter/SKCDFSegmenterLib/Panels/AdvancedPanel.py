"""The section *Advanced*: where it is computed, command lines, models as files, and the user's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt

from ..CommandLines import ALONE, SCAN, commandLine, scanFile, segmentArguments
from ..ModelCatalogue import findChoice
from ..PanelSettings import segmentationSettings, trainingSettings
from ..RegionOfInterest import regionBox
from ..SetUpWords import missingInWords, versionsInWords
from ..Texts import _
from ..Workspace import Workspace, WorkspaceOptions
from .DeleteFiles import DeleteFiles
from .Dialogs import Dialogs
from .Installer import Installer
from .Lines import showLine
from .LogView import LogView
from .ModelExchange import ModelExchange
from .PythonChoice import PythonChoice
from .Section import Section

DEVICES = ("auto", "cuda", "mps", "cpu")


class AdvancedPanel(Section):
    """What few need, and nobody at first.

    Args:
        uiFolder: the folder of the ``.ui`` files.
        workspace: does the work.
        dialogs: questions to the user.
        installer: the panel's one installer.
    """

    def __init__(
        self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs, installer: Installer
    ) -> None:
        super().__init__(uiFolder, "AdvancedPanel", workspace, dialogs)
        self._installer = installer
        self._python = PythonChoice(self.ui, workspace, dialogs, self._onPythonChosen)
        self._files = DeleteFiles(self.ui, workspace, dialogs, self._guarded)
        self._models = ModelExchange(self.ui, workspace, dialogs, self._guarded)
        self._log = LogView(self.ui, workspace)
        self._repairing = False
        titles = {
            "auto": _("Automatic"),
            "cuda": _("Graphics card (NVIDIA)"),
            "mps": _("Graphics of a Mac"),
            "cpu": _("Processor (CPU)"),
        }
        for device in DEVICES:
            self.ui.deviceCombo.addItem(titles[device])
        self.ui.deviceCombo.connect("currentIndexChanged(int)", self._onDevice)
        self.ui.overlapCheckBox.connect("toggled(bool)", self._onOwnOverlap)
        self.ui.copySegmentButton.connect("clicked()", self._copySegment)
        self.ui.copyTrainButton.connect("clicked()", self._copyTrain)
        self.ui.showFilesButton.connect("clicked()", self._showFiles)
        self.ui.wheelsButton.connect("clicked()", self._installFromFolder)
        self.ui.repairButton.connect("clicked()", self._repair)
        self._installer.changed.connect(self._showInstallation)
        workspace.readinessChanged.connect(self._onReadiness)
        workspace.projectChanged.connect(self._onProjectChanged)
        self._onOwnOverlap(False)
        self._onProjectChanged()
        showLine(self.ui.commandLabel, "")
        self._showInstallation()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Binds the widgets to the scene's parameters, or to none."""
        super().setParameterNode(parameterNode)
        self._python.setParameterNode(parameterNode)
        self._models.parameterNode = parameterNode

    def parametersChanged(self) -> None:
        """Tells the children of other options."""
        if self.parameterNode is None:
            return
        self.ui.deviceCombo.currentIndex = DEVICES.index(self.parameterNode.device)
        self._onOwnOverlap(self.parameterNode.ownOverlap)
        self._python.parametersChanged()
        self._applyOptions()

    def cleanup(self) -> None:
        """Lets go of workspace and installer."""
        self._installer.changed.disconnect(self._showInstallation)
        self.workspace.readinessChanged.disconnect(self._onReadiness)
        self.workspace.projectChanged.disconnect(self._onProjectChanged)
        self._models.cleanup()
        self._log.cleanup()

    def _guarded(self, action: Callable[[], None]) -> None:
        with self.errorsShown():
            action()

    def _applyOptions(self) -> None:
        node = self.parameterNode
        if node is not None:
            options = WorkspaceOptions(self._python.path, node.device, node.keepWarmMinutes)
            self.workspace.setOptions(options)

    def _onPythonChosen(self) -> None:
        self._applyOptions()
        self.workspace.checkReadiness()  # what was known is of the other one

    def _onDevice(self, index: int) -> None:
        if self.parameterNode is not None:
            self.parameterNode.device = DEVICES[index]

    def _onOwnOverlap(self, own: bool) -> None:
        self.ui.overlapSlider.enabled = bool(own)

    def _onProjectChanged(self) -> None:
        isOpen = self.workspace.project is not None
        for button in (self.ui.copyTrainButton, self.ui.showFilesButton, self.ui.sizesButton):
            button.enabled = isOpen
        self._files.close()
        showLine(self.ui.filesLabel, "" if isOpen else _("No project folder is open."))

    def _copySegment(self) -> None:
        self._guarded(self._copySegmentLine)

    def _copySegmentLine(self) -> None:
        node = self.parameterNode
        choice = findChoice(self.workspace.models(), "" if node is None else node.modelReference)
        if node is None or choice is None:
            showLine(self.ui.commandLabel, _("There is no model to segment with."))
            return
        volume, region = node.inputVolume, node.region
        box = regionBox(region, volume) if region is not None and volume is not None else None
        self._copy(segmentArguments(volume, segmentationSettings(node, choice), box))
        text = _("Copied.")
        if not scanFile(volume):
            text += " " + _("The scan is in no file: put its file in the place of {name}.").format(name=SCAN)
        showLine(self.ui.commandLabel, text)

    def _copyTrain(self) -> None:
        self._guarded(self._copyTrainLine)

    def _copyTrainLine(self) -> None:
        if self.parameterNode is None:
            return
        project = self.workspace.pool.requireProject()
        settings = trainingSettings(self.parameterNode)
        self._copy(self.workspace.teaching.arguments(settings, project.new_run()))
        showLine(self.ui.commandLabel, _("Copied."))

    def _copy(self, arguments: list[str]) -> None:
        qt.QApplication.clipboard().setText(commandLine(self.workspace.command([ALONE, *arguments])))

    def _showFiles(self) -> None:
        self._guarded(self._openFolder)

    def _openFolder(self) -> None:
        root = str(self.workspace.pool.requireProject().root)
        if not qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(root)):
            showLine(self.ui.filesLabel, _("They are in {folder}").format(folder=root))

    def _installFromFolder(self) -> None:
        folder = self.dialogs.chooseFolder(_("Folder with the Python packages (.whl files)"))
        if folder:
            self._installer.startFromFolder(folder)

    def _repair(self) -> None:
        self._installer.failure = ""  # what was wrong then may have been mended by hand
        self._repairing = True
        self.workspace.checkReadiness()

    def _onReadiness(self) -> None:
        readiness = self.workspace.readiness
        if self._repairing and readiness is not None and not self.workspace.checkingReadiness:
            self._repairing = False
            plan = self.workspace.installation.installPlan(readiness)
            if readiness.error is None and not plan.nothing and not plan.byHand:
                self._installer.start(plan)
        self._showInstallation()

    def _showInstallation(self) -> None:
        readiness, installer = self.workspace.readiness, self._installer
        plan = None if readiness is None else self.workspace.installation.installPlan(readiness)
        missing = "" if readiness is None or plan is None else missingInWords(readiness, plan)
        busy = installer.running or self.workspace.checkingReadiness
        self.ui.repairButton.enabled = not busy and not installer.restartNeeded
        # What computes in another Python is not installed into Slicer's.
        self.ui.wheelsButton.enabled = not busy and not (plan is not None and plan.byHand)
        text = installer.step or (installer.failure if missing else "")
        if not text and self.workspace.checkingReadiness:
            text = _("Looking at what is installed …")
        elif not text and readiness is not None and plan is not None:
            nothing = _("There is nothing to repair.") if readiness.ready else ""
            text = " ".join(filter(None, (missing, versionsInWords(readiness), nothing, plan.byHand)))
        showLine(self.ui.installLabel, text)
