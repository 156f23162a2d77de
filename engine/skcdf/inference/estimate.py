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
from ..preprocessing import Placement, Shape
from ..progress import CancelToken
from .choices import Choices
from .labelling import POINTS, make_tiles
from .memory_ladder import Attempt, climb_down
from .predictor import Predictor, PreparedScan, Segmentation
from .sliding_window import SlidingWindow

RUNS_KEPT = 5
VOXELS_TIMED = 1_000_000


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


class _Work(NamedTuple):
    """What a run has to do: windows, and voxels on the model's grid and of the scan."""

    windows: int
    grid_voxels: int
    voxels: int


class _Timing(NamedTuple):
    """What was measured on a piece of a scan; it is kept where the piece was a whole window at least."""

    rung: int
    whole: bool
    each_s: tuple[float, float, float]
    fixed_bytes: int | None

    def seconds(self, work: _Work) -> float:
        return sum(each * number for each, number in zip(self.each_s, work, strict=True))


class Pace:
    """How fast one model is on one device. It may be asked from one thread at a time."""

    def __init__(self) -> None:
        self._timing: _Timing | None = None
        self._runs: deque[tuple[_Work, float]] = deque(maxlen=RUNS_KEPT)

    def learn(self, result: Segmentation) -> None:
        """Takes a run that has ended into account."""
        work = _Work(result.windows, result.grid_voxels, result.voxels)
        self._runs.append((work, result.seconds))

    def estimate(
        self, predictor: Predictor, image: Image, choices: Choices, cancel: CancelToken | None = None
    ) -> Estimate:
        """Estimates a run, without segmenting.

        Args:
            predictor: the model, on the device.
            image: the scan.
            choices: the user's.
            cancel: obeyed before anything is timed.

        Raises:
            Cancelled: the token was raised.
            SkcdfError: a choice does not fit, or there is too little memory for a single window.
        """
        choices.check_organs(predictor.bundle.label_set)
        part = choices.cropped(image)
        begin = time.monotonic()
        scan = predictor.prepare(part, cancel=cancel)
        shape, target = scan.placement.shape, scan.placement.crop_shape
        prepared_s = (time.monotonic() - begin) / math.prod(target)
        (cancel or CancelToken()).raise_if_cancelled()
        ladder = predictor.ladder(choices)
        timing = self._timing
        if timing is None or not timing.whole:
            timed, _ = climb_down(
                ladder,
                lambda rung: _timed(predictor, part, scan, rung, ladder.index(rung), prepared_s),
                image.source or "The scan",
            )
            timing = self._timing = timed
        attempt = ladder[timing.rung]
        window = predictor.window(attempt, choices.overlap)
        tiles = make_tiles(shape, target, len(window.tiles(shape)), unsure=True)
        windows = sum(len(window.windows(shape, tile.needed, scan.occupied)) for tile in tiles)
        work = _Work(windows, math.prod(shape), math.prod(target))
        memory = timing.fixed_bytes
        if memory is not None:
            memory += _scan_bytes(part, scan, window, attempt, scan.placement)
            memory += _result_bytes(image, scan, window.classes) if attempt.device.name != "cuda" else 0
        return Estimate(windows, self._corrected(timing, timing.seconds(work)), memory, bool(self._runs))

    def _corrected(self, timing: _Timing, seconds: float) -> float:
        """``seconds`` as earlier runs went, compared with what would have been said of them."""
        said = sum(timing.seconds(work) for work, _ in self._runs)
        return seconds * sum(took for _, took in self._runs) / said if said else seconds


def _timed(
    predictor: Predictor,
    part: Image,
    scan: PreparedScan,
    attempt: Attempt,
    rung: int,
    prepared_s: float,
) -> _Timing:
    """Computes one batch of windows on the model's grid; then goes over the same piece without the network twice."""
    window = predictor.window(attempt)
    piece = _piece(scan, window)
    nothing = replace(piece, occupied=np.zeros(piece.volume.shape, bool))

    def seconds(what: PreparedScan, target: Shape) -> tuple[float, int]:
        begin = time.monotonic()
        sized = replace(what, placement=replace(what.placement, crop_shape=target))
        _, _, windows = predictor.label(sized, attempt, None, unsure=True)
        return time.monotonic() - begin, windows

    grid = piece.placement.shape
    if attempt.device.name != "cpu":
        seconds(piece, grid)  # the first call loads and chooses kernels
    attempt.device.forget_peak_memory()
    with_network, windows = seconds(piece, grid)
    sweeping, _ = seconds(nothing, (1, 1, 1))
    target = _thinned(piece.placement.crop_shape)
    labelling = (seconds(nothing, target)[0] - sweeping) / math.prod(target)
    network = with_network - sweeping - labelling * math.prod(grid)
    peak = attempt.device.peak_memory()
    fixed = None if peak is None else max(0, peak - _scan_bytes(part, scan, window, attempt, piece.placement))
    whole = all(n >= side for n, side in zip(grid, window.window, strict=True))
    each_s = (network / windows, sweeping / math.prod(grid), labelling + prepared_s)
    return _Timing(rung, whole, (max(0.0, each_s[0]), each_s[1], max(0.0, each_s[2])), fixed)


def _thinned(target: Shape) -> Shape:
    """A grid with fewer rows, which takes as long for each voxel."""
    rows = max(1, min(target[0], VOXELS_TIMED // (target[1] * target[2])))
    return rows, target[1], target[2]


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
    # two rows of scores and their mean on the model's grid, and what is interpolated at a time three times over
    rows, fine = (shape[1] // len(tiles) + 1 for shape in (swept.shape, swept.crop_shape))
    at_a_time = fine * swept.crop_shape[2]
    if attempt.sums_on == "cpu":
        at_a_time = min(at_a_time, POINTS)
    sums = ring + window.classes * 4 * 3 * (rows * swept.shape[2] + at_a_time)
    if attempt.device.name == "cuda":
        return sums if attempt.sums_on != "cpu" else 0
    occupied = 0 if scan.occupied is None else scan.occupied.nbytes
    return sums + part.array.nbytes + scan.volume.nbytes + occupied


def _result_bytes(image: Image, scan: PreparedScan, classes: int) -> int:
    """What a run holds besides: labels, twice while they are pasted, and uncertainty on the model's grid."""
    size = 1 if classes <= 256 else 2
    labels = size * (math.prod(scan.placement.crop_shape) + image.array.size)
    return labels + (1 + 2 * size) * math.prod(scan.placement.shape)
