"""What is measured: a method and the size of its step."""

from __future__ import annotations

import re
from dataclasses import dataclass

PLAIN = "plain"
"""The transcription of SKCDF's equations, `reference/skcdf_plain.py`."""


@dataclass(frozen=True)
class Case:
    """One configuration.

    Attributes:
        row: ``method[:compat][+plugin]``; the method `PLAIN` is no method of the engine.
        filters: of the network's first stage.
        patch: ``(z, y, x)`` voxels.
        classes: background included.
        batch: labelled patches a step, and as many unlabelled ones.
        device, precision: as the engine names them; `PLAIN` knows float32 alone.
        threads: of the processor; 0: torch decides.
        steps: that are timed.
        warm_up: steps before them.
        augmentation: as in a training's settings; its time is part of the step's.
    """

    row: str
    filters: int
    patch: tuple[int, int, int]
    classes: int
    batch: int = 2
    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 0
    steps: int = 1
    warm_up: int = 1
    augmentation: str = "none"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w+(:(corrected|published))?(\+\w+)?", self.row):
            raise ValueError(f"{self.row} is not method[:compat][+plugin]")

    @property
    def method(self) -> str:
        """Its name."""
        return re.split("[:+]", self.row)[0]

    @property
    def compat(self) -> str:
        """The face of the method."""
        return "published" if ":published" in self.row else "corrected"

    @property
    def plugin(self) -> str:
        """Its name, or ``none``."""
        return self.row.partition("+")[2] or "none"


@dataclass(frozen=True)
class Outcome:
    """What one process measured.

    Attributes:
        seconds: of each timed step, wall clock.
        cpu_seconds: of each, all threads; on a busy machine they vary less.
        draw_seconds: of drawing one step's patches, which a training does in another thread meanwhile.
        peak_bytes: most that the process held; on a GPU, that torch held there.
        start_bytes: what it held with everything imported; 0 on a GPU.
        device: in words.
    """

    seconds: list[float]
    cpu_seconds: list[float]
    draw_seconds: float
    peak_bytes: int
    start_bytes: int
    device: str
