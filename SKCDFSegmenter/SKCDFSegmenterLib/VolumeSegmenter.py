"""Segments a volume of the scene in a child process and puts the result beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import slicer

from skcdf.errors import SkcdfError
from skcdf.image import read_image
from skcdf.models import default_model

from .EngineProcess import EngineProcess
from .LabelMapImport import ImportedLabelMap, segmentationFromLabelMap
from .VolumeImage import writeVolume


@dataclass(frozen=True)
class SegmentationOutcome:
    """How a run ended.

    Attributes:
        imported: what is in the scene now; ``None`` after an error or cancel.
        error: what went wrong; ``None`` after success or cancel.
        warnings: what makes the scan unlike those the model knows, and fall-backs to less memory or the CPU.
    """

    imported: ImportedLabelMap | None = None
    error: SkcdfError | None = None
    warnings: tuple[str, ...] = ()

    @property
    def cancelled(self) -> bool:
        """Whether the user ended it."""
        return self.imported is None and self.error is None


class VolumeSegmenter:
    """Runs ``skcdf segment`` on volumes, one at a time.

    Args:
        engine: the engine's command line.
        temporaryFolder: where scan and label map lie while a run lasts; they are deleted at its end.
    """

    def __init__(self, engine: EngineProcess, temporaryFolder: Path | str) -> None:
        self._engine = engine
        self._temporaryFolder = str(temporaryFolder)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._engine.running

    def start(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        onProgress: Callable[[str], None],
        onFinished: Callable[[SegmentationOutcome], None],
    ) -> None:
        """Starts a run and returns at once.

        Args:
            volumeNode: the scan.
            onProgress: gets the engine's lines of progress.
            onFinished: is called once, on the thread of this call, after the temporary files are gone.

        Raises:
            SkcdfError: a run is under way, or the volume cannot be segmented.
        """
        if self.running:
            raise SkcdfError("A segmentation is running already.", "Wait for it to finish, or cancel it.")
        folder = tempfile.TemporaryDirectory(
            prefix="skcdf-", dir=self._temporaryFolder, ignore_cleanup_errors=True
        )
        scan, labelMap = Path(folder.name) / "scan.nrrd", Path(folder.name) / "labels.nrrd"
        volumeID = volumeNode.GetID()

        def finish(error: SkcdfError | None, cancelled: bool) -> None:
            with folder:
                outcome = SegmentationOutcome(error=error)
                if error is None and not cancelled:
                    outcome = replace(_import(labelMap, volumeID), warnings=self._engine.warnings)
            onFinished(outcome)

        try:
            writeVolume(volumeNode, scan)
            arguments = ["segment", str(scan), str(labelMap), "--device", "auto"]
            self._engine.start(arguments, onProgress, finish)
        except SkcdfError:
            folder.cleanup()
            raise

    def segment(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> ImportedLabelMap:
        """Segments a volume and waits for the result: for scripts.

        Raises:
            SkcdfError: it did not work.
        """
        outcomes: list[SegmentationOutcome] = []
        self.start(volumeNode, lambda _line: None, outcomes.append)
        self.wait()
        (outcome,) = outcomes
        if outcome.imported is None:
            raise outcome.error or SkcdfError("The segmentation was cancelled.", "Start it again.")
        return outcome.imported

    def wait(self) -> None:
        """Waits until the run has ended and its outcome was reported."""
        self._engine.wait()

    def cancel(self) -> None:
        """Ends the run; the scene stays as it was."""
        self._engine.cancel()


def _import(labelMap: Path, volumeID: str) -> SegmentationOutcome:
    """Puts the result into the scene, if the volume is still there."""
    volumeNode = slicer.mrmlScene.GetNodeByID(volumeID)
    try:
        if volumeNode is None:
            raise SkcdfError("The volume was closed while it was segmented.", "Load it and segment it again.")
        model = default_model()
        name = f"{volumeNode.GetName()} segmentation ({model.name})"
        imported = segmentationFromLabelMap(read_image(labelMap), model.label_set, volumeNode, name)
        imported.segmentationNode.SetDescription(f"{model.name} {model.version}. {model.notice}")
        return SegmentationOutcome(imported)
    except SkcdfError as error:
        return SegmentationOutcome(error=error)
