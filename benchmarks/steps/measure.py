"""Measures one case in this process: ``python measure.py CASE``, a case as JSON; prints an outcome as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from reference.skcdf_plain import PlainSkcdf
from skcdf.device import Device, choose_device
from skcdf.files import peak_resident_bytes
from skcdf.labels import LabelSet
from skcdf.methods.class_balance import annotated_counts, keep_probabilities
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import TrainingConfig
from skcdf.trainer.data import TrainingVolume, class_locations
from skcdf.trainer.trainer import Trainer
from steps.case import PLAIN, Case, Outcome

ITERATIONS, FIRST = 100, 60
"""A training's length and where it stands: behind its middle, where the methods that begin late have begun."""


def volume(case: Case, index: int, *, labelled: bool) -> TrainingVolume:
    """Noise with bright ellipsoids, one an organ and of very different sizes, on the patch's own grid."""
    rng = np.random.default_rng((index, labelled))
    grid = np.stack(np.meshgrid(*(np.arange(side) for side in case.patch), indexing="ij"), -1)
    labels = np.zeros(case.patch, np.uint8)
    for value in range(1, case.classes):
        radii = np.array(case.patch) * np.exp(rng.uniform(np.log(0.03), np.log(0.25), 3))
        labels[(((grid - rng.uniform(0, case.patch)) / radii) ** 2).sum(-1) < 1] = value
    image = (rng.normal(0, 0.3, case.patch) + labels / case.classes).astype(np.float16)
    annotated = np.ones(case.classes, bool)
    name = f"{'labelled' if labelled else 'unlabelled'} {index}"
    if not labelled:
        return TrainingVolume(name, name, image, None, annotated)
    return TrainingVolume(name, name, image, labels, annotated, class_locations(labels, case.classes, 0))


def trainer_of(case: Case, device: Device, folder: Path) -> Trainer:
    """A training as a user would start it."""
    config = TrainingConfig(
        PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1)),
        case.patch,
        case.method if case.method != PLAIN else "skcdf",
        "published" if case.compat == "published" else "corrected",
        plugin=case.plugin,
        filters=case.filters,
        batch_size=case.batch,
        unlabelled_batch_size=case.batch,
        iterations=ITERATIONS,
        augmentation="standard" if case.augmentation == "standard" else "none",
    )
    label_set = LabelSet.from_names("many", [f"organ {index}" for index in range(1, case.classes)])
    volumes = [
        [volume(case, index, labelled=labelled) for index in range(case.batch)] for labelled in (True, False)
    ]
    return Trainer(config, label_set, volumes[0], volumes[1], folder, device)


def engine_step(trainer: Trainer) -> Callable[[int], None]:
    """The trainer's own step, on patches drawn beforehand."""
    drawn = trainer.draw(FIRST)
    trainer.method.network.train()

    def step(index: int) -> None:
        trainer.step(FIRST + index, drawn)

    return step


def plain_step(case: Case, trainer: Trainer) -> Callable[[int], None]:
    """A step of the transcription on the same patches, with the same optimiser."""
    device = trainer.device.torch_device
    torch.manual_seed(0)
    options = trainer.method.options  # type: ignore[attr-defined]
    plain = PlainSkcdf(
        1,
        case.classes,
        case.patch,
        case.filters,
        published=case.compat == "published",
        dropout=options.dropout,
        attention_dropout=options.attention_dropout,
    ).to(device)
    optimizer = torch.optim.SGD(plain.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=3e-5)
    labelled, unlabelled = trainer.draw(FIRST)[0]
    images, labels, others = (
        each.to(device) for each in (labelled.images, labelled.labels.long(), unlabelled.images)
    )
    counts = np.stack([each.voxel_counts for each in trainer.labelled])
    keep = keep_probabilities(annotated_counts(counts)).float().to(device)
    del trainer.method, trainer._optimizer  # their memory is not the opponent's

    def step(index: int) -> None:
        plain.copy_parameters()
        optimizer.zero_grad()
        plain.loss(images, labels, others, keep, 0.6, options.ramp_weight).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 12.0)
        optimizer.step()

    return step


def measure(case: Case) -> Outcome:
    """All figures of one case."""
    if case.threads:
        torch.set_num_threads(case.threads)
    device = choose_device(case.device, "fp32" if case.method == PLAIN else case.precision)
    start = 0 if device.name == "cuda" else peak_resident_bytes() or 0
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(case, device, Path(folder))
        begin = time.perf_counter()
        trainer.draw(FIRST)
        drawing = time.perf_counter() - begin
        step = plain_step(case, trainer) if case.method == PLAIN else engine_step(trainer)
        seconds, cpu_seconds = [], []
        for index in range(case.warm_up + case.steps):
            begin, cpu = time.perf_counter(), time.process_time()
            step(index)
            if device.name == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begin)
            cpu_seconds.append(time.process_time() - cpu)
    peak = device.peak_memory() or 0
    return Outcome(
        seconds[case.warm_up :], cpu_seconds[case.warm_up :], drawing, peak, start, device.description
    )


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    print(json.dumps(dataclasses.asdict(measure(Case(**{**fields, "patch": tuple(fields["patch"])})))))
