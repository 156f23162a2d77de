"""Random changes of training patches, drawn apart from being applied, on the training device.

Drawn first, applied after: the same change can be replayed, and every draw is a function of seed, iteration and
slot. Left–right mirroring exchanges the values of paired organs, so that sides are never mixed up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..labels import LabelSet
from ..methods import Batch
from ..preprocessing import Spacing
from .config import Augmentation, TrainingConfig
from .data import Patches

ROTATION_DEGREES = 12.0
SCALING = 1.2


@dataclass(frozen=True)
class Change:
    """What happens to one patch.

    Attributes:
        matrix: 3×3, from output to input positions in mm round the patch's centre, ``(x, y, z)``.
        mirror: left–right flip; paired organs exchange their values.
        blind_flips: whether to flip along ``(y, x)`` with labels left as they are: the published augmentation.
        contrast, brightness: factor on, and then addend to, normalised intensities.
        noise: standard deviation of added Gaussian noise.
        noise_seed: of that noise.
    """

    matrix: np.ndarray
    mirror: bool
    blind_flips: tuple[bool, bool]
    contrast: float
    brightness: float
    noise: float
    noise_seed: int


def draw_change(rng: np.random.Generator, *, mirror: bool, augmentation: Augmentation) -> Change:
    """Draws one patch's change.

    Args:
        rng: source of randomness.
        mirror: allow left–right flips.
        augmentation: see `TrainingConfig.augmentation`.
    """
    mirrored = bool(rng.random() < 0.5) and mirror
    angles = np.deg2rad(rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES, 3))
    scale = SCALING ** rng.uniform(-1, 1)
    contrast, brightness = rng.uniform(0.85, 1.15), rng.normal(0, 0.1)
    noise, noise_seed = max(0.0, rng.normal(0, 0.08)), int(rng.integers(2**62))
    flips = (bool(rng.random() < 0.5), bool(rng.random() < 0.5))
    if augmentation == "standard":
        matrix = _rotation(angles) * scale
        return Change(matrix, mirrored, (False, False), contrast, brightness, noise, noise_seed)
    blind = flips if augmentation == "published" else (False, False)
    return Change(np.eye(3), mirrored, blind, 1.0, 0.0, 0.0, noise_seed)


def draw_changes(
    seeds: Iterable[tuple[int, ...]], *, mirror: bool, augmentation: Augmentation
) -> list[Change]:
    """Draws a change for each of ``seeds``, which alone decides it."""
    generators = map(np.random.default_rng, seeds)
    return [draw_change(rng, mirror=mirror, augmentation=augmentation) for rng in generators]


def _rotation(angles: np.ndarray) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def apply_changes(
    images: Tensor, labels: Tensor, changes: list[Change], spacing: Spacing, label_set: LabelSet
) -> tuple[Tensor, Tensor]:
    """Applies ``changes[i]`` to patch ``i``.

    Args:
        images: ``(batch, 1, z, y, x)``, normalised intensities; trilinear interpolation.
        labels: ``(batch, z, y, x)``; nearest neighbour.
        changes: one for each patch.
        spacing: of the patches, ``(z, y, x)`` in mm: rotations are rigid in the patient, not in the grid.
        label_set: knows which values change places in a mirror.

    Returns:
        Changed images and labels, same shapes and types.
    """
    if any(not np.array_equal(change.matrix, np.eye(3)) for change in changes):
        images, labels = _warp(images, labels, changes, spacing)
    images, labels = images.clone(), labels.clone()
    exchange = torch.tensor(label_set.mirrored_values, dtype=labels.dtype, device=labels.device)
    for index, change in enumerate(changes):
        if change.mirror:
            images[index] = images[index].flip(-1)
            labels[index] = exchange[labels[index].flip(-1).long()]
        axes = [axis for axis, flipped in zip((-2, -1), change.blind_flips, strict=True) if flipped]
        if axes:
            images[index], labels[index] = images[index].flip(axes), labels[index].flip(axes)
        images[index] = images[index] * change.contrast + change.brightness
        if change.noise:
            generator = torch.Generator(images.device).manual_seed(change.noise_seed)
            noise = torch.randn(images[index].shape, generator=generator, device=images.device)
            images[index] += change.noise * noise
    return images, labels


def _warp(images: Tensor, labels: Tensor, changes: list[Change], spacing: Spacing) -> tuple[Tensor, Tensor]:
    half = np.array([side * s / 2 for side, s in zip(images.shape[:1:-1], spacing[::-1], strict=True)])
    theta = np.zeros((len(changes), 3, 4), np.float32)
    for index, change in enumerate(changes):
        theta[index, :, :3] = change.matrix * half / half[:, None]
    grid = F.affine_grid(torch.from_numpy(theta).to(images.device), list(images.shape), align_corners=False)
    warped = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    values = labels[:, None].to(images.dtype)
    moved = F.grid_sample(values, grid, mode="nearest", padding_mode="border", align_corners=False)
    return warped, moved[:, 0].to(labels.dtype)


def mirror_annotated(annotated: Tensor, changes: list[Change], label_set: LabelSet) -> Tensor:
    """Annotated classes ``(batch, class)`` after mirroring: an annotated left organ is now an annotated right one."""
    exchange = torch.tensor(label_set.mirrored_values, device=annotated.device)
    rows = [row[exchange] if change.mirror else row for row, change in zip(annotated, changes, strict=True)]
    return torch.stack(rows)


def augmented(
    patches: Sequence[Patches],
    seed: tuple[int, ...],
    index: int,
    slots: Callable[[int], range],
    config: TrainingConfig,
    label_set: LabelSet,
    device: torch.device,
) -> Batch:
    """One batch as the method sees it.

    Args:
        patches: labelled ones and, for methods that use them, unlabelled ones.
        seed: with stream, ``index`` and slot it decides every change.
        index: the batch's number.
        slots: this process's places among those of all, each of which has so many.
        config: the settings.
        label_set: of the labels.
        device: where to compute.
    """
    spacing = config.preprocessing.spacing or (1.0, 1.0, 1.0)
    parts = []
    for stream, drawn in enumerate(patches):
        images, labels, annotated = (
            tensor.to(device, non_blocking=True) for tensor in (drawn.images, drawn.labels, drawn.annotated)
        )
        seeds = ((*seed, stream, index, slot) for slot in slots(len(images)))
        changes = draw_changes(seeds, mirror=config.mirror, augmentation=config.augmentation)
        images, labels = apply_changes(images, labels, changes, spacing, label_set)
        images = images.contiguous(memory_format=torch.channels_last_3d)
        parts.append((images, labels, mirror_annotated(annotated, changes, label_set)))
    images, labels, annotated = parts[0]
    return Batch(images, labels, annotated, parts[1][0] if len(parts) > 1 else None)
