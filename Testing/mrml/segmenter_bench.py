"""A segmenter on the bench: a volume with something bright in it, real children, temporary files in plain sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import scans
from child_process import scripted
from worker_bench import Bench, benches

from SKCDFSegmenterLib.VolumeSegmenter import SegmentationOutcome, SegmentationSettings, VolumeSegmenter

OBLIQUE = scans.ijkToRASMatrix(angles=(11, -23, 7))
TABLE = scans.rigid((20, 10, -35), (12, -40, 65))
ORGAN = "left_kidney"
"""What the scripted engine finds."""


class SegmenterBench:
    """A segmenter, its worker, and what they said."""

    def __init__(self, worker: Bench, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.bench, self.worker, self.folder = worker, worker.worker, folder
        self.segmenter = VolumeSegmenter(worker.worker, folder)
        self.progress: list[dict[str, Any]] = []
        self.outcomes: list[SegmentationOutcome] = []

    def start(self, volumeNode: Any, settings: SegmentationSettings | None = None, **options: Any) -> None:
        self.segmenter.start(
            volumeNode,
            settings or SegmentationSettings(),
            onProgress=self.progress.append,
            onFinished=self.finish,
            **options,
        )

    def finish(self, outcome: SegmentationOutcome) -> None:
        assert self.files == [], "files are there when the end is told"
        self.outcomes.append(outcome)

    def end(self, seconds: float = 20.0) -> SegmentationOutcome:
        """Lets time pass until the run has ended."""
        self.bench.pump(lambda: self.outcomes, seconds)
        (outcome,) = self.outcomes
        assert not self.segmenter.running
        return outcome

    def begun(self) -> None:
        """Lets time pass until the worker is at it."""
        self.bench.pump(lambda: self.progress or self.outcomes)

    @property
    def files(self) -> list[Path]:
        """What lies in the temporary folder."""
        return list(self.folder.iterdir())


@contextmanager
def segmenterBenches(folder: Path) -> Iterator[Callable[..., SegmenterBench]]:
    """Yields what makes them: of the scripted engine with these options, or of a command."""
    with benches() as makeBench:
        yield lambda *options, command=None: SegmenterBench(
            makeBench(command=command or scripted("worker", *options)), folder
        )


def brightVolume(slicer: Any, makeVolume: Callable[..., Any]) -> Any:
    """A volume ``CT`` under a transform, on an oblique grid, dark but for a block."""
    volume = makeVolume(scans.SHAPE, OBLIQUE, TABLE)
    array = slicer.util.arrayFromVolume(volume)
    array[:] = 0
    array[2:5, 3:9, 4:12] = 1000
    slicer.util.arrayFromVolumeModified(volume)
    return volume


def numberOfSegmentations(slicer: Any) -> int:
    return slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
