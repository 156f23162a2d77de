"""Fine-tuning from the project's pool: start, stop, resume, and whether the new model replaces the old one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skcdf.errors import SkcdfError
from skcdf.project import Project, RunState

from .EngineWorker import EngineWorker
from .ModelCatalogue import modelChoices
from .RunOutcomes import RunOutcome, runOutcome, undecidedOutcome
from .Signal import Signal
from .Texts import _
from .TrainingChoices import startReference
from .TrainingProcess import TrainingOutcome, TrainingProcess


@dataclass(frozen=True)
class TrainingSettings:
    """What the user chooses of a training.

    Attributes:
        startFrom: a model's reference; ``none``: from none; empty: what suits the pool, as `startReference` has it.
        method: ``supervised``, ``skcdf``; empty: what suits the pool and the computer.
        preset: ``quick``, ``standard``, ``published``.
        timeBudgetMinutes: everything ends within this time; 0: no limit.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
    """

    startFrom: str = ""
    method: str = ""
    preset: str = "standard"
    timeBudgetMinutes: int = 30
    device: str = "auto"


class Teaching:
    """One training at a time, in a child process of its own.

    Args:
        training: the child.
        worker: is asked to let go of GPU memory before a training starts.
        project: gives the project that is open, or ``None``.
    """

    def __init__(
        self, training: TrainingProcess, worker: EngineWorker, project: Callable[[], Project | None]
    ) -> None:
        self._training, self._worker, self._project = training, worker, project
        self.runFolder: Path | None = None
        self.candidate: RunOutcome | None = None
        """What the last training that came to its end has brought, until the user has decided; maybe nothing new."""
        self.trained: Path | None = None
        """The project of the last training; another one may have been opened since."""
        self.changed, self.ended, self.modelsChanged = Signal(), Signal(), Signal()
        """Of these, ``changed`` tells beginnings and ends of trainings."""
        training.ended.connect(self._onEnded)

    @property
    def running(self) -> bool:
        """Whether a training is under way."""
        return self._training.running

    @property
    def process(self) -> TrainingProcess:
        """The child: its signals tell how it goes."""
        return self._training

    def arguments(self, settings: TrainingSettings, runFolder: Path) -> list[str]:
        """The training as arguments of ``skcdf``, as a user could give them in a terminal.

        Raises:
            SkcdfError: no project is open, or the model to start from is not there.
        """
        project = self._requireProject()
        start = startReference(settings.startFrom, modelChoices(project), project)
        arguments = ["finetune", str(project.pool_folder), str(runFolder)]
        arguments += ["--store", str(project.store_folder), "--name", project.line()]
        arguments += ["--preset", settings.preset, "--device", settings.device]
        if start:
            arguments += ["--model", start]
        if settings.method:
            arguments += ["--method", settings.method]
        if settings.timeBudgetMinutes:
            arguments += ["--time-budget", f"{settings.timeBudgetMinutes}m"]
        return arguments

    def start(self, settings: TrainingSettings) -> None:
        """Starts a training and returns at once.

        Raises:
            SkcdfError: no project is open, nothing to train on, the model to start from is not there, or a training
                runs already.
        """
        project = self._requireProject()
        counts = project.counts()
        if counts.labelled + counts.partly == 0:
            raise SkcdfError(
                _("The pool has no labelled case to train on."),
                _("Correct a segmentation and add it to the pool, or import annotated cases."),
            )
        self._begin(project.new_run(), lambda folder: self.arguments(settings, folder))

    def resumable(self) -> RunState | None:
        """The newest run of the project that was stopped before its end and on which nobody works."""
        project = self._project()
        run = project.unfinished_run() if project is not None and not self.running else None
        return None if run is None or run.running else run

    def resume(self, device: str = "auto") -> None:
        """Goes on with the newest run that was stopped before its end.

        Args:
            device: where to compute, as in `TrainingSettings`; all else is the run's own.

        Raises:
            SkcdfError: there is none, or a training runs already.
        """
        project = self._requireProject()
        run = self.resumable()
        if run is None and not self.running:
            raise SkcdfError(_("There is no stopped training to go on with."), _("Press Train."))
        folder = run.folder if run is not None else project.runs_folder
        given = ["--resume", "--device", device]
        self._begin(folder, lambda folder: ["finetune", str(project.pool_folder), str(folder), *given])

    def stop(self) -> None:
        """Asks the training to write a checkpoint and end; within 15 s it has."""
        self._training.stop()

    def useCandidate(self) -> None:
        """The new model becomes the one in use.

        Raises:
            SkcdfError: there is none, or the store cannot be written.
        """
        candidate = self._requireCandidate()
        if not candidate.version:
            raise SkcdfError(
                _("The training has made no new model: nothing was gained."),
                _("Train longer, or with more cases."),
            )
        self.promote(f"{candidate.line}@{candidate.version}")

    def keepOld(self) -> None:
        """The model in use stays; the new one remains a candidate in the list of versions.

        Raises:
            SkcdfError: there is none, or the decision cannot be written down.
        """
        candidate = self._requireCandidate()
        if candidate.folder.is_dir():  # it may have been deleted meanwhile
            candidate.keepOld()
        self.candidate = None
        self.modelsChanged.emit()

    def restoreCandidate(self) -> None:
        """After a project was opened: the outcome of its last training, if nobody has decided on it yet."""
        project = self._project()
        self.candidate = undecidedOutcome(project) if project is not None else None

    def rollBack(self) -> None:
        """The model that was in use before comes back.

        Raises:
            SkcdfError: there is none.
        """
        project = self._requireProject()
        project.store().roll_back(project.line())
        self.modelsChanged.emit()

    def promote(self, reference: str) -> None:
        """Puts any version into use, ``line@v3``.

        Raises:
            SkcdfError: there is no such version.
        """
        line, version = reference.split("@")
        self._requireProject().store().promote(line, version)
        if self.candidate is not None and (self.candidate.line, self.candidate.version) == (line, version):
            self.candidate = None
        self.modelsChanged.emit()

    def _begin(self, runFolder: Path, arguments: Callable[[Path], list[str]]) -> None:
        if self.running:
            raise SkcdfError(_("A training is running already."), _("Wait for its end, or stop it."))
        command = arguments(runFolder)
        if self._worker.hello is not None:  # it holds the model, maybe on the GPU that the training needs
            self._worker.request("release", {})
        self._training.start(command)
        self.runFolder, self.candidate = runFolder, None
        self.trained = self._requireProject().root
        self.changed.emit()

    def _onEnded(self, outcome: TrainingOutcome) -> None:
        project = self._project()
        # Another project may be open by now: the outcome is found again when this one is opened.
        if project is not None and project.root == self.trained and self.runFolder is not None:
            self.candidate = runOutcome(self.runFolder, outcome.result)
            if self.candidate is not None:
                self.modelsChanged.emit()
        self.changed.emit()
        self.ended.emit(outcome)

    def _requireProject(self) -> Project:
        project = self._project()
        if project is None:
            raise SkcdfError(
                _("No project folder is open."), _("Open or create one at the top of the panel.")
            )
        return project

    def _requireCandidate(self) -> RunOutcome:
        if self.candidate is None:
            raise SkcdfError(_("There is no new model to decide on."), _("Train one first."))
        return self.candidate
