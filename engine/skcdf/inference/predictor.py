"""Segments a scan with a model: preprocessing, sliding window, and the way back to the scan's own grid."""

from __future__ import annotations

import gc
import itertools
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..device import Device, OutOfMemory, choose_device
from ..errors import SkcdfError
from ..image import Image
from ..models import ModelBundle
from ..networks import build_network
from ..preprocessing import Placement, PreprocessingPlan
from ..progress import CancelToken, Progress, ProgressCallback, ignore_progress
from .labelling import RowLabeller
from .sliding_window import SlidingWindow

GPU_BATCH = 4
MEMORY_LIMIT = 2 << 30
_MEMORY_WORDS = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")
"""By these a plain RuntimeError of the CPU, of an Apple GPU or of an NVIDIA library is known to mean memory."""


@dataclass(frozen=True)
class Segmentation:
    """A result.

    Attributes:
        label_map: on the scan's own grid, uint8 (uint16 above 255 labels).
        notes: what the user should know of the run: a fall-back to less memory or to the CPU.
        windows: how many windows the network computed.
        seconds: wall-clock time, reading the file not counted.
    """

    label_map: Image
    notes: tuple[str, ...]
    windows: int
    seconds: float


@dataclass(frozen=True)
class _Attempt:
    """One rung of the ladder that is climbed down when memory runs out."""

    device: Device
    sums_on: str
    batch: int
    memory_limit: int
    note: str = ""


class Predictor:
    """A model in memory, ready to segment one scan after another.

    Args:
        bundle: the model.
        device: where to compute; `choose_device` finds one.
        memory_limit: bytes that the sums of scores may take; less means more, smaller tiles.
    """

    def __init__(
        self, bundle: ModelBundle, device: Device | None = None, memory_limit: int = MEMORY_LIMIT
    ) -> None:
        self.bundle = bundle
        self.device = device or choose_device()
        self.plan = PreprocessingPlan.from_json(bundle.preprocessing, bundle.name)
        self._memory_limit = memory_limit
        self._network = build_network(bundle.network.name, bundle.network.arguments, bundle.name)
        try:
            self._network.load_state_dict(bundle.load_weights(inference_only=True))
        except RuntimeError as error:
            raise SkcdfError(
                f"{bundle.folder}: the weights do not fit the network ({textwrap.shorten(str(error), 200)}).",
                "Fetch the model again.",
            ) from error
        self._network.eval()

    def segment(
        self,
        image: Image,
        *,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> Segmentation:
        """Segments ``image``.

        Args:
            image: the scan; any grid.
            progress: called after every window.
            cancel: obeyed before every window.

        Raises:
            Cancelled: the token was raised.
            SkcdfError: there is too little memory even for the smallest steps.
        """
        begin = time.monotonic()
        placement = self.plan.placement(image)
        raw = self.plan.resample(image, placement)
        threshold = self.bundle.inference.air_threshold_hu
        occupied = None if threshold is None else raw > threshold
        volume = self.plan.intensity.apply(raw)
        del raw
        notes: list[str] = []
        for attempt in self._ladder():
            if attempt.note:
                notes.append(attempt.note)
            try:
                labels, windows = self._label(volume, occupied, placement, attempt, progress, cancel)
            except (OutOfMemory, MemoryError) as error:
                self._release(error)
            except RuntimeError as error:
                if not any(words in str(error) for words in _MEMORY_WORDS):
                    raise
                self._release(error)
            else:
                label_map = Image(placement.paste(labels), image.geometry, image.source)
                return Segmentation(label_map, tuple(notes), windows, time.monotonic() - begin)
        raise SkcdfError(
            f"{image.source or 'The scan'}: there is too little memory to segment it.",
            "Close other programs, or crop the scan to the region of interest.",
        )

    def _ladder(self) -> list[_Attempt]:
        """What is tried, best first; every further rung needs less memory where it was short."""
        device, limit = self.device, self._memory_limit
        cpu = choose_device("cpu")
        small = _Attempt(cpu, "cpu", 1, limit // 8, "Out of memory: computing in smaller tiles.")
        if device.name == "cpu":
            return [_Attempt(device, "cpu", 1, limit), replace(small, device=device)]
        return [
            _Attempt(device, device.name, GPU_BATCH, limit),
            _Attempt(device, device.name, 1, limit, "GPU out of memory: one window at a time."),
            _Attempt(device, "cpu", 1, limit, "GPU out of memory: scores are summed on the CPU."),
            _Attempt(cpu, "cpu", 1, limit, f"GPU out of memory: computing on the {cpu.description}."),
            small,
        ]

    def _label(
        self,
        volume: np.ndarray,
        occupied: np.ndarray | None,
        placement: Placement,
        attempt: _Attempt,
        progress: ProgressCallback,
        cancel: CancelToken | None,
    ) -> tuple[np.ndarray, int]:
        classes = self.bundle.label_set.number_of_classes
        options = self.bundle.inference
        window = SlidingWindow(
            self.bundle.patch_size,
            classes,
            options.overlap,
            options.blend,
            attempt.batch,
            attempt.sums_on,
            attempt.memory_limit,
        )
        attempt.device.place(self._network)
        predict = self._predict_on(attempt.device)
        labels = np.zeros(placement.crop_shape, np.uint8 if classes <= 256 else np.uint16)
        tiles = min(len(window.tiles(placement.shape)), placement.crop_shape[1])
        edges = [round(index * placement.crop_shape[1] / tiles) for index in range(tiles + 1)]
        windows = 0
        for index, rows in enumerate(itertools.pairwise(edges)):
            report = _Counter(progress, index, tiles)
            labeller = RowLabeller(placement.shape, placement.crop_shape, rows)
            slabs = window.scan(
                volume,
                predict,
                rows=labeller.needed_rows,
                occupied=occupied,
                progress=report,
                cancel=cancel,
            )
            for z, scores in slabs:
                labeller.label(z, scores, labels)
            windows += report.windows
        if not report.windows:  # all of the last tile was skipped, and nobody said that it is done
            progress(Progress("segment", 1, 1))
        return labels, windows

    def _predict_on(self, device: Device) -> Callable[[Tensor], Tensor]:
        def predict(patches: Tensor) -> Tensor:
            with torch.inference_mode(), device.autocast():
                patches = patches.to(device.torch_device, memory_format=torch.channels_last_3d)
                scores: Tensor = self._network(patches)
            return scores

        return predict

    def _release(self, error: BaseException) -> None:
        error.__traceback__ = None  # its frames hold the tensors that were too large
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


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
