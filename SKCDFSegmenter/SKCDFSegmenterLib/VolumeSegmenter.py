"""Segments a volume of the scene in the worker and puts the result beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from skcdf.errors import SkcdfError
from skcdf.model_store import ModelStore, find_version_or_model
from skcdf.models import ModelBundle, default_model

from .EngineWorker import Answer, EngineWorker
from .RegionOfInterest import Box, regionBox
from .SegmentationOutcome import CheckOutcome, Event, SegmentationOutcome, SegmentationSettings
from .SegmentationRun import SegmentationRun
from .Signal import callSafely
from .TemporaryFolder import TemporaryFolder, sweep
from .Texts import _
from .VolumeImage import geometryOfVolume, writeVolume
from .VolumeNames import namingVolume
from .VolumeState import VolumeState

__all__ = ["CheckOutcome", "SegmentationOutcome", "SegmentationSettings", "VolumeSegmenter"]

_logger = logging.getLogger(__name__)


class VolumeSegmenter:
    """Segments volumes, one at a time.

    Args:
        worker: who computes.
        temporaryFolder: where scan and label map lie while a run lasts; what dead processes have left there is swept.
    """

    def __init__(self, worker: EngineWorker, temporaryFolder: Path | str) -> None:
        self._worker, self._root = worker, Path(temporaryFolder)
        self._run: SegmentationRun | None = None
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
        with _unexpectedTold():
            box, model = _box(volumeNode, region), _model(settings)
            folder = TemporaryFolder(self._root)
            run = SegmentationRun(
                folder, model, settings.organs, box, segmentationNode, keepEdited, onProgress, onFinished
            )
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
        with _unexpectedTold():
            box, model = _box(volumeNode, region), _model(settings)
            folder = TemporaryFolder(self._root)
            scan, name = folder.path / "scan.nrrd", volumeNode.GetName()

            def finish(answer: Answer) -> None:
                folder.remove()
                superseded = self._checking != request
                self._checking = None if not superseded else self._checking
                callSafely(onFinished, _checkOutcome(namingVolume(answer, scan, name), superseded))

            try:
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

    def _finish(self, run: SegmentationRun, answer: Answer) -> None:
        try:
            assert run.state is not None  # nothing was asked before
            outcome = run.outcome(namingVolume(answer, run.scan, run.state.name))
        except SkcdfError as error:
            outcome = SegmentationOutcome(error=error, warnings=tuple(run.warnings))
        except Exception as error:  # the panel must learn that it has ended, whatever happens
            _logger.exception("the result cannot be placed")
            outcome = SegmentationOutcome(error=_unexpected(error))
        finally:
            self._run = None
            run.folder.remove()
        if run.onFinished is not None:
            callSafely(run.onFinished, outcome)


@contextmanager
def _unexpectedTold() -> Iterator[None]:
    """Whatever goes wrong is a sentence: who shows that something runs must learn that nothing does."""
    try:
        yield
    except SkcdfError:
        raise
    except Exception as error:
        _logger.exception("the scan cannot be sent to the worker")
        raise _unexpected(error) from error


def _unexpected(error: Exception) -> SkcdfError:
    text = _("Something unexpected went wrong: {error}.").format(error=repr(error))
    return SkcdfError(text, _("The log has the details."))


def _model(settings: SegmentationSettings) -> ModelBundle:
    """The model of this moment: another one may be promoted while it computes."""
    if not settings.model:
        return default_model()
    store = ModelStore.open(settings.store) if settings.store else None
    return find_version_or_model(settings.model, store)


def _box(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, region: slicer.vtkMRMLMarkupsROINode | None
) -> Box | None:
    geometryOfVolume(volumeNode)  # before a folder is made for a volume that has no voxels
    return None if region is None else regionBox(region, volumeNode)


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
