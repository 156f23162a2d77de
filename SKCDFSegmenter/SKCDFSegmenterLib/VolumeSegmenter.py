"""Segments a volume of the scene in the worker and puts the result beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from skcdf.errors import SkcdfError
from skcdf.image import read_image
from skcdf.labels import Label
from skcdf.model_store import ModelStore, find_version_or_model
from skcdf.models import ModelBundle, default_model

from .EngineWorker import Answer, EngineWorker
from .LabelMapImport import segmentationFromLabelMap
from .RegionOfInterest import Box, regionBox
from .Signal import callSafely
from .TemporaryFolder import TemporaryFolder, sweep
from .Texts import _
from .VolumeImage import writeVolume
from .VolumeState import VolumeState

_logger = logging.getLogger(__name__)
Event = dict[str, Any]


@dataclass(frozen=True)
class SegmentationSettings:
    """How to segment.

    Attributes:
        model: folder, shipped model's name, or ``line`` or ``line@v3`` of ``store``; empty: the one that ships.
        store: folder of a model store; empty: none.
        organs: names of the organs wanted; empty: all.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        overlap: of windows, 0 up to 1; ``None``: the model's.
        memoryMiB: that may be used; ``None``: the engine's default.
        places: how many places that the model is least sure of are wanted.
    """

    model: str = ""
    store: str = ""
    organs: tuple[str, ...] = ()
    device: str = "auto"
    overlap: float | None = None
    memoryMiB: int | None = None
    places: int = 10


@dataclass(frozen=True)
class SegmentationOutcome:
    """How a run ended: ``segmentationNode``, ``error`` or ``cancelled``.

    Attributes:
        segmentationNode: holds the result; ``None`` after an error or cancel.
        error: what went wrong.
        cancelled: whether the user ended it; the scene is as it was.
        found: the organs that have a segment now.
        notFound: the organs asked for that the scan does not show.
        kept: organs that were left as they were, since somebody had edited or completed them.
        organs: the worker's row per organ: ``organ``, ``volume_ml``, ``mean``, ``sd``, ``pieces``, ``unsure``, …
        places: where the model is least sure, as the worker told them: positions in LPS, without parent transform.
        warnings: what makes the scan unlike those the model knows: ``code``, ``message``, ``hint``.
        notes: fall-backs to less memory or to the CPU.
        device, modelTitle: what has computed it.
        seconds: that computing took, reading and writing not counted.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
    error: SkcdfError | None = None
    cancelled: bool = False
    found: tuple[Label, ...] = ()
    notFound: tuple[Label, ...] = ()
    kept: tuple[Label, ...] = ()
    organs: tuple[Event, ...] = ()
    places: tuple[Event, ...] = ()
    warnings: tuple[Event, ...] = ()
    notes: tuple[str, ...] = ()
    device: str = ""
    modelTitle: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class CheckOutcome:
    """What is known before a run.

    Attributes:
        warnings: as in `SegmentationOutcome`.
        windows: how many the model will compute; ``None`` where unknown.
        seconds, memoryMiB: estimates of time and memory; ``None`` where unknown.
        measured: whether time was measured with this model on this computer, not guessed.
        device: that would compute it.
        error: why it cannot be segmented.
        cancelled: it was cancelled, or another check or a run has taken its place.
    """

    warnings: tuple[Event, ...] = ()
    windows: int | None = None
    seconds: float | None = None
    memoryMiB: float | None = None
    measured: bool = False
    device: str = ""
    error: SkcdfError | None = None
    cancelled: bool = False


