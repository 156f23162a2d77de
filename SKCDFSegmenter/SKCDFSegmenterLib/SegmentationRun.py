"""One run: what it needs until its result is in the scene, or is not wanted any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import slicer

from skcdf.image import read_image
from skcdf.models import ModelBundle

from .EngineWorker import Answer
from .LabelMapImport import placeResult
from .RegionOfInterest import Box
from .SegmentationOutcome import Event, SegmentationOutcome
from .SegmentRecord import ModelRecord
from .TemporaryFolder import TemporaryFolder
from .Texts import _
from .UnsurePlaces import storePlaces
from .VolumeState import VolumeState


@dataclass(eq=False)
class SegmentationRun:
    """One run.

    Attributes:
        folder: holds scan and label map.
        model: segments.
        organs: that are wanted; empty: all.
        box: that is computed; ``None``: everything.
        segmentationNode, keepEdited, onProgress, onFinished: as of `VolumeSegmenter.start`.
        state: what the volume was like at the start.
        request: the worker's.
        cancelled: whether the result is not wanted any more.
        warnings: that were told on the way.
    """

    folder: TemporaryFolder
    model: ModelBundle
    organs: tuple[str, ...]
    box: Box | None
    segmentationNode: slicer.vtkMRMLSegmentationNode | None
    keepEdited: bool
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
        elif event["event"] == "progress" and self.onProgress is not None and not self.cancelled:
            self.onProgress(event)

    def outcome(self, answer: Answer) -> SegmentationOutcome:
        """Puts the result into the scene.

        Raises:
            SkcdfError: the run has failed, or the result does not belong to the volume any more.
        """
        if answer.cancelled or self.cancelled:  # a result that came all the same is not wanted
            return SegmentationOutcome(cancelled=True)
        assert self.state is not None  # nothing was asked before
        result = answer.required
        self.state.requireUnchanged()
        return self._placed(self.state.volumeNode, result)

    def _placed(self, volumeNode: slicer.vtkMRMLScalarVolumeNode, result: Event) -> SegmentationOutcome:
        target, notes = self.segmentationNode, list(result["notes"])
        if target is not None and not slicer.mrmlScene.IsNodePresent(target):
            target = None
            notes.append(
                _("The chosen segmentation was closed meanwhile: the result is in a new segmentation.")
            )
        imported = placeResult(
            read_image(self.labels),
            self.model.label_set,
            volumeNode,
            name=f"{volumeNode.GetName()} segmentation ({self.model.name})",
            record=ModelRecord.ofResult(result, self.model.weights.sha256 if self.model.weights else ""),
            segmentationNode=target,
            organs=self.organs,
            keepEdited=self.keepEdited,
            region=self.box,
        )
        storePlaces(imported.segmentationNode, result["places"], self.organs)
        if target is None:
            imported.segmentationNode.SetDescription(f"{result['model']}. {result['notice']}")
        return SegmentationOutcome(
            segmentationNode=imported.segmentationNode,
            found=imported.found,
            notFound=imported.notFound,
            kept=imported.kept,
            organs=tuple(result["organs"]),
            places=tuple(result["places"]),
            warnings=tuple(result["warnings"]),
            notes=tuple(notes),
            device=result["device"],
            modelTitle=result["model"],
            seconds=result["seconds"],
        )
