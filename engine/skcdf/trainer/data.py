"""Training patches: volumes in memory, class-balanced draws, a thread that works ahead.

Every draw is a function of seed, batch and slot, never of the order in which threads run: a resumed training
sees the patches that an uninterrupted one would have seen. Threads, not processes: inside Slicer a worker process
would start the launcher again and hang.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..cases import Case, read_case_labels
from ..errors import SkcdfError
from ..image import read_image
from ..image_hash import voxel_hash
from ..labels import LabelSet
from ..preprocessing import PreprocessingPlan, Shape
from .config import Sampling
from .surroundings import POSTERIOR_MM, Surroundings, draw_scene, surroundings_of

LOCATIONS_PER_CLASS = 2000
LOOK_AHEAD = 4


@dataclass(frozen=True)
class TrainingVolume:
    """A case on the model's grid.

    Attributes:
        name: the case.
        image_hash: of the scan's decoded voxels, as the pool and bundles know it.
        image: normalised intensities ``(z, y, x)``, float16 to halve the memory.
        labels: class values ``(z, y, x)``, uint8; ``None`` for an unlabelled case.
        annotated: bool ``(class,)``, entry 0 true.
        locations: for every class, up to `LOCATIONS_PER_CLASS` of its voxels ``(n, 3)``.
        surroundings: what a couch is painted by into every patch; ``None``: patches show the scan as it is.
    """

    name: str
    image_hash: str
    image: np.ndarray
    labels: np.ndarray | None
    annotated: np.ndarray
    locations: tuple[np.ndarray, ...] = ()
    surroundings: Surroundings | None = None

    @cached_property
    def fingerprint(self) -> list[Any]:
        """Name, hash of the scan, hash of the labels and what was annotated: another one is another training."""
        labels = None if self.labels is None else hashlib.sha256(self.labels.tobytes()).hexdigest()
        return [self.name, self.image_hash, labels, self.annotated.tolist()]

    @cached_property
    def darkest(self) -> float:
        """Lowest intensity: what lies round a volume that is smaller than a patch."""
        return float(self.image.min())

    @cached_property
    def voxel_counts(self) -> np.ndarray:
        """Voxels of every class ``(class,)``, float64; nan where it was not annotated."""
        assert self.labels is not None
        counts = np.bincount(self.labels.ravel(), minlength=self.annotated.size)
        return np.where(self.annotated, counts, np.nan)


def load_volume(
    case: Case, label_set: LabelSet, plan: PreprocessingPlan, seed: int, *, surroundings: bool = False
) -> TrainingVolume:
    """Reads and preprocesses one case.

    Args:
        case: the files.
        label_set: of its label map.
        plan: from scan to network input.
        seed: of the choice of voxels to centre patches on.
        surroundings: see `TrainingConfig.surroundings`; never for a validation case.

    Raises:
        SkcdfError: a file cannot be read, the grids of scan and label map differ, or the label map holds a value
            that the label set does not know.
    """
    scan = read_image(case.image)
    digest = voxel_hash(scan)
    placement = plan.placement(scan)
    raw = plan.resample(scan, placement)
    image = plan.intensity.apply(raw).astype(np.float16)
    annotated = np.ones(label_set.number_of_classes, bool)
    if case.label is None:
        around = surroundings_of(scan, placement, raw, None, plan.intensity) if surroundings else None
        return _with_air(TrainingVolume(case.name, digest, image, None, annotated, surroundings=around))
    if label_set.number_of_classes > 256:
        raise SkcdfError(f"Label set {label_set.name} has more than 255 labels.", "Train on fewer at a time.")
    label_map = read_case_labels(case, scan, label_set)
    for label in label_set.labels:
        annotated[label.value] = label.name in case.annotated
    labels = plan.resample_labels(label_map, placement).astype(np.uint8)
    labels[~annotated[labels]] = 0
    locations = class_locations(labels, annotated.size, seed)
    around = surroundings_of(scan, placement, raw, labels, plan.intensity) if surroundings else None
    return _with_air(TrainingVolume(case.name, digest, image, labels, annotated, locations, around))


def _with_air(volume: TrainingVolume) -> TrainingVolume:
    """The volume with room for a couch behind the back, where one will be painted."""
    if volume.surroundings is None:
        return volume
    rows = math.ceil(POSTERIOR_MM / float(np.linalg.norm(volume.surroundings.step_mm[:, 1])))
    behind = ((0, 0), (0, rows), (0, 0))
    image = np.pad(volume.image, behind, constant_values=volume.image.min())
    labels = None if volume.labels is None else np.pad(volume.labels, behind)
    return replace(volume, image=image, labels=labels)


def class_locations(labels: np.ndarray, classes: int, seed: int) -> tuple[np.ndarray, ...]:
    """`TrainingVolume.locations` of ``labels`` ``(z, y, x)``."""
    rng = np.random.default_rng(seed)
    flat = labels.ravel()
    order = np.argsort(flat, kind="stable")
    ends = np.searchsorted(flat[order], np.arange(classes + 1))
    locations = []
    for first, last in itertools.pairwise(ends):
        voxels = order[first:last]
        if voxels.size > LOCATIONS_PER_CLASS:
            voxels = rng.choice(voxels, LOCATIONS_PER_CLASS, replace=False)
        locations.append(np.stack(np.unravel_index(voxels, labels.shape), 1).astype(np.int32))
    return tuple(locations)


def check_volumes(
    label_set: LabelSet,
    labelled: Sequence[TrainingVolume],
    unlabelled: Sequence[TrainingVolume],
    validation: Sequence[TrainingVolume],
    *,
    mirror: bool,
) -> None:
    """Raises `SkcdfError` unless a training can learn every organ from these volumes, and be validated honestly.

    Args:
        label_set: of the volumes.
        labelled, unlabelled: to train on.
        validation: none of them may be trained on.
        mirror: whether a left organ, mirrored, shows what a right one looks like.
    """
    if not labelled:
        raise SkcdfError("There is no labelled training case.", "Add at least one to the data set.")
    known = np.any([volume.annotated for volume in labelled], axis=0)
    if mirror:
        known |= known[list(label_set.mirrored_values)]
    if not known.all():
        raise unknown_organs([label.name for label in label_set.labels if not known[label.value]])
    trained = {volume.image_hash: volume.name for volume in (*labelled, *unlabelled)}
    for volume in validation:
        if volume.image_hash in trained:
            raise SkcdfError(
                f"Validation case {volume.name} is the same scan as training case "
                f"{trained[volume.image_hash]}.",
                "Take it out of one of the two splits.",
            )


def unknown_organs(names: Sequence[str]) -> SkcdfError:
    """The refusal to train on organs that no case shows."""
    return SkcdfError(
        f"No training case says where {names[0]} is: a model would guess it.",
        f"Annotate {', '.join(names)} in one training case at least, or take a data set without it.",
    )


@dataclass(frozen=True)
class Patches:
    """The patches of one batch, before augmentation, on the CPU.

    Attributes:
        images: ``(batch, 1, z, y, x)``, float32.
        labels: ``(batch, z, y, x)``, uint8; zeros for unlabelled patches.
        annotated: bool ``(batch, class)``.
    """

    images: Tensor
    labels: Tensor
    annotated: Tensor


class PatchSampler:
    """Draws patches from volumes.

    Args:
        volumes: where to draw from; all labelled or all unlabelled.
        patch_size: ``(z, y, x)`` voxels.
        slots: the places in a batch that are drawn here; data-parallel ranks have different ones.
        batch_size: of all ranks together.
        foreground_fraction: share of patches centred near a voxel of a class drawn evenly from all classes.
        seed: together with ``stream``, draw and slot it fixes every patch.
        stream: tells samplers of one training apart.
        sampling: ``balanced``, or ``published``: each case once an epoch, a corner drawn evenly but for the last.
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        patch_size: Shape,
        batch_size: int,
        foreground_fraction: float,
        seed: int,
        stream: int = 0,
        *,
        slots: range | None = None,
        sampling: Sampling = "balanced",
    ) -> None:
        self._volumes = volumes
        self._patch_size = patch_size
        self._batch_size = batch_size
        self._slots = slots or range(batch_size)
        self._foreground_fraction = foreground_fraction
        self._seed = (seed, stream)
        self._sampling = sampling
        classes = range(1, volumes[0].annotated.size)
        holders = {k: [v for v in volumes if v.locations and len(v.locations[k])] for k in classes}
        self._holders = {k: found for k, found in holders.items() if found}

    def draw(self, index: int) -> Patches:
        """The patches of the batch ``index``; the same for the same arguments, whoever asks and whenever."""
        drawn = [self._draw_one(index, slot) for slot in self._slots]
        images, labels, annotated = (torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True))
        return Patches(images[:, None], labels, annotated)

    def _draw_one(self, index: int, slot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng((*self._seed, index, slot))
        if self._sampling == "published":
            volume, centre = self._published_draw(rng, index * self._batch_size + slot)
        elif self._holders and rng.random() < self._foreground_fraction:
            volume, centre = self._foreground_draw(rng)
        else:
            volume = self._volumes[int(rng.integers(len(self._volumes)))]
            centre = rng.integers(0, volume.image.shape)
        source, target = _boxes(volume.image.shape, centre, self._patch_size)
        image, labels = (
            np.full(self._patch_size, volume.darkest, np.float32),
            np.zeros(self._patch_size, np.uint8),
        )
        image[target] = volume.image[source]
        if volume.surroundings is not None:
            z, y, x = (each.start for each in source)
            volume.surroundings.paint(image[target], (z, y, x), draw_scene(rng))
        if volume.labels is not None:
            labels[target] = volume.labels[source]
        return image, labels, volume.annotated

    def _foreground_draw(self, rng: np.random.Generator) -> tuple[TrainingVolume, np.ndarray]:
        wanted = list(self._holders)[rng.integers(len(self._holders))]
        volume = self._holders[wanted][rng.integers(len(self._holders[wanted]))]
        voxels = volume.locations[wanted]
        reach = np.array(self._patch_size) // 4
        return volume, voxels[rng.integers(len(voxels))] + rng.integers(-reach, reach + 1)

    def _published_draw(self, rng: np.random.Generator, number: int) -> tuple[TrainingVolume, np.ndarray]:
        epoch, place = divmod(number, len(self._volumes))
        order = np.random.default_rng((*self._seed, epoch)).permutation(len(self._volumes))
        volume = self._volumes[int(order[place])]
        size = np.array(self._patch_size)
        corner = rng.integers(0, np.maximum(np.array(volume.image.shape) - size, 1))
        return volume, corner + size // 2


def _boxes(
    shape: Sequence[int], centre: np.ndarray, size: Shape
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """What the patch round ``centre`` shows of a volume, and where in the patch that lies.

    A patch is pushed inside the volume; a volume smaller than it lies in its middle.
    """
    source, target = [], []
    for middle, length, side in zip(centre, shape, size, strict=True):
        if length <= side:
            offset = (side - length) // 2
            source.append(slice(0, length))
            target.append(slice(offset, offset + length))
        else:
            start = min(max(int(middle) - side // 2, 0), length - side)
            source.append(slice(start, start + side))
            target.append(slice(0, side))
    return tuple(source), tuple(target)


def prefetch(
    samplers: Sequence[PatchSampler], start: int, stop: int
) -> Generator[tuple[Patches, ...], None, None]:
    """Draws batches ``start`` … ``stop − 1`` from every sampler, a few ahead, in one thread."""

    def draw(index: int) -> tuple[Patches, ...]:
        return tuple(sampler.draw(index) for sampler in samplers)

    with ThreadPoolExecutor(1, "skcdf-prefetch") as executor:
        first = range(start, min(start + LOOK_AHEAD, stop))
        waiting = deque(executor.submit(draw, index) for index in first)
        try:
            for index in range(start + LOOK_AHEAD, stop + LOOK_AHEAD):
                if not waiting:
                    return
                patches = waiting.popleft().result()
                if index < stop:
                    waiting.append(executor.submit(draw, index))
                yield patches
        finally:
            for future in waiting:
                future.cancel()
