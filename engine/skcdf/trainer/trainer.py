"""The training loop that all methods share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..allocator import keep_freed_memory
from ..device import Device, told_if_short
from ..errors import Cancelled, SkcdfError
from ..labels import LabelSet
from ..methods import Batch, Method, Moment, Problem
from ..methods.class_balance import annotated_counts
from ..networks import build_network
from ..progress import CancelToken, Progress, ProgressCallback, ignore_progress
from ..ranks import any_rank, rank, require_same, stop_together, world_size
from ..training_figures import ClassBalance, Observer, curve_points, ignore_figures
from .augment import augmented
from .best_weights import BestWeights
from .checkpoint import FILE_NAME, TrainingState, load_checkpoint, plain, save_checkpoint
from .config import TrainingConfig
from .data import Patches, PatchSampler, TrainingVolume, check_volumes, prefetch
from .distributed import SharedLosses, share_batch_statistics
from .failures import not_a_number, too_little_to_train
from .resuming import require_same_run
from .schedule import build_optimizer, set_learning_rate
from .transfer import Transfer
from .validation import mean_dice, validate

CHECKPOINT_SECONDS = 60.0
HISTORY_STEP = 20
STATISTICS_BATCHES = 12
"""Batches from which a method gathers batch statistics anew (`Method.weights`)."""
_PATCHES, _UNLABELLED, _CHANGES, _DROPOUT, _STATISTICS = range(5)  # streams of random numbers


@dataclass
class Trainer:
    """Trains one method on one set of volumes; can be stopped at any iteration and goes on exactly there.

    Where several processes have joined (`ranks`), each has a trainer and all of them train one network together.

    Attributes:
        config: the settings.
        label_set: of the volumes.
        labelled, unlabelled: the volumes.
        run_folder: where the checkpoint and the best weights lie.
        device: where to compute.
        data: what the volumes were made from; kept in the checkpoint, and a resumed training must match it. The
            number of processes is kept with it.
        progress: called after every iteration.
        cancel: asked before every iteration; a cancelled training writes a checkpoint first.
        validation: labelled volumes, by which the best weights are chosen; none of them is trained on.
        start: weights to begin with instead of random ones. They are validated first, so that no worse ones are kept.
        observe: gets points of the curves as they come, those of earlier sessions first, and the class balance.
        stop_after_s: seconds of training, over all sessions, after which it ends as if the last iteration was done.
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
    validation: Sequence[TrainingVolume] = ()
    start: Transfer | None = None
    stop_after_s: float = math.inf
    observe: Observer = ignore_figures

    def __post_init__(self) -> None:
        check_volumes(
            self.label_set, self.labelled, self.unlabelled, self.validation, mirror=self.config.mirror
        )
        keep_freed_memory()
        torch.manual_seed(self.config.seed)
        self.method: Method = self.config.build_method(self._problem())
        if self.method.uses_unlabelled and not self.unlabelled:
            raise SkcdfError(
                f"Method {self.config.method} needs unlabelled scans and there are none.",
                "Add some to the data set, or take --method supervised.",
            )
        if self.start is not None:
            self.method.network.load_state_dict(self.start.weights)
        if world_size() > 1:
            share_batch_statistics(self.method.network, self.device)
        with told_if_short(self._too_little):
            self.device.place(self.method.network)
        self._groups: Callable[[Batch, Moment, bool], Iterator[dict[str, Tensor]]] = (
            SharedLosses(self.method, self.device) if world_size() > 1 else self._own_groups
        )
        carried = self.start.carried if self.start else ()
        self._optimizer = build_optimizer(self.method.network, self.config, carried)
        self._scaler = self.device.gradient_scaler()
        self._samplers = self._make_samplers()
        self._validation_s = 0.0
        data = dict(self.data)
        if world_size() > 1:
            data["processes"] = world_size()
        if self.start is not None:
            data["start"] = self.start.digest
        self.state = TrainingState(plain(self.config.to_json()), plain(data))

    @property
    def checkpoint_file(self) -> Path:
        """Where the interrupted state is kept."""
        return self.run_folder / FILE_NAME

    @property
    def best_file(self) -> Path:
        """Where the weights of the best validation are kept."""
        return BestWeights(self.run_folder).file(self.state.best[0] if self.state.best else None)

    def run(self) -> TrainingState:
        """Trains to the last iteration, from the run folder's checkpoint where there is one.

        Raises:
            Cancelled: the token was raised; the checkpoint is written.
            SkcdfError: the checkpoint in the folder belongs to other settings or data, or there is too little memory.
        """
        with told_if_short(self._too_little):
            self._resume()
        self._tell_so_far()
        self.method.network.train()
        count = self.config.accumulate
        batches = prefetch(self._samplers, self.state.iteration * count, self.config.iterations * count)
        saved = time.monotonic()
        try:
            with closing(batches), told_if_short(self._too_little):
                while not self._is_finished():
                    with self._timed():
                        stop_together(self.cancel)
                        losses = self.step(self.state.iteration, [next(batches) for _ in range(count)])
                    self._record(losses)
                    if time.monotonic() - saved > CHECKPOINT_SECONDS:
                        self._save()
                        saved = time.monotonic()
                    self.progress(self._report())
        except Cancelled:  # between steps: a step that failed half-way must not be saved
            self._save()
            raise
        self._summarize()  # where patience ran out between two entries
        self._save()
        return self.state

    def step(self, iteration: int, batches: Sequence[tuple[Patches, ...]]) -> dict[str, float]:
        """One optimiser step.

        Args:
            iteration: its number, from 0; with the seed it fixes augmentation and dropout.
            batches: `TrainingConfig.accumulate` times labelled and, for methods that use them, unlabelled patches.

        Returns:
            The losses by name, means over ``batches``.

        Raises:
            SkcdfError: a loss or the gradient is no longer a number; no weight has changed for it.
        """
        torch.manual_seed(self._seed(_DROPOUT, iteration))
        set_learning_rate(self._optimizer, self.config, iteration)
        self.method.begin_step(moment := self.config.moment(iteration))
        self._optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for index, patches in enumerate(batches):
            number, device = iteration * len(batches) + index, self.device.torch_device
            seed = (self.config.seed, _CHANGES)
            batch = augmented(patches, seed, number, _slots, self.config, self.label_set, device)
            for losses in self._groups(batch, moment, index == len(batches) - 1):
                total = torch.stack(list(losses.values())).sum()
                if not bool(torch.isfinite(total)):
                    raise not_a_number("loss", iteration)
                self._scaler.scale(total / len(batches)).backward()
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(batches)
        self._scaler.unscale_(self._optimizer)
        limit = math.inf if self.config.gradient_limit is None else self.config.gradient_limit
        norm = torch.nn.utils.clip_grad_norm_(self.method.network.parameters(), limit)
        if not (self._scaler.is_enabled() or bool(torch.isfinite(norm))):  # the scaler leaves such a step out
            raise not_a_number("gradient", iteration)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return sums

    def _own_groups(self, batch: Batch, moment: Moment, last: bool) -> Iterator[dict[str, Tensor]]:
        """Of a single process: each group's activations are gone before the next is computed."""
        return self.device.autocast_each(self.method.losses(batch, moment))

    def weights(self) -> dict[str, Tensor]:
        """The weights to keep: those of the best validation, or the last ones where there was none.

        All processes must ask for them, since they gather batch statistics together.
        """
        if self.state.best is not None:
            return BestWeights(self.run_folder).read(self.state.best[0])
        return self.current_weights()

    def current_weights(self) -> dict[str, Tensor]:
        """The weights as they are now; all processes must ask for them."""
        return self.method.weights(self._statistics_patches)

    def inference_network(self, weights: dict[str, Tensor]) -> nn.Module:
        """What segments with ``weights``, on the training device."""
        keys = self.method.inference_keys()
        network = build_network(*self.method.inference_network())
        network.load_state_dict(weights if keys == "all" else {key: weights[key] for key in keys})
        self.device.place(network)
        return network

    def draw(self, iteration: int) -> list[tuple[Patches, ...]]:
        """The batches of one step."""
        count = self.config.accumulate
        first = iteration * count
        return [tuple(each.draw(index) for each in self._samplers) for index in range(first, first + count)]

    def _is_finished(self) -> bool:
        """Whether iterations, patience or time have run out; validates first where that is due."""
        late = self._is_late()
        with self._timed():
            self._validate(last=late)
        found, patience = self.state.validations, self.config.patience
        since = len(found) - 1 - found.index(self.state.best) if self.state.best else 0
        hopeless = patience is not None and since >= patience
        return hopeless or late or self.state.iteration >= self.config.iterations

    def _too_little(self) -> SkcdfError:
        return too_little_to_train(self.config, self.device, self.checkpoint_file)

    def _is_late(self) -> bool:
        """Whether there is time for no more than one last validation."""
        if self.stop_after_s == math.inf:
            return False
        return any_rank(self.state.seconds + self._validation_s >= self.stop_after_s)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.state.seconds += time.monotonic() - begin

    def _problem(self) -> Problem:
        ordered = sorted(self.labelled, key=lambda volume: volume.name)
        return Problem(
            channels=1,
            classes=self.label_set.number_of_classes,
            filters=self.config.filters,
            patch_size=self.config.patch_size,
            class_names=("background", *self.label_set.names),
            voxel_counts=np.stack([volume.voxel_counts for volume in ordered]),
            loss=self.config.loss,
        )

    def _seed(self, stream: int, iteration: int) -> int:
        own = (rank(),) if rank() else ()
        sequence = np.random.SeedSequence((self.config.seed, stream, iteration, *own))
        return int(sequence.generate_state(1, np.uint64)[0] >> 1)

    def _make_samplers(self) -> list[PatchSampler]:
        config, sampling, world = self.config, self.config.sampling, world_size()
        size, seed = config.patch_size, config.seed
        streams = [(self.labelled, config.batch_size, config.foreground_fraction, _PATCHES)]
        if self.method.uses_unlabelled:
            streams.append((self.unlabelled, config.unlabelled_batch_size, 0.0, _UNLABELLED))
        return [
            PatchSampler(
                volumes, size, count * world, foreground, seed, stream, slots=_slots(count), sampling=sampling
            )
            for volumes, count, foreground, stream in streams
        ]

    def _statistics_patches(self) -> Iterable[Tensor]:
        """Patches from anywhere in the training scans, as the sliding window sees them."""
        volumes = [*self.labelled, *(self.unlabelled if self.method.uses_unlabelled else ())]
        size, seed = self.config.patch_size, self.config.seed
        sampler = PatchSampler(volumes, size, 2 * world_size(), 0.0, seed, _STATISTICS, slots=_slots(2))
        with self.device.autocast():
            for index in range(STATISTICS_BATCHES):
                stop_together(self.cancel)
                images = sampler.draw(index).images.to(self.device.torch_device)
                yield images.contiguous(memory_format=torch.channels_last_3d)

    def _record(self, losses: dict[str, float]) -> None:
        state = self.state
        state.iteration += 1
        state.recent.append(losses)
        if state.iteration % HISTORY_STEP == 0 or state.iteration == self.config.iterations:
            self._summarize()

    def _summarize(self) -> None:
        """Turns the steps since the last entry of the history, if any, into one more."""
        if self.state.recent:
            self.observe(curve_points([self.state.summarize()], [])[0])

    def _tell_so_far(self) -> None:
        weights = self.method.voxel_weights()
        if weights:
            voxels = annotated_counts(self._problem().voxel_counts).tolist()
            self.observe(ClassBalance(self.label_set.names, voxels[1:], weights[1:]))
        for point in curve_points(self.state.history, self.state.validations):
            self.observe(point)

    def _validate(self, last: bool) -> None:
        """Segments the validation cases where that is due; keeps the weights if they are the best so far.

        Args:
            last: there will be no other occasion.
        """
        state, config = self.state, self.config
        begins = self.start is not None and state.iteration == 0
        due = config.is_validated(state.iteration) or (config.validations > 0 and (begins or last))
        done = bool(state.validations) and state.validations[-1][0] == state.iteration
        if not self.validation or not due or done:
            return
        begin = time.monotonic()
        start = self.start if begins else None
        # statistics gathered anew would make it another model than the parent
        weights = self.method.kept(start.weights) if start and start.faithful else self.current_weights()
        network = self.inference_network(weights)
        organs = validate(
            network,
            self.validation,
            self.label_set,
            self.config.patch_size,
            self.device,
            phase="validate the start" if begins else "validate",
            progress=self.progress,
            cancel=self.cancel,
        )
        dice, best = mean_dice(organs), state.best
        if rank() == 0 and (best is None or dice > best[1]):
            BestWeights(self.run_folder).write(state.iteration, weights)
        state.validations.append([state.iteration, dice, organs])
        self.observe(curve_points([], state.validations[-1:])[0])
        self._validation_s = time.monotonic() - begin
        self._save()
        self.progress(self._report())

    def _resume(self) -> None:
        if self.checkpoint_file.exists():
            self._load()
        require_same(
            f"checkpoint in {self.run_folder}, or other data,",
            (self.state.iteration, self.state.data),
            "The run's folder and the data must lie where all processes see them.",
        )

    def _load(self) -> None:
        stored = require_same_run(self.checkpoint_file, self.state, world_size())
        self.state = load_checkpoint(self.checkpoint_file, self.method.network, self._optimizer)
        self.state.config = stored
        if self.state.scaler:
            self._scaler.load_state_dict(self.state.scaler)

    def _save(self) -> None:
        if rank() > 0:
            return
        self.state.scaler = self._scaler.state_dict()
        save_checkpoint(self.checkpoint_file, self.method.network, self._optimizer, self.state)
        if self.state.best is not None:
            BestWeights(self.run_folder).settle(self.state.best[0])

    def _report(self) -> Progress:
        notes = [f"loss {self.state.history[-1][1]:.3f}"] if self.state.history else []
        if self.state.validations:
            notes.append(f"validation Dice {self.state.validations[-1][1]:.3f}")
        return Progress("train", self.state.iteration, self.config.iterations, ", ".join(notes))


def _slots(count: int) -> range:
    """This process's places among those of all, each of which has ``count``."""
    return range(rank() * count, (rank() + 1) * count)