class VolumeSegmenter:
    """Segments volumes, one at a time.

    Args:
        worker: who computes.
        temporaryFolder: where scan and label map lie while a run lasts; what dead processes have left there is swept.
    """

    def __init__(self, worker: EngineWorker, temporaryFolder: Path | str) -> None:
        self._worker, self._root = worker, Path(temporaryFolder)
        self._run: _Run | None = None
        self._checking: int | None = None
        sweep(self._root)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    def start(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        settings: SegmentationSettings,
        *,
        region: slicer.vtkMRMLMarkupsROINode | None = None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        keepEdited: bool = True,
        onProgress: Callable[[Event], None] | None = None,
        onFinished: Callable[[SegmentationOutcome], None] | None = None,
    ) -> int:
        """Starts a run and returns at once.

        Args:
            volumeNode: the scan.
            settings: how.
            region: what part of it; ``None``: all.
            segmentationNode: where the result goes; ``None``: a new node.
            keepEdited: leave edited organs of ``segmentationNode`` alone.
            onProgress: gets the worker's ``progress`` events: ``phase``, ``fraction``, ``eta_s``, ``note``.
            onFinished: is called once, on this thread, after the temporary files are gone.

        Returns:
            The worker's request.

        Raises:
            SkcdfError: a run is under way, or the volume, the region or the model cannot be used.
        """
        if self._run is not None:
            raise SkcdfError(
                _("A segmentation is running already."), _("Wait for it to finish, or cancel it.")
            )
        model = _model(settings)
        box = None if region is None else regionBox(region, volumeNode)
        folder = TemporaryFolder(self._root)
        run = _Run(folder, model, segmentationNode, keepEdited, settings.organs, onProgress, onFinished)
        try:
            run.state = _written(volumeNode, run.scan)
            fields = _fields(settings, model, box, run.scan)
            fields |= {"output": str(run.labels), "places": settings.places}
            if settings.memoryMiB is not None:
                fields["memory_mib"] = settings.memoryMiB
            self._stopChecking()
            self._run = run
            run.request = self._worker.request(
                "segment", fields, run.hear, lambda answer: self._finish(run, answer)
            )
        except BaseException:
            self._run = None
            folder.remove()
            raise
        return run.request

    def segment(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        settings: SegmentationSettings | None = None,
        **options: Any,
    ) -> SegmentationOutcome:
        """Segments a volume and waits for the result: for scripts.

        Args:
            volumeNode, settings, options: as of `start`.

        Raises:
            SkcdfError: it did not work, or was cancelled.
        """
        outcomes: list[SegmentationOutcome] = []
        onFinished = options.pop("onFinished", None)
        request = self.start(
            volumeNode, settings or SegmentationSettings(), onFinished=outcomes.append, **options
        )
        self._worker.wait(request)
        (outcome,) = outcomes
        if onFinished is not None:
            onFinished(outcome)
        if outcome.segmentationNode is None:
            raise outcome.error or SkcdfError(_("The segmentation was cancelled."), _("Start it again."))
        return outcome

    def cancel(self) -> None:
        """Ends the run, at the latest after two seconds; the scene stays as it was."""
        if self._run is not None:
            self._run.cancelled = True
            self._worker.cancel(self._run.request)

    def check(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        settings: SegmentationSettings,
        region: slicer.vtkMRMLMarkupsROINode | None,
        onFinished: Callable[[CheckOutcome], None],
    ) -> int:
        """Finds out what would be warned of and what a run would take; returns at once.

        It takes the place of an earlier check that has not ended.

        Args:
            volumeNode, settings, region: as of `start`.
            onFinished: is called once, on this thread.

        Returns:
            The worker's request.

        Raises:
            SkcdfError: the volume, the region or the model cannot be used.
        """
        self._stopChecking()
        model = _model(settings)
        box = None if region is None else regionBox(region, volumeNode)
        folder = TemporaryFolder(self._root)

        def finish(answer: Answer) -> None:
            folder.remove()
            superseded = self._checking != request
            self._checking = None if not superseded else self._checking
            callSafely(onFinished, _checkOutcome(answer, superseded))

        try:
            scan = folder.path / "scan.nrrd"
            _written(volumeNode, scan)
            request = self._worker.request("check", _fields(settings, model, box, scan), None, finish)
        except BaseException:
            folder.remove()
            raise
        self._checking = request
        return request

    def _stopChecking(self) -> None:
        """Lets go of a check; the worker is not killed for it, which might be loading the model that is wanted."""
        checking, self._checking = self._checking, None
        if checking is not None:
            self._worker.cancel(checking, force=False)

    def _finish(self, run: _Run, answer: Answer) -> None:
        try:
            outcome = run.outcome(answer)
        except SkcdfError as error:
            outcome = SegmentationOutcome(error=error, warnings=tuple(run.warnings))
        except Exception as error:  # the panel must learn that it has ended, whatever happens
            _logger.exception("the result cannot be placed")
            said = SkcdfError(
                _("Unexpected {error}").format(error=repr(error)), _("The log has the details.")
            )
            outcome = SegmentationOutcome(error=said)
        finally:
            self._run = None
            run.folder.remove()
        if run.onFinished is not None:
            callSafely(run.onFinished, outcome)


