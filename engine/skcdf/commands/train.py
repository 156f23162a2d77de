"""``skcdf train``: train a model on a data set; the same command again goes on where it stopped."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import Cancelled, SkcdfError
from .train_arguments import add_arguments, check_method, chosen_settings

__all__ = ["EXAMPLE", "SUMMARY", "add_arguments", "run"]

if TYPE_CHECKING:
    from pathlib import Path

    from ..cases import Dataset
    from ..device import Device
    from ..models import ModelBundle
    from ..survey import Survey
    from ..trainer import Trainer, TrainingConfig, VolumeCache

SUMMARY = "Train a model on a labelled pool, an nnU-Net raw data set or an MSD task; run it again to go on."
EXAMPLE = """examples:
  skcdf train pool/ runs/first --preset quick
  skcdf train pool/ runs/long --iterations 8000 --mirror
  torchrun --nproc-per-node 2 -m skcdf train pool/ runs/both   (docs/distributed.md)
The model lies in RUN/model when the training is done, and RUN/report.html tells how it went."""


def run(options: argparse.Namespace) -> int:
    """Trains; see `SUMMARY`."""
    from .console import spoken_by_first

    with spoken_by_first():
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    from ..datasets import open_dataset
    from ..device import choose_device
    from ..launch import launched
    from ..models import check_name
    from ..ranks import from_first, joined
    from ..run_folder import alone_in, require_apart
    from ..survey import survey_dataset
    from ..trainer import VolumeCache
    from ..training_run import check_model_folder, export_run
    from .console import ConsoleProgress

    folder = re.sub(r"[^A-Za-z0-9._-]+", "_", options.run_folder.resolve().name).lstrip("._-")
    name = options.name or folder[:64] or "model"
    check_name(name)  # now, not after hours of training
    require_apart(options.run_folder, options.data)
    check_model_folder(options.run_folder)
    check_method(chosen_settings(options))
    dataset = open_dataset(options.data)
    device = choose_device(options.device, options.precision)
    print(f"device: {device.description}")
    if dataset.protocol:
        print(f"protocol: {dataset.protocol}")
    with alone_in(options.run_folder):  # the settings there are another run's until then
        survey = config = None
        if launched().rank == 0:  # before it joins: what plans measure is one process's work
            survey = survey_dataset(dataset, ConsoleProgress())
            config = _settings(options, dataset, survey, device)
        advice = "The same command goes on from the last checkpoint."
        with joined(device.name, str(device.precision), advice):
            config = from_first(config)
            assert config is not None  # what the first has
            if launched().processes > 1:
                print(f"{launched().processes} processes train together, each with batches of its own")
            with VolumeCache(options.run_folder, options.cache_gib) as cache:
                trainer = _train(config, dataset, device, options.run_folder, cache)
                model = export_run(trainer, name, dataset, survey)
        if model is not None:
            _report(trainer, model, dataset, device)
    return 0


def _settings(
    options: argparse.Namespace, dataset: Dataset, survey: Survey, device: Device
) -> TrainingConfig:
    """Those of the run that is resumed, else those of a fresh plan; the user's own choices go before both."""
    from ..files import read_json, write_json
    from ..plan import Budget, make_plan, with_preset
    from ..progress import duration
    from ..recipes import published_recipe
    from ..trainer import TrainingConfig
    from ..trainer.checkpoint import FILE_NAME
    from ..training_run import SETTINGS_FILE
    from .plan import describe_plan

    file = options.run_folder / SETTINGS_FILE
    chosen = chosen_settings(options)
    if options.recipe:
        if options.spacing:
            raise SkcdfError(
                f"--recipe {options.recipe} resizes every scan to one shape and takes no --spacing.",
                "Leave out one of the two.",
            )
        chosen = {**published_recipe(len(dataset.unlabelled)), **chosen}
    if file.exists() and (options.run_folder / FILE_NAME).exists():
        config = TrainingConfig.from_json(read_json(file, "settings of a run"), str(file))
        if options.spacing:
            chosen["preprocessing"] = replace(config.preprocessing, spacing=tuple(options.spacing))
        if replace(config, **chosen) != config:
            raise SkcdfError(
                f"{file}: the run in this folder has other settings.",
                "Leave them out to go on with it, or give another folder to start anew.",
            )
        return config
    if options.spacing:
        chosen["spacing"] = tuple(options.spacing)
    plan = make_plan(survey, dataset.label_set, device, Budget(options.memory_gib, options.minutes), chosen)
    config = plan.config if "iterations" in chosen else with_preset(plan, options.preset)
    seconds = config.iterations * plan.seconds_per_iteration
    print(f"{describe_plan(plan)}\nthis run: {config.iterations} iterations, about {duration(seconds)}")
    write_json(file, config.to_json())
    return config


def _train(
    config: TrainingConfig, dataset: Dataset, device: Device, run_folder: Path, cache: VolumeCache
) -> Trainer:
    from ..progress import duration
    from ..trainer import Trainer
    from ..training_run import data_of, load_volumes
    from .console import ConsoleProgress, cancel_on_interrupt

    progress = ConsoleProgress()

    def say(line: str) -> None:
        progress.close()
        print(line)

    volumes = load_volumes(dataset, config, cache, progress, say=say)
    with cancel_on_interrupt() as cancel:
        trainer = Trainer(
            config,
            dataset.label_set,
            volumes["labelled"],
            volumes.get("unlabelled", []),
            run_folder,
            device,
            data_of(volumes, dataset.label_set),
            progress,
            cancel,
            volumes.get("validation", []),
        )
        try:
            state = trainer.run()
        except Cancelled:
            progress.close()
            print(f"stopped; the same command goes on from {trainer.checkpoint_file}")
            raise
    progress.close()
    loss = f", last loss {state.history[-1][1]:.3f}" if state.history else ""
    print(f"trained {state.iteration} iterations in {duration(state.seconds)}{loss}")
    if state.best:
        print(f"best on validation after {state.best[0]} iterations: mean Dice {state.best[1]:.3f}")
    return trainer


def _report(trainer: Trainer, model: ModelBundle, dataset: Dataset, device: Device) -> None:
    from ..training_report import Validation, validate_model, write_training_report
    from .console import ConsoleProgress
    from .evaluate import organ_table

    validation = Validation()
    if dataset.validation:
        model, validation = validate_model(model, dataset, device, progress=ConsoleProgress())
        print(f"validation, {len(validation.scores)} cases:\n{organ_table(validation.scores)}")
    command = shlex.join(["skcdf", *sys.argv[1:]])
    report = write_training_report(trainer, model, dataset, device, validation, command)
    print(f"{model.folder}\n{report}\n{model.notice}")
