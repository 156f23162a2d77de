"""Segments a scan with a model: preprocessing, sliding window, and the way back to the scan's own grid."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..device import Device, choose_device, told_if_short
from ..image import Image
from ..models import ModelBundle
from ..networks.companion import Accompanied
from ..networks.decoupled import SKCDF
from ..networks.folded import fold, set_library
from ..preprocessing import Placement, PreprocessingPlan
from ..progress import CancelToken, Progress, ProgressCallback, ignore_progress
from .choices import Choices
from .disagreement import Disagreement
from .labelling import make_tiles
from .memory_ladder import Attempt, climb_down, ladder, too_little
from .network import loaded_network
from .places import UNSURE, UnsurePlace, find_places
from .sliding_window import Predict, SlidingWindow, Unclassified, blending_weights, even_ranges
from .uncertainty import OrganUncertainty, UncertaintyMap, should_hold_all

MEMORY_LIMIT = 2 << 30


@dataclass(frozen=True)
class Segmentation:
    """A result.

    Attributes:
        label_map: on the scan's own grid, uint8 (uint16 above 255 labels).
        notes: what the user should know of the run: a fall-back to less memory or to the CPU.
        windows: how many windows the network computed.
        seconds: wall-clock time, reading the file not counted.
        grid_voxels: how many the body's box has on the model's grid.
        voxels: how many it has in the scan.
        places: where to look first, if they were asked for.
        organs: how unsure the model is of every organ, by value, if that or places were asked for.
        unsure: share of every organ's voxels that the model is unsure of, likewise; ``None`` for one not found.
    """

    label_map: Image
    notes: tuple[str, ...]
    windows: int
    seconds: float
    grid_voxels: int
    voxels: int
    places: tuple[UnsurePlace, ...] = ()
    organs: tuple[OrganUncertainty, ...] = ()
    unsure: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Examination:
    """How unsure a model is of a scan, without a label map.

    Attributes:
        organs: figures of every organ, by value.
        disagreement: 1 minus the Dice between the network's decoders and heads for every organ, by value;
            ``None`` for one that no head found. Empty where the model has but one head.
        whole: whether every organ should be in the scan, by its size.
        windows: how many windows the network computed.
    """

    organs: tuple[OrganUncertainty, ...]
    disagreement: tuple[float | None, ...]
    whole: bool
    windows: int


@dataclass(frozen=True)
class PreparedScan:
    """A scan as the network sees it.

    Attributes:
        volume: network input ``(z, y, x)``, float32.
        occupied: bool like ``volume``: what is not air; ``None``: every window is computed.
        placement: where it lies in the scan.
        progress: called after every window.
        cancel: obeyed before every window.
    """

    volume: np.ndarray
    occupied: np.ndarray | None
    placement: Placement
    progress: ProgressCallback = ignore_progress
    cancel: CancelToken | None = None


class Predictor:
    """A model in memory, ready to segment one scan after another.

    Args:
        bundle: the model.
        device: where to compute; `choose_device` finds one.
        memory_limit: bytes that the sums of scores may take; less means more, smaller tiles.
        views: load what the model has beside the head that segments, too; only `examine` uses it.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        device: Device | None = None,
        memory_limit: int = MEMORY_LIMIT,
        views: bool = False,
    ) -> None:
        self.bundle = bundle
        self.device = device or choose_device()
        self.plan = PreprocessingPlan.from_json(bundle.preprocessing, bundle.name)
        self._memory_limit = memory_limit
        self._network = loaded_network(bundle, views)
        fold(self._network)

    @property
    def has_views(self) -> bool:
        """Whether decoders and heads can be compared."""
        return isinstance(self._network, SKCDF)

    def segment(
        self,
        image: Image,
        choices: Choices | None = None,
        *,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
        places: int = 0,
        unsure: bool = False,
    ) -> Segmentation:
        """Segments ``image``.

        Args:
            image: the scan; any grid.
            choices: the user's; outside a chosen region, and where an organ lies that was not chosen, is background.
            progress: called after every window.
            cancel: obeyed before every window.
            places: how many places to look at first are wanted at most. They come from the same pass and leave the
                label map as it is.
            unsure: whether to tell how unsure the model is where no places are wanted.

        Raises:
            Cancelled: the token was raised.
            SkcdfError: a choice does not fit model or scan, or there is too little memory even for the smallest steps.
        """
        begin = time.monotonic()
        choices, label_set = choices or Choices(), self.bundle.label_set
        choices.check_organs(label_set)
        part = choices.cropped(image)
        name = image.source or "The scan"
        with told_if_short(lambda: too_little(name)):
            scan = self.prepare(part, progress, cancel)
        gather = unsure or places > 0
        (labels, found, windows), notes = climb_down(
            self.ladder(choices),
            lambda rung: self.label(scan, rung, choices.overlap, gather),
            name,
        )
        choices.keep_chosen(labels, label_set)
        label_map = Image(choices.pasted(scan.placement.paste(labels), image), image.geometry, image.source)
        organs: tuple[OrganUncertainty, ...] = ()
        where: tuple[UnsurePlace, ...] = ()
        if found is not None:
            grid = scan.placement.model_geometry
            organs = found.organs(label_set, grid)
            whole = should_hold_all(part.geometry, self.bundle.expects)
            where = find_places(found, label_set, grid, places, whole, choices.organs)
        seconds, grid_voxels = time.monotonic() - begin, math.prod(scan.placement.shape)
        shares = found.unsure_shares(UNSURE) if found is not None else ()
        return Segmentation(
            label_map, notes, windows, seconds, grid_voxels, labels.size, where, organs, shares
        )

    def examine(
        self,
        image: Image,
        *,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> Examination:
        """Measures how unsure the model is of ``image``, on the model's grid alone.

        Args:
            image: the scan; any grid.
            progress: called after every window.
            cancel: obeyed before every window.

        Raises:
            Cancelled: the token was raised.
            SkcdfError: there is too little memory even for the smallest steps.
        """
        name = image.source or "The scan"
        with told_if_short(lambda: too_little(name)):
            scan = self.prepare(image, progress, cancel)
        (found, disagreement, windows), _ = climb_down(
            self.ladder(), lambda rung: self._examine(scan, rung), name
        )
        values = [float(each) for each in disagreement.values()[1:]] if self.has_views else []
        return Examination(
            organs=found.organs(self.bundle.label_set, scan.placement.model_geometry),
            disagreement=tuple(round(each, 4) if np.isfinite(each) else None for each in values),
            whole=should_hold_all(image.geometry, self.bundle.expects),
            windows=windows,
        )

    def prepare(
        self,
        image: Image,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> PreparedScan:
        """``image`` as the network sees it."""
        placement = self.plan.placement(image)
        raw = self.plan.resample(image, placement)
        threshold = self.bundle.inference.air_threshold_hu
        occupied = None if threshold is None else raw > threshold
        return PreparedScan(self.plan.intensity.apply(raw), occupied, placement, progress, cancel)

    def ladder(self, choices: Choices | None = None) -> list[Attempt]:
        """What is tried, best first; see `climb_down`."""
        chosen = choices.memory_limit if choices else None
        return ladder(self.device, chosen or self._memory_limit)

    def label(
        self, scan: PreparedScan, attempt: Attempt, overlap: float | None, unsure: bool
    ) -> tuple[np.ndarray, UncertaintyMap | None, int]:
        """Labels of a prepared scan.

        Args:
            scan: from `prepare`.
            attempt: a rung of `ladder`.
            overlap: of windows; ``None``: the model's.
            unsure: whether to gather where the model is unsure.

        Returns:
            Class values over the body's box at the scan's resolution, what was gathered, and how many windows were
            computed.
        """
        classes = self.bundle.label_set.number_of_classes
        shape, target = scan.placement.shape, scan.placement.crop_shape
        window = self.window(attempt, overlap)
        labels = np.zeros(target, np.uint8 if classes <= 256 else np.uint16)
        found = UncertaintyMap(shape, classes) if unsure else None
        tiles = make_tiles(shape, target, len(window.tiles(shape)), unsure)
        sweep = _Sweep(scan, window, self.network_on(attempt.device))
        for index, z, scores in sweep.slabs([tile.needed for tile in tiles]):
            tile = tiles[index]
            tile.labeller.label(z, tile.for_labels(scores), labels)
            if found is not None:
                found.add(z, tile.own[0], tile.for_own(scores))
        return labels, found, sweep.windows

    def _examine(self, scan: PreparedScan, attempt: Attempt) -> tuple[UncertaintyMap, Disagreement, int]:
        classes, shape = self.bundle.label_set.number_of_classes, scan.placement.shape
        window = self.window(attempt)
        found = UncertaintyMap(shape, classes)
        disagreement = Disagreement(classes, blending_weights(window.window, window.blend))
        predict = self.network_on(attempt.device, disagreement if self.has_views else None)
        sweep = _Sweep(scan, window, predict)
        rows = even_ranges(shape[1], min(len(window.tiles(shape)), shape[1]))
        for tile, z, scores in sweep.slabs(rows):
            found.add(z, rows[tile][0], scores)
        return found, disagreement, sweep.windows

    def window(self, attempt: Attempt, overlap: float | None = None) -> SlidingWindow:
        """The sliding window of one rung, with the model's ``overlap`` where none is given."""
        options = self.bundle.inference
        return SlidingWindow(
            self.bundle.patch_size,
            self.bundle.label_set.number_of_classes,
            options.overlap if overlap is None else overlap,
            options.blend,
            attempt.batch,
            attempt.sums_on,
            attempt.memory_limit,
        )

    def network_on(self, device: Device, disagreement: Disagreement | None = None) -> Predict:
        """The network, to be moved over a scan; ``disagreement`` also takes the scores of the other heads."""
        device.place(self._network)
        set_library(self._network, device.precision if device.name == "cpu" else None)

        def predict(patches: Tensor) -> Tensor | Unclassified:
            with torch.inference_mode(), device.autocast():
                patches = patches.to(device.torch_device, memory_format=torch.channels_last_3d)
                if disagreement is None:
                    if isinstance(self._network, Accompanied) and (
                        found := self._network.unclassified(patches)
                    ):
                        return Unclassified(found[0], found[1].scores)
                    scores: Tensor = self._network(patches)
                    return scores
                assert isinstance(self._network, SKCDF)  # `has_views`
                views = self._network.views(patches)
                main = next(views)
                disagreement.add(main, views)
            return main

        return predict


@dataclass
class _Sweep:
    """The sliding window over one scan, tile by tile."""

    scan: PreparedScan
    window: SlidingWindow
    predict: Predict
    windows: int = 0
    """How many the network has computed."""

    def slabs(self, tiles: list[tuple[int, int]]) -> Iterator[tuple[int, int, Tensor]]:
        """Yields tile, first row along z, and scores of the tile's rows along y; progress is told of all tiles."""
        report = None
        for index, rows in enumerate(tiles):
            report = _Counter(self.scan.progress, index, len(tiles))
            slabs = self.window.scan(
                self.scan.volume,
                self.predict,
                rows=rows,
                occupied=self.scan.occupied,
                progress=report,
                cancel=self.scan.cancel,
            )
            for z, scores in slabs:
                yield index, z, scores
            self.windows += report.windows
        if report is None or not report.windows:  # all of the last tile was skipped, and nobody said so
            self.scan.progress(Progress("segment", 1, 1))


@dataclass
class _Counter:
    """Turns the progress of one tile into that of the whole run, and counts windows."""

    callback: ProgressCallback
    tile: int
    tiles: int
    windows: int = 0

    def __call__(self, report: Progress) -> None:
        self.windows = report.done
        self.callback(
            Progress(report.phase, self.tile * report.total + report.done, self.tiles * report.total)
        )
