"""What is asked of a segmentation, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer

from skcdf.errors import SkcdfError
from skcdf.labels import Label

Event = dict[str, Any]
"""What the worker says, as `docs/worker.md` has it."""


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
