"""Derives a training plan from a data set and a budget, in the manner of nnU-Net's planning (`docs/planning.md`)."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .allocator import keep_freed_memory
from .device import Device, is_shortage, told_if_short
from .errors import SkcdfError
from .labels import LabelSet
from .methods import Batch, Moment, Problem, method_class
from .preprocessing import Intensity, PreprocessingPlan, Shape, Spacing
from .progress import CancelToken
from .survey import Survey
from .trainer.config import TrainingConfig
from .trainer.failures import too_little_to_train
from .trainer.schedule import build_optimizer

PRESETS = {"quick": 300, "standard": 5000, "thorough": 25000}
"""Optimiser steps of each preset."""

AIR_HU = -500.0
SOFT_TISSUE_HU = (-200.0, 300.0)
DARK_MARGIN_HU = 100.0
"""The window reaches this far below the darkest organ's median."""
PATCH_STEP = 32
MEASURING_SECONDS = 20.0
"""A step that takes longer than this is not repeated."""
BODY_SHARE = 8
"""A patch should cover at least 1/8 of the median scan, half of it along each axis, to see where it is."""
PROBES: tuple[Shape, ...] = (
    (32, 32, 32),
    (32, 64, 64),
    (64, 64, 64),
    (64, 96, 96),
    (96, 96, 96),
    (96, 128, 128),
    (128, 128, 128),
)
"""Patch sizes whose training step is measured, smallest first."""
STEP_SETTINGS = (
    "method",
    "compat",
    "method_options",
    "loss",
    "plugin",
    "plugin_options",
    "batch_size",
    "unlabelled_batch_size",
    "accumulate",
    "optimizer",
)
"""What a step's time and memory depend on, beside patch and filters."""
CHOSEN = "chosen by you"
_DECIDED_BY = {
    "intensity": {"preprocessing"},
    "spacing": {"preprocessing", "spacing"},
    "filters": {"filters"},
    "batch": {"batch_size"},
    "patch": {"patch_size"},
}
"""The settings by which a user takes a choice from the plan."""

_SMALL_PATCH = 32 * 64 * 64  # below it a narrower network with a larger patch serves better
_BYTES_PER_ACTIVATION = 20
"""Activations kept for the backward pass, a voxel and filter: an estimate, not a measurement."""


@dataclass(frozen=True)
class Budget:
    """What a training may take.

    Attributes:
        memory_gib: peak memory of a training step.
        minutes: wall-clock time of ``iterations``.
        iterations: optimiser steps that the time is for; those of the ``standard`` preset unless told otherwise.
    """

    memory_gib: float = 6.0
    minutes: float = 40.0
    iterations: int = PRESETS["standard"]

    def __post_init__(self) -> None:
        amounts = {"memory": self.memory_gib, "minutes": self.minutes, "iterations": self.iterations}
        for name, value in amounts.items():
            if not 0 < value < math.inf:
                raise SkcdfError(f"A budget of {value:g} ({name}) is none.", "Give a number above 0.")


@dataclass(frozen=True)
class Choice:
    """One decision of a plan, in words.

    Attributes:
        what: the quantity.
        value: what was chosen.
        why: the reason.
    """

    what: str
    value: str
    why: str


@dataclass(frozen=True)
class TrainingPlan:
    """A plan and its reasons.

    Attributes:
        config: the settings, for the ``standard`` preset.
        choices: every decision with its reason, in reading order.
        seconds_per_iteration: measured on this machine.
    """

    config: TrainingConfig
    choices: tuple[Choice, ...]
    seconds_per_iteration: float

    def minutes(self, preset: str) -> float:
        """Expected wall-clock time of a preset of `PRESETS`, loading the data not counted."""
        return PRESETS[preset] * self.seconds_per_iteration / 60


