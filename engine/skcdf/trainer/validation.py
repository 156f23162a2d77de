"""Mean Dice on the pinned validation cases while a training runs: by sliding window, on the model's own grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..device import Device
from ..errors import Cancelled
from ..inference.sliding_window import SlidingWindow
from ..labels import LabelSet
from ..preprocessing import Shape
from ..progress import CancelToken, Progress, ProgressCallback, ignore_progress
from ..ranks import any_rank, rank, sum_over_ranks, world_size
from .data import TrainingVolume


def validate(
    network: nn.Module,
    volumes: Sequence[TrainingVolume],
    label_set: LabelSet,
    patch_size: Shape,
    device: Device,
    *,
    phase: str = "validate",
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
) -> dict[str, float | None]:
    """Mean Dice of every organ over the cases in which it was annotated and is in one of the two label maps.

    Every rank segments its share of the cases, and all have the result.

    Args:
        network: for inference, on ``device``.
        volumes: labelled; nothing that was trained on.
        label_set: names of the organs.
        patch_size: ``(z, y, x)``, the window.
        device: where to compute.
        phase: what progress calls it.
        progress: called at the beginning and after every window.
        cancel: obeyed before every window.

    Returns:
        Dice by the organ's name; ``None`` where no case counts.
    """
    network.eval()
    window = SlidingWindow(patch_size, label_set.number_of_classes, device=device.name)
    table = np.zeros((len(volumes), label_set.number_of_classes))
    own = range(rank(), len(volumes), world_size())
    shapes = [volumes[index].image.shape for index in own]
    counts = [len(window.windows((z, y, x), (0, y))) for z, y, x in shapes]
    before = list(itertools.accumulate(counts, initial=0))
    progress(Progress(phase, 0, before[-1]))  # the first window may take long
    stopped = False
    try:
        for number, index in enumerate(own):
            report = _part(progress, phase, before[number], before[-1])
            found = segment_volume(network, volumes[index].image, window, device, cancel, report)
            table[index] = case_dice(found, volumes[index])
    except Cancelled:  # the others wait to hear of it
        stopped = True
    if any_rank(stopped):
        raise Cancelled
    table = sum_over_ranks(torch.from_numpy(table)).numpy()
    counted = np.isfinite(table)
    means = np.nansum(table, 0) / np.maximum(counted.sum(0), 1)
    return {
        label.name: float(means[label.value]) if counted[:, label.value].any() else None
        for label in label_set.labels
    }


def _part(progress: ProgressCallback, phase: str, before: int, total: int) -> ProgressCallback:
    """Makes the windows of one volume a part of all."""
    return lambda report: progress(Progress(phase, before + report.done, total))


def segment_volume(
    network: nn.Module,
    image: np.ndarray,
    window: SlidingWindow,
    device: Device,
    cancel: CancelToken | None = None,
    progress: ProgressCallback = ignore_progress,
) -> np.ndarray:
    """Classes found in a preprocessed scan, on its own grid: uint8 like ``image`` ``(z, y, x)``.

    Args:
        network: for inference, in evaluation mode, on ``device``.
        image: normalised intensities.
        window: how the network is moved over it.
        device: where to compute.
        cancel: obeyed before every window.
        progress: called after every window.
    """

    def predict(patches: Tensor) -> Tensor:
        with torch.inference_mode(), device.autocast():
            scores: Tensor = network(patches.to(device.torch_device, memory_format=torch.channels_last_3d))
        return scores

    found = np.zeros(image.shape, np.uint8)
    for z, scores in window.scan(image.astype(np.float32), predict, progress=progress, cancel=cancel):
        found[z : z + scores.shape[1]] = scores.argmax(0).to(torch.uint8).cpu().numpy()
    return found


def mean_dice(organs: dict[str, float | None]) -> float:
    """Mean over the organs that count; 0 when none does."""
    values = [value for value in organs.values() if value is not None]
    return float(np.mean(values)) if values else 0.0


def case_dice(found: np.ndarray, volume: TrainingVolume) -> np.ndarray:
    """Dice of every class ``(class,)``; nan where it was not annotated, or is in neither label map."""
    assert volume.labels is not None
    classes = volume.annotated.size
    pairs = np.bincount(found.ravel() * np.int64(classes) + volume.labels.ravel(), minlength=classes**2)
    table = pairs.reshape(classes, classes)
    sizes = table.sum(0) + table.sum(1)
    counted = volume.annotated & (sizes > 0)
    return np.where(counted, 2 * np.diag(table) / np.maximum(sizes, 1), np.nan)
