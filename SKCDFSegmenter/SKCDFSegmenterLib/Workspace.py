"""What the panel and scripts share: the open project, the child processes, and the work that uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import slicer

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.project import Project

from .ChildProcess import ChildProcess
from .EngineCommand import choosePython, engineCommand
from .EngineLog import EngineLog
from .EngineWorker import EngineWorker
from .Installation import Installation
from .ModelCatalogue import ModelChoice, findChoice, modelChoices
from .PoolWork import PoolWork
from .Readiness import Readiness
from .RunOutcomes import RunOutcome
from .SegmentationQueue import SegmentationQueue
from .Signal import Signal
from .Teaching import Teaching, TrainingSettings
from .Texts import _
from .TrainingProcess import TrainingProcess
from .TrainingWords import nothingGainedAdvice, nothingGainedWords
from .VolumeSegmenter import SegmentationSettings, VolumeSegmenter


@dataclass(frozen=True)
class WorkspaceOptions:
    """What the section *Advanced* decides for all children.

    Attributes:
        pythonPath: the Python that runs the engine; empty: PythonSlicer.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        keepWarmMinutes: how long the worker keeps the model in memory.
    """

    pythonPath: str = ""
    device: str = "auto"
    keepWarmMinutes: int = 10


class Workspace:
    """Puts the parts together; has no widget and needs no event loop.

    Args:
        makeChild: makes a process that can be started.
        slicerHome: the application's folder, in which PythonSlicer lies.
        temporaryFolder: for volumes on their way to a child and back.
    """

    def __init__(
        self, makeChild: Callable[[], ChildProcess], slicerHome: Path | str, temporaryFolder: Path | str
    ) -> None:
        self._slicerHome = slicerHome
        self.options = WorkspaceOptions()
        self.project: Project | None = None
        self.projectChanged, self.poolChanged, self.modelsChanged = Signal(), Signal(), Signal()
        self.trainingChanged = Signal()
        self.worker = EngineWorker(self._workerCommand, makeChild)
        self.training = TrainingProcess(lambda: self.command([]), makeChild)
        self.makeChild, self.temporaryFolder = makeChild, temporaryFolder
        self.installation = Installation(lambda: self.command([]), makeChild)
        self._otherInstallation: Installation | None = None
        self.readiness: Readiness | None = None
        """What the last look at this computer has found; ``None`` before the first."""
        self.readinessChanged = Signal()
        self.segmenter = VolumeSegmenter(self.worker, temporaryFolder)
        self.queue = SegmentationQueue(self.segmenter)
        self.pool = PoolWork(self.worker, lambda: self.project, temporaryFolder)
        self.teaching = Teaching(self.training, self.worker, lambda: self.project)
        self.log = EngineLog(lambda: None if self.project is None else self.project.logs_folder)
        self.worker.logged.connect(self.log.hear)
        self.training.said.connect(self.log.hear)
        self.training.ended.connect(self.log.hearTraining)
        self.installation.failed.connect(self.log.write)
        self.pool.changed.connect(self.poolChanged.emit)
        self.teaching.modelsChanged.connect(self.modelsChanged.emit)
        self.teaching.changed.connect(self.trainingChanged.emit)

    def command(self, arguments: list[str]) -> list[str]:
        """Program and arguments of a child that runs ``skcdf`` with ``arguments``.

        Raises:
            SkcdfError: there is no PythonSlicer, or the chosen Python is not there.
        """
        return [*engineCommand(choosePython(self.options.pythonPath, self._slicerHome)), *arguments]

    def setOptions(self, options: WorkspaceOptions) -> None:
        """Takes other options; a warm worker that was started with the old ones ends when it is idle."""
        if options != self.options:
            self.options = replace(options)
            self.worker.restartWhenIdle()

    @property
    def checkingReadiness(self) -> bool:
        """Whether a look at this computer has not ended."""
        return self.installation.checking

    def checkReadiness(self) -> None:
        """Looks in a child process what is installed; `readinessChanged` tells its beginning and its end."""
        self.installation.check(self._onReadiness)
        self.readinessChanged.emit()

    def checkPython(self, python: str, onEnd: Callable[[Readiness], Any]) -> None:
        """Looks whether another Python has what is needed; a look at yet another one ends this one.

        Args:
            python: path of the program.
            onEnd: gets what was found, once.

        Raises:
            SkcdfError: it is no program.
        """
        command = engineCommand(choosePython(python, self._slicerHome))
        if self._otherInstallation is not None:
            self._otherInstallation.shutdown()
        self._otherInstallation = Installation(lambda: command, self.makeChild)
        self._otherInstallation.check(onEnd)

    def openProject(self, folder: Path | str) -> None:
        """Opens a project folder.

        Raises:
            SkcdfError: it is none; the project that was open stays open.
        """
        self._setProject(Project.open(folder))

    def createProject(
        self, folder: Path | str, labelSet: LabelSet, modality: str, name: str = "", synthetic: bool = False
    ) -> None:
        """Makes a project folder and opens it.

        Raises:
            SkcdfError: it cannot be made; the project that was open stays open.
        """
        self._setProject(Project.create(folder, labelSet, modality, name, synthetic))

    def closeProject(self) -> None:
        """Closes the project; its files stay."""
        self._setProject(None)

    def models(self) -> tuple[ModelChoice, ...]:
        """The models to choose from, best first."""
        return modelChoices(self.project)

    def segment(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        model: str = "",
        organs: Iterable[str] = (),
        region: slicer.vtkMRMLMarkupsROINode | None = None,
        device: str = "auto",
    ) -> slicer.vtkMRMLSegmentationNode:
        """Segments a volume and waits; see ``SKCDFSegmenterLogic.process``."""
        choice = findChoice(self.models(), model)
        if choice is None or (model and choice.reference != model):
            raise SkcdfError(
                _("There is no model called {name}.").format(name=model),
                _("workspace.models() lists those there are; a project's own need the project to be open."),
            )
        settings = SegmentationSettings(choice.reference, choice.store, tuple(organs), device)
        outcome = self.segmenter.segment(
            volumeNode, settings, region=region, segmentationNode=segmentationNode
        )
        return outcome.segmentationNode

    def addCase(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        checkedOrgans: Iterable[str],
        subject: str,
    ) -> dict[str, Any]:
        """Adds a case and waits; see ``SKCDFSegmenterLogic.addCase``."""
        request = self.pool.addCase(
            volumeNode, segmentationNode, checkedOrgans, subject, lambda _answer: None
        )
        return self.worker.wait(request).required

    def fineTune(self, settings: TrainingSettings | None = None) -> RunOutcome:
        """Trains and waits; see ``SKCDFSegmenterLogic.fineTune``."""
        self.teaching.start(settings or TrainingSettings())
        outcome = self.training.wait()
        brought = self.teaching.candidate
        if brought is None:
            raise outcome.error or SkcdfError(_("The training was stopped."), _("Resume it."))
        if not brought.version:
            raise SkcdfError(nothingGainedWords(brought), nothingGainedAdvice())
        return brought

    def tick(self) -> None:
        """To be called five times a second while something runs: what does not obey is ended."""
        self.worker.tick()
        self.training.tick()
        self.installation.tick()
        if self._otherInstallation is not None:
            self._otherInstallation.tick()

    def shutdown(self) -> None:
        """Ends all children; a training writes a checkpoint first."""
        self.segmenter.cancel()
        self.training.shutdown()
        self.worker.shutdown()
        self.installation.shutdown()
        if self._otherInstallation is not None:
            self._otherInstallation.shutdown()

    def _workerCommand(self) -> list[str]:
        options = self.options
        arguments = ["worker", "--device", options.device, "--idle-minutes", str(options.keepWarmMinutes)]
        return self.command(arguments)

    def _onReadiness(self, readiness: Readiness) -> None:
        self.readiness = readiness
        self.log.hearReadiness(readiness)
        self.readinessChanged.emit()

    def _setProject(self, project: Project | None) -> None:
        self.project = project
        self.teaching.restoreCandidate()
        self.projectChanged.emit()
        self.poolChanged.emit()
        self.modelsChanged.emit()