def make_plan(
    survey: Survey,
    label_set: LabelSet,
    device: Device,
    budget: Budget,
    chosen: Mapping[str, Any] | None = None,
    cancel: CancelToken | None = None,
) -> TrainingPlan:
    """Chooses spacing, intensities, filters, batch and patch, and measures an iteration.

    Args:
        survey: of the data set.
        label_set: of the data set.
        device: where training will run; the time is measured there.
        budget: time and memory.
        chosen: settings that the user has decided, by their names in `TrainingConfig`; ``spacing``, too.
        cancel: obeyed before every measured step.

    Raises:
        Cancelled: the token was raised.
        SkcdfError: there is too little memory for what was chosen.
    """
    chosen = dict(chosen or {})
    decided = frozenset(chosen)
    trained = {name: chosen[name] for name in STEP_SETTINGS if name in chosen}
    filters = chosen.get("filters", 32 if device.name == "cuda" else 16)
    if "patch_size" in chosen:
        voxels = math.prod(chosen["patch_size"])
    else:
        voxels = _affordable(label_set, device, budget, filters, trained, cancel)
        if voxels < _SMALL_PATCH and filters > 8 and "filters" not in chosen:
            filters = 8
            voxels = _affordable(label_set, device, budget, filters, trained, cancel)
    fits = voxels > 0
    voxels = max(voxels, PATCH_STEP**3)
    spacing = chosen.pop("spacing", None) or _spacing(survey, voxels)
    shape = np.maximum(np.median(survey.extents, axis=0) / spacing, 1)
    patch = _patch_size(shape, voxels)
    preprocessing = PreprocessingPlan(
        _intensity(survey), spacing=spacing, body_threshold=AIR_HU if survey.modality == "CT" else None
    )
    config = TrainingConfig(
        preprocessing, patch, filters=filters, batch_size=2, iterations=PRESETS["standard"]
    )
    config = replace(config, **chosen)
    with told_if_short(lambda: too_little_to_train(config, device)):
        seconds = measure_iteration(config, label_set, device, cancel=cancel)
    return TrainingPlan(config, _reasons(survey, config, budget, device, decided, fits), seconds)


def measure_iteration(
    config: TrainingConfig,
    label_set: LabelSet,
    device: Device,
    repeats: int = 3,
    cancel: CancelToken | None = None,
) -> float:
    """Seconds of one optimiser step on random patches: median of ``repeats`` after a warm-up.

    Raises:
        Cancelled: ``cancel`` was raised.
    """
    keep_freed_memory()
    classes = label_set.number_of_classes
    problem = Problem(1, classes, config.filters, config.patch_size, loss=config.loss)
    method = config.build_method(problem)
    device.place(method.network)
    optimizer = build_optimizer(method.network, config)
    shape = (config.batch_size, *config.patch_size)
    batch = Batch(
        _noise(config.batch_size, config.patch_size, device),
        torch.randint(classes, shape, device=device.torch_device),
        torch.ones(config.batch_size, classes, dtype=torch.bool, device=device.torch_device),
        _noise(config.unlabelled_batch_size, config.patch_size, device) if method.uses_unlabelled else None,
    )
    moment, times = Moment(0.5, 0.5), []
    for _ in range(repeats + 1):
        if cancel is not None:
            cancel.raise_if_cancelled()
        begin = time.perf_counter()
        method.begin_step(moment)
        optimizer.zero_grad()
        for _ in range(config.accumulate):
            for losses in device.autocast_each(method.losses(batch, moment)):
                torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        next(method.network.parameters()).sum().item()  # waits for a GPU
        times.append(time.perf_counter() - begin)
        if sum(times) > MEASURING_SECONDS:
            break
    return float(np.median(times[1:] or times))


def _noise(count: int, patch_size: Shape, device: Device) -> Tensor:
    images = torch.randn((count, 1, *patch_size), device=device.torch_device)
    return images.contiguous(memory_format=torch.channels_last_3d)


def _affordable(
    label_set: LabelSet,
    device: Device,
    budget: Budget,
    filters: int,
    trained: Mapping[str, Any],
    cancel: CancelToken | None,
) -> int:
    """Voxels of the largest of `PROBES` whose step fits memory and time; 0 when none does.

    Measured, from the smallest on: an extrapolation from a small step would be wrong by a factor, since small
    patches leave most of a processor idle.
    """
    affordable = 0
    seconds_allowed = budget.minutes * 60 / budget.iterations
    for patch in PROBES:
        config = TrainingConfig(
            PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1)), patch, filters=filters, **trained
        )
        voxels = math.prod(patch)
        bytes_per_voxel = _BYTES_PER_ACTIVATION * filters + 16 * label_set.number_of_classes
        patches = config.batch_size
        if method_class(config.method).uses_unlabelled:
            patches += config.unlabelled_batch_size
        if patches * bytes_per_voxel * voxels > budget.memory_gib * 2**30:
            break
        try:
            seconds = measure_iteration(config, label_set, device, 2, cancel)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            break
        if seconds > seconds_allowed:
            break
        affordable = voxels
    return affordable


