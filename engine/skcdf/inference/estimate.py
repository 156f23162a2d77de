"""How long a run will take and in how much memory, before it is begun (`docs/inference.md`).

Windows are counted exactly. One of them, or as many as a GPU takes at once, is computed once for a model and a device
to know its time and memory; afterwards every run corrects what is said of the next one.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..image import Image
from ..preprocessing import Placement
from ..progress import CancelToken
from .choices import Choices
from .labelling import make_tiles
from .memory_ladder import Attempt, climb_down
from .predictor import Predictor, PreparedScan, Segmentation
from .sliding_window import SlidingWindow

RUNS_KEPT = 5


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        windows: how many windows the network will compute.
        seconds: reading and writing not counted.
        memory_bytes: of the NVIDIA GPU that computes, else of this process; ``None`` where the system does not tell.
        measured: whether earlier runs of the same model on the same device were taken into account.
    """

    windows: int
    seconds: float
    memory_bytes: int | None
    measured: bool


class _Timing(NamedTuple):
    """What was measured on a piece of a scan; it is kept where the piece was a whole window at least."""

    rung: int
    whole: bool
    per_window_s: float
    per_voxel_s: float
    fixed_bytes: int | None

    def seconds(self, windows: int, voxels: int) -> float:
        return windows * self.per_window_s + voxels * self.per_voxel_s


class Pace:
    """How fast one model is on one device. It may be asked from one thread at a time."""

    def __init__(self) -> None:
        self._timing: _Timing | None = None
        self._runs: deque[tuple[int, int, float]] = deque(maxlen=RUNS_KEPT)

    def learn(self, result: Segmentation) -> None:
        """Takes a run that has ended into account."""
        self._runs.append((result.windows, result.voxels, result.seconds))

    def estimate(
        self, predictor: Predictor, image: Image, choices: Choices, cancel: CancelToken | None = None
    ) -> Estimate:
        """Estimates a run, without segmenting.

        Args:
            predictor: the model, on the device.
            image: the scan.
            choices: the user's.
            cancel: obeyed before the window that is timed.

        Raises:
            Cancelled: the token was raised.
            SkcdfError: a choice does not fit, or there is too little memory for a single window.
        """
        choices.check_organs(predictor.bundle.label_set)
        part = choices.cropped(image)
        begin = time.monotonic()
        scan = predictor.prepare(part, cancel=cancel)
        voxels = math.prod(scan.placement.crop_shape)
        prepared_s = (time.monotonic() - begin) / voxels
        ladder = predictor.ladder(choices)
        if self._timing is None or not self._timing.whole:
            (cancel or CancelToken()).raise_if_cancelled()
            timed, _ = climb_down(
                ladder,
                lambda rung: _timed(predictor, part, scan, rung, ladder.index(rung), prepared_s),
                image.source or "The scan",
            )
            self._timing = timed
        timing = self._timing
        attempt = ladder[timing.rung]
        window = predictor.window(attempt, choices.overlap)
        shape, target = scan.placement.shape, scan.placement.crop_shape
        tiles = make_tiles(shape, target, len(window.tiles(shape)), unsure=True)
        windows = sum(len(window.windows(shape, tile.needed, scan.occupied)) for tile in tiles)
        seconds = self._corrected(timing, timing.seconds(windows, voxels))
        memory = None
        if timing.fixed_bytes is not None:
            memory = timing.fixed_bytes + _scan_bytes(part, scan, window, attempt, scan.placement)
            if attempt.device.name != "cuda":
                memory += _result_bytes(image, scan, window.classes)
        return Estimate(windows, seconds, memory, bool(self._runs))

    def _corrected(self, timing: _Timing, seconds: float) -> float:
        """``seconds`` as earlier runs went, compared with what would have been said of them."""
        said = sum(timing.seconds(windows, voxels) for windows, voxels, _ in self._runs)
        return seconds * sum(took for *_, took in self._runs) / said if said else seconds


def _timed(
    predictor: Predictor,
    part: Image,
    scan: PreparedScan,
    attempt: Attempt,
    rung: int,
    prepared_s: float,
) -> _Timing:
    """Computes one batch of windows, and then labels alone: what is left is the network's."""
    window = predictor.window(attempt)
    piece = _piece(scan, window)
    nothing = replace(piece, occupied=np.zeros(piece.volume.shape, bool))
    if attempt.device.name != "cpu":
        predictor.label(piece, attempt, None, unsure=True)  # the first call loads and chooses kernels
    attempt.device.forget_peak_memory()
    begin = time.monotonic()
    labels, _, windows = predictor.label(piece, attempt, None, unsure=True)
    middle = time.monotonic()
    predictor.label(nothing, attempt, None, unsure=True)
    end = time.monotonic()
    labelling = end - middle
    peak = attempt.device.peak_memory()
    fixed = None if peak is None else max(0, peak - _scan_bytes(part, scan, window, attempt, piece.placement))
    return _Timing(
        rung,
        all(n >= side for n, side in zip(piece.placement.shape, window.window, strict=True)),
        max(0.0, middle - begin - labelling) / windows,
        labelling / labels.size + prepared_s,
        fixed,
    )


def _piece(scan: PreparedScan, window: SlidingWindow) -> PreparedScan:
    """As much of the middle of a scan as makes one batch of windows, at the same ratio of resolutions."""
    depth, height, width = window.window
    if window.batch > 1:  # two by two that overlap as in the scan
        height, width = (side + max(1, int(side * (1 - window.overlap))) for side in (height, width))
    whole = scan.placement
    z, y, x = (min(n, side) for n, side in zip(whole.shape, (depth, height, width), strict=True))
    box = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(whole.shape, (z, y, x), strict=True))
    a, b, c = (
        max(1, round(m * full / n))
        for m, full, n in zip((z, y, x), whole.crop_shape, whole.shape, strict=True)
    )
    placement = replace(whole, shape=(z, y, x), crop_shape=(a, b, c))
    return replace(scan, volume=scan.volume[box], occupied=None, placement=placement)


def _scan_bytes(
    part: Image, scan: PreparedScan, window: SlidingWindow, attempt: Attempt, swept: Placement
) -> int:
    """What depends on the scan where memory is counted, while windows are computed.

    Args:
        part: what is computed.
        scan: the same as the network sees it.
        window, attempt: of the run.
        swept: the grids of what the windows go over.
    """
    tiles = make_tiles(swept.shape, swept.crop_shape, len(window.tiles(swept.shape)), unsure=True)
    ring = max(window.ring_bytes(swept.shape, tile.needed) for tile in tiles)
    # one row of scores at the scan's resolution: lower and upper one resized along y, their mean resized along x
    height, width = swept.crop_shape[1] // len(tiles) + 1, swept.crop_shape[2]
    sums = ring + window.classes * 4 * height * (2 * swept.shape[2] + width)
    if attempt.device.name == "cuda":
        return sums if attempt.sums_on != "cpu" else 0
    occupied = 0 if scan.occupied is None else scan.occupied.nbytes
    return sums + part.array.nbytes + scan.volume.nbytes + occupied


def _result_bytes(image: Image, scan: PreparedScan, classes: int) -> int:
    """What a run holds besides: labels, twice while they are pasted, and uncertainty on the model's grid."""
    size = 1 if classes <= 256 else 2
    labels = size * (math.prod(scan.placement.crop_shape) + image.array.size)
    return labels + (1 + 2 * size) * math.prod(scan.placement.shape)
