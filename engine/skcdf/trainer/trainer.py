"""The training loop that all methods share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..device import Device
from ..errors import Cancelled, SkcdfError
from ..labels import LabelSet
from ..methods import Batch, Method, build_method
from ..progress import CancelToken, Progress, ProgressCallback, ignore_progress
from .augment import apply_changes, draw_changes, mirror_annotated
from .checkpoint import FILE_NAME, TrainingState, load_checkpoint, plain, read_state, save_checkpoint
from .config import TrainingConfig
from .data import Patches, PatchSampler, TrainingVolume, prefetch
from .schedule import build_optimizer, set_learning_rate

CHECKPOINT_SECONDS = 60.0
HISTORY_STEP = 20
GRADIENT_LIMIT = 12.0
_PATCHES, _UNLABELLED, _CHANGES, _DROPOUT = range(4)  # streams of random numbers


@dataclass
class Trainer:
    """Trains one method on one set of volumes; can be stopped at any iteration and goes on exactly there.

    Attributes:
        config: the settings.
        label_set: of the volumes.
        labelled, unlabelled: the volumes.
        run_folder: where the checkpoint lies.
        device: where to compute.
        data: what the volumes were made from; kept in the checkpoint, and a resumed training must match it.
        progress: called after every iteration.
        cancel: asked before every iteration; a cancelled training writes a checkpoint first.
    """

    config: TrainingConfig
    label_set: LabelSet
    labelled: Sequence[TrainingVolume]
    unlabelled: Sequence[TrainingVolume]
    run_folder: Path
    device: Device
    data: dict[str, object] = field(default_factory=dict)
    progress: ProgressCallback = ignore_progress
    cancel: CancelToken = field(default_factory=CancelToken)

    def __post_init__(self) -> None:
        classes = self.label_set.number_of_classes
        torch.manual_seed(self.config.seed)
        self.method: Method = build_method(
            self.config.method, channels=1, classes=classes, filters=self.config.filters
        )
        if not self.labelled:
            raise SkcdfError("There is no labelled training case.", "Add at least one to the data set.")
        if self.method.uses_unlabelled and not self.unlabelled:
            raise SkcdfError(
                f"Method {self.config.method} needs unlabelled scans and there are none.",
                "Add some to the data set, or take --method supervised.",
            )
        self.device.place(self.method.network)
        self._optimizer = build_optimizer(self.method.network, self.config)
        self._scaler = self.device.gradient_scaler()
        self._samplers = self._make_samplers()

    @property
    def checkpoint_file(self) -> Path:
        """Where the interrupted state is kept."""
        return self.run_folder / FILE_NAME

    def run(self) -> TrainingState:
        """Trains to the last iteration, from the run folder's checkpoint where there is one.

        Raises:
            Cancelled: the token was raised; the checkpoint is written.
            SkcdfError: the checkpoint in the folder belongs to other settings or data.
        """
        state = self._resume()
        history, losses, seconds = list(state.history), list(state.recent), state.seconds
        begin = last_saved = time.monotonic()
        self.method.network.train()
        iteration = state.iteration
        try:
            for patches in prefetch(self._samplers, iteration, self.config.iterations):
                self.cancel.raise_if_cancelled()
                losses.append(self.step(iteration, patches))
                iteration += 1
                if iteration % HISTORY_STEP == 0 or iteration == self.config.iterations:
                    history.append([iteration, float(np.mean(losses))])
                    losses = []
                if time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                    self._save(iteration, seconds + time.monotonic() - begin, history, losses)
                    last_saved = time.monotonic()
                self.progress(self._report(iteration, history))
        except Cancelled:
            self._save(iteration, seconds + time.monotonic() - begin, history, losses)
            raise
        return self._save(iteration, seconds + time.monotonic() - begin, history, losses)

    def step(self, iteration: int, patches: tuple[Patches, ...]) -> float:
        """One optimiser step.

        Args:
            iteration: its number, from 0; with the seed it fixes augmentation and dropout.
            patches: labelled and, for methods that use them, unlabelled patches.

        Returns:
            The summed loss.

        Raises:
            SkcdfError: the loss is no longer a number.
        """
        batch = self._augmented(iteration, patches)
        torch.manual_seed(self._seed(_DROPOUT, iteration))
        set_learning_rate(self._optimizer, self.config, iteration)
        with self.device.autocast():
            losses = self.method.losses(batch, iteration / self.config.iterations)
        total = torch.stack(list(losses.values())).sum()
        if not bool(torch.isfinite(total)):
            raise SkcdfError(
                f"The loss of iteration {iteration} is not a number.",
                "Lower the learning rate, or train with --precision fp32.",
            )
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(total).backward()
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self.method.network.parameters(), GRADIENT_LIMIT)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return float(total.detach())

    def _seed(self, stream: int, iteration: int) -> int:
        sequence = np.random.SeedSequence((self.config.seed, stream, iteration))
        return int(sequence.generate_state(1, np.uint64)[0] >> 1)

    def _make_samplers(self) -> list[PatchSampler]:
        config = self.config
        sizes = (config.patch_size, config.batch_size)
        samplers = [PatchSampler(self.labelled, *sizes, config.foreground_fraction, config.seed, _PATCHES)]
        if self.method.uses_unlabelled:
            samplers.append(PatchSampler(self.unlabelled, *sizes, 0.0, config.seed, _UNLABELLED))
        return samplers

    def _augmented(self, iteration: int, patches: tuple[Patches, ...]) -> Batch:
        device, config = self.device.torch_device, self.config
        spacing = config.preprocessing.spacing or (1.0, 1.0, 1.0)
        parts = []
        for index, drawn in enumerate(patches):
            images, labels, annotated = (
                tensor.to(device, non_blocking=True)
                for tensor in (drawn.images, drawn.labels, drawn.annotated)
            )
            seed = (config.seed, _CHANGES, index, iteration)
            changes = draw_changes(seed, len(images), mirror=config.mirror, augment=config.augment)
            images, labels = apply_changes(images, labels, changes, spacing, self.label_set)
            images = images.contiguous(memory_format=torch.channels_last_3d)
            parts.append((images, labels, mirror_annotated(annotated, changes, self.label_set)))
        images, labels, annotated = parts[0]
        return Batch(images, labels, annotated, parts[1][0] if len(parts) > 1 else None)

    def _resume(self) -> TrainingState:
        start = self._state(0, 0.0, [], [])
        if not self.checkpoint_file.exists():
            return start
        found = read_state(self.checkpoint_file)
        if (found.config, found.data) != (start.config, start.data):
            raise SkcdfError(
                f"{self.checkpoint_file}: this folder holds a run with other settings or data.",
                "Give the same settings to go on with it, or another folder to start anew.",
            )
        state = load_checkpoint(self.checkpoint_file, self.method.network, self._optimizer)
        if state.scaler:
            self._scaler.load_state_dict(state.scaler)
        return state

    def _save(
        self, iteration: int, seconds: float, history: list[list[float]], recent: list[float]
    ) -> TrainingState:
        state = self._state(iteration, seconds, history, recent)
        save_checkpoint(self.checkpoint_file, self.method.network, self._optimizer, state)
        return state

    def _state(
        self, iteration: int, seconds: float, history: list[list[float]], recent: list[float]
    ) -> TrainingState:
        config, data = plain(self.config.to_json()), plain(self.data)
        scaler = self._scaler.state_dict()
        return TrainingState(iteration, seconds, config, data, history, recent, scaler)

    def _report(self, iteration: int, history: list[list[float]]) -> Progress:
        note = f"loss {history[-1][1]:.3f}" if history else ""
        return Progress("train", iteration, self.config.iterations, note)
