"""What is known of scans before a run: warnings, time, memory; asked of the worker, one scan after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import slicer

from skcdf.errors import SkcdfError

from .EngineWorker import EngineWorker
from .VolumeSegmenter import CheckOutcome, SegmentationSettings, VolumeSegmenter


@dataclass(frozen=True)
class ScansOutcome:
    """What is known of all scans together.

    Attributes:
        warnings: lines: what makes a scan unlike those the model knows, and what to do.
        seconds: for all of them; ``None`` where it is not known of each.
        memoryMiB: the most that one of them needs; ``None`` where it is not known of each.
        device: that would compute them.
        errors: why scans cannot be segmented.
    """

    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    memoryMiB: float | None = None
    device: str = ""
    errors: tuple[SkcdfError, ...] = ()


@dataclass(eq=False)
class _Question:
    """Scans that are being asked about.

    Attributes:
        waiting: scans whose turn has not come.
        settings, region, onFinished: as of `ScanChecks.start`.
        request: the worker's, of the scan whose turn it is.
        known: the answers so far.
    """

    waiting: list[slicer.vtkMRMLScalarVolumeNode]
    settings: SegmentationSettings
    region: slicer.vtkMRMLMarkupsROINode | None
    onFinished: Callable[[ScansOutcome], None]
    request: int | None = None
    known: list[CheckOutcome] = field(default_factory=list)


class ScanChecks:
    """Checks scans in the background; what was asked last is what counts.

    Args:
        segmenter: asks the worker.
        worker: where a question is taken back.
    """

    def __init__(self, segmenter: VolumeSegmenter, worker: EngineWorker) -> None:
        self._segmenter, self._worker = segmenter, worker
        self._question: _Question | None = None

    @property
    def running(self) -> bool:
        """Whether an answer is on its way."""
        return self._question is not None

    def start(
        self,
        volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        settings: SegmentationSettings,
        region: slicer.vtkMRMLMarkupsROINode | None,
        onFinished: Callable[[ScansOutcome], None],
    ) -> None:
        """Asks about scans and returns at once; an earlier question is taken back.

        Args:
            volumeNodes: the scans.
            settings, region: as of `VolumeSegmenter.start`.
            onFinished: is called once, unless something else is asked or a run starts meanwhile.
        """
        self.stop()
        self._question = _Question(list(volumeNodes), settings, region, onFinished)
        self._next(self._question)

    def stop(self) -> None:
        """Takes the question back; nobody is told."""
        question, self._question = self._question, None
        if question is not None and question.request is not None:
            self._worker.cancel(question.request, force=False)

    def _next(self, question: _Question) -> None:
        def finish(outcome: CheckOutcome) -> None:
            if question is not self._question:
                return
            if outcome.cancelled:  # a run has begun
                self._question = None
                return
            question.known.append(outcome)
            self._next(question)

        while question.waiting:
            try:
                volumeNode = question.waiting.pop(0)
                question.request = self._segmenter.check(
                    volumeNode, question.settings, question.region, finish
                )
                return
            except SkcdfError as error:
                question.known.append(CheckOutcome(error=error))
        self._question = None
        question.onFinished(_together(question.known))


def _together(known: Sequence[CheckOutcome]) -> ScansOutcome:
    errors = tuple(each.error for each in known if each.error is not None)
    good = [each for each in known if each.error is None]
    seconds = [each.seconds for each in good if each.seconds is not None]
    memory = [each.memoryMiB for each in good if each.memoryMiB is not None]
    complete = bool(good) and not errors
    return ScansOutcome(
        tuple(f"{warning['message']} {warning['hint']}" for each in good for warning in each.warnings),
        sum(seconds) if complete and len(seconds) == len(good) else None,
        max(memory) if complete and len(memory) == len(good) else None,
        next((each.device for each in good if each.device), ""),
        errors,
    )