def _spacing(survey: Survey, voxels: int) -> Spacing:
    """The median spacing, its finest axes coarsened until a patch covers `BODY_SHARE` of the median scan."""
    spacing = np.median(survey.spacings, axis=0)
    extent = np.median(survey.extents, axis=0)
    while math.prod(np.maximum(extent / spacing, 1)) > BODY_SHARE * voxels:
        spacing[spacing <= spacing.min() * 1.05] *= 1.05
    z, y, x = (float(round(value, 2)) for value in spacing)
    return z, y, x


def _patch_size(shape: Sequence[float], voxels: int) -> Shape:
    """A box of the median scan's proportions, sides multiples of 32, of at most ``voxels``."""
    sides = [PATCH_STEP * max(1, math.ceil(n / PATCH_STEP)) for n in shape]
    while math.prod(sides) > voxels and max(sides) > PATCH_STEP:
        shrinkable = [axis for axis in range(3) if sides[axis] > PATCH_STEP]
        sides[max(shrinkable, key=lambda axis: sides[axis] / shape[axis])] -= PATCH_STEP
    return sides[0], sides[1], sides[2]


def _intensity(survey: Survey) -> Intensity:
    if survey.modality != "CT":
        return Intensity("z_score")
    low, high = SOFT_TISSUE_HU
    low = float(round(min(low, survey.lowest_organ - DARK_MARGIN_HU)))
    clipped = survey.foreground.clip(low, high)
    return Intensity(
        "window", low, high, round(float(clipped.mean()), 2), round(max(float(clipped.std()), 1.0), 2)
    )


def _reasons(
    survey: Survey,
    config: TrainingConfig,
    budget: Budget,
    device: Device,
    chosen: Collection[str],
    fits: bool,
) -> tuple[Choice, ...]:
    """Every choice with its reason; ``fits`` tells whether any patch keeps to the budget."""
    intensity, resized = config.preprocessing.intensity, config.preprocessing.shape
    spacing = config.preprocessing.spacing or survey.median_spacing
    shape = resized or np.maximum(np.median(survey.extents, axis=0) / spacing, 1)
    window = f"{intensity.low:g} … {intensity.high:g} HU"
    ct = survey.modality == "CT"
    duration = f"{budget.minutes:g} min for {budget.iterations} iterations"
    allowed = f"{budget.memory_gib:g} GiB and {duration}"
    filters_why = f"what {duration} and the device allow"
    if "patch_size" in chosen:
        filters_why = "usual on such a device"
    planned = (
        Choice("device", device.description, "the fastest that works here"),
        Choice(
            "cases", f"{survey.labelled} labelled, {survey.unlabelled} unlabelled", "in the training split"
        ),
        Choice("modality", survey.modality, "as the data set says"),
        Choice(
            "intensity",
            window if ct else "z-score of each volume",
            "soft tissue, and the darkest organ" if ct else "MR has no absolute scale",
        ),
        Choice(
            "spacing",
            "another for every scan" if resized else f"{_triple(spacing, '.2f')} mm (z, y, x)",
            _spacing_reason(survey, spacing),
        ),
        Choice("median scan", f"{_triple(shape, '.0f')} voxels", "at that spacing"),
        Choice("filters", str(config.filters), filters_why if fits else f"few: no patch fits {allowed}"),
        Choice("batch", str(config.batch_size), "larger patches serve better than more of them"),
        Choice(
            "patch",
            f"{_triple(config.patch_size, 'd')} voxels",
            f"multiples of {PATCH_STEP} within {allowed}" if fits else f"the smallest: none fits {allowed}",
        ),
    )
    return tuple(
        replace(choice, why=CHOSEN) if _DECIDED_BY.get(choice.what, set()) & set(chosen) else choice
        for choice in planned
    )


def _spacing_reason(survey: Survey, spacing: Spacing) -> str:
    median = survey.median_spacing
    reason = f"median of {len(survey.spacings)} scans ({_triple(median, '.2f')})"
    if any(planned > own * 1.01 for planned, own in zip(spacing, median, strict=True)):
        reason += f", coarsened until a patch covers 1/{BODY_SHARE} of the median scan"
    return reason


def _triple(values: Sequence[float] | np.ndarray, form: str) -> str:
    return " x ".join(format(value, form) for value in values)


def with_preset(plan: TrainingPlan, preset: str) -> TrainingConfig:
    """The plan's settings with a preset's number of iterations."""
    return replace(plan.config, iterations=PRESETS[preset])