@dataclass(eq=False)
class _Run:
    """One run."""

    folder: TemporaryFolder
    model: ModelBundle
    segmentationNode: slicer.vtkMRMLSegmentationNode | None
    keepEdited: bool
    organs: tuple[str, ...]
    onProgress: Callable[[Event], None] | None
    onFinished: Callable[[SegmentationOutcome], None] | None
    state: VolumeState | None = None
    request: int = 0
    cancelled: bool = False
    warnings: list[Event] = field(default_factory=list)

    @property
    def scan(self) -> Path:
        """The volume's copy for the worker."""
        return self.folder.path / "scan.nrrd"

    @property
    def labels(self) -> Path:
        """The worker's label map."""
        return self.folder.path / "labels.nrrd"

    def hear(self, event: Event) -> None:
        """Takes an event of the request."""
        if event["event"] == "warning":
            self.warnings.append(event)
        elif event["event"] == "progress" and self.onProgress is not None:
            self.onProgress(event)

    def outcome(self, answer: Answer) -> SegmentationOutcome:
        """Puts the result into the scene.

        Raises:
            SkcdfError: the run has failed, or the result does not belong to the volume any more.
        """
        if answer.cancelled or self.cancelled:  # a result that came all the same is not wanted
            return SegmentationOutcome(cancelled=True)
        if answer.error is not None or answer.result is None:
            raise answer.error or SkcdfError(_("It failed."))
        assert self.state is not None
        self.state.requireUnchanged()
        return self._placed(self.state.volumeNode, answer.result)

    def _placed(self, volumeNode: slicer.vtkMRMLScalarVolumeNode, result: Event) -> SegmentationOutcome:
        name = f"{volumeNode.GetName()} segmentation ({self.model.name})"
        imported = segmentationFromLabelMap(read_image(self.labels), self.model.label_set, volumeNode, name)
        imported.segmentationNode.SetDescription(f"{result['model']}. {result['notice']}")
        return SegmentationOutcome(
            segmentationNode=imported.segmentationNode,
            found=imported.found,
            notFound=imported.notFound,
            organs=tuple(result["organs"]),
            places=tuple(result["places"]),
            warnings=tuple(result["warnings"]),
            notes=tuple(result["notes"]),
            device=result["device"],
            modelTitle=result["model"],
            seconds=result["seconds"],
        )


def _model(settings: SegmentationSettings) -> ModelBundle:
    """The model of this moment: another one may be promoted while it computes."""
    if not settings.model:
        return default_model()
    store = ModelStore.open(settings.store) if settings.store else None
    return find_version_or_model(settings.model, store)


def _written(volumeNode: slicer.vtkMRMLScalarVolumeNode, path: Path) -> VolumeState:
    writeVolume(volumeNode, path)
    return VolumeState(volumeNode, path)


def _fields(settings: SegmentationSettings, model: ModelBundle, box: Box | None, scan: Path) -> Event:
    """What ``segment`` and ``check`` have in common."""
    fields: Event = {"image": str(scan), "model": str(model.folder), "device": settings.device}
    if settings.organs:
        fields["organs"] = list(settings.organs)
    if box is not None:
        fields["region"] = [list(side) for side in box]
    if settings.overlap is not None:
        fields["overlap"] = settings.overlap
    return fields


def _checkOutcome(answer: Answer, superseded: bool) -> CheckOutcome:
    if answer.cancelled or superseded:
        return CheckOutcome(cancelled=True)
    if answer.result is None:
        return CheckOutcome(error=answer.error)
    result = answer.result
    return CheckOutcome(
        warnings=tuple(result.get("warnings") or ()),
        windows=result.get("windows"),
        seconds=result.get("seconds"),
        memoryMiB=result.get("memory_mib"),
        measured=bool(result.get("measured")),
        device=result.get("device") or "",
    )
