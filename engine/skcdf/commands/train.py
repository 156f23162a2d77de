"""``skcdf train``: train a model on a data set; the same command again goes on where it stopped."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, SkcdfError

if TYPE_CHECKING:
    from ..cases import Dataset
    from ..device import Device
    from ..models import ModelBundle
    from ..survey import Survey
    from ..trainer import TrainingConfig, TrainingVolume, VolumeCache

SUMMARY = "Train a model on a labelled pool, an nnU-Net raw data set or an MSD task; run it again to go on."
EXAMPLE = """examples:
  skcdf train pool/ runs/first --preset quick
  skcdf train pool/ runs/long --iterations 8000 --mirror
The model lies in RUN/model when the training is done."""
SETTINGS_FILE = "settings.json"
RECIPES = ("published",)
SETTINGS = (
    "method",
    "compat",
    "iterations",
    "filters",
    "batch_size",
    "unlabelled_batch_size",
    "accumulate",
    "epoch_length",
    "optimizer",
    "learning_rate",
    "sampling",
    "foreground_fraction",
    "augmentation",
    "mirror",
    "validations",
    "patience",
    "seed",
)
"""Settings that are command line arguments of the same name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    from .options import add_compute_arguments
    from .plan import add_budget_arguments

    parser.add_argument(
        "data", type=Path, metavar="POOL", help="labelled pool, nnU-Net raw data set or MSD task folder"
    )
    parser.add_argument(
        "run_folder", type=Path, metavar="RUN", help="folder of this run; an interrupted one is resumed"
    )
    parser.add_argument("--name", help="the model's name (default: that of RUN)")
    parser.add_argument(
        "--preset",
        choices=("quick", "standard", "thorough"),
        default="standard",
        help="number of iterations; skcdf plan says how long each takes (default standard)",
    )
    _add_method_arguments(parser)
    _add_setting_arguments(parser)
    add_budget_arguments(parser)
    add_compute_arguments(parser)


def _add_method_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the method")
    group.add_argument(
        "--method", help="supervised (default) or skcdf, which learns from unlabelled scans, too"
    )
    group.add_argument(
        "--compat",
        choices=("corrected", "published"),
        help="the method as corrected here (default), or as the authors' program computes it",
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the method's own settings (docs/methods.md), such as mask=multiply; may be repeated",
    )
    group.add_argument(
        "--recipe",
        choices=RECIPES,
        help="published: everything as in the published SKCDF experiments, preprocessing included",
    )


def _add_setting_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("instead of the plan's choice")
    group.add_argument("--iterations", type=int)
    group.add_argument("--filters", type=int)
    group.add_argument("--patch-size", type=int, nargs=3, metavar=("Z", "Y", "X"), help="multiples of 32")
    group.add_argument("--spacing", type=float, nargs=3, metavar=("Z", "Y", "X"), help="mm")
    group.add_argument("--batch-size", type=int, help="labelled patches")
    group.add_argument("--unlabelled-batch-size", type=int, help="unlabelled patches")
    group.add_argument("--accumulate", type=int, metavar="N", help="batches whose gradients make one step")
    group.add_argument("--epoch-length", type=int, help="steps between changes of learning rate and ramps")
    group.add_argument("--optimizer", choices=("sgd", "adamw"))
    group.add_argument("--learning-rate", type=float)
    group.add_argument("--sampling", choices=("balanced", "published"))
    group.add_argument("--foreground-fraction", type=float)
    group.add_argument("--augmentation", choices=("standard", "published", "none"))
    group.add_argument(
        "--mirror",
        action="store_const",
        const=True,
        help="left-right flips that exchange left and right labels",
    )
    group.add_argument("--validations", type=int, metavar="N", help="how often to look for the best weights")
    group.add_argument("--patience", type=int, metavar="N", help="stop after so many without a better one")
    group.add_argument("--seed", type=int)
    group.add_argument(
        "--cache-gib",
        type=float,
        default=4.0,
        metavar="GIB",
        help="memory for preprocessed scans (default 4); further ones go to files in RUN",
    )


def run(options: argparse.Namespace) -> int:
    """Trains; see `SUMMARY`."""
    from ..datasets import open_dataset
    from ..device import choose_device
    from ..models import check_name
    from ..survey import survey_dataset
    from .console import ConsoleProgress

    name = options.name or re.sub(r"[^A-Za-z0-9._-]+|^[._-]+", "_", options.run_folder.resolve().name).lstrip(
        "_"
    )
    name = name[:64] or "model"
    check_name(name)  # now, not after hours of training
    dataset = open_dataset(options.data)
    device = choose_device(options.device, options.precision)
    print(f"device: {device.description}")
    progress = ConsoleProgress()
    survey = survey_dataset(dataset, progress)
    config = _settings(options, dataset, survey, device)
    model = _train(config, dataset, survey, device, options, name)
    if dataset.validation:
        model = _validate(model, dataset, device)
    print(f"{model.folder}\n{model.notice}")
    return 0


def _settings(
    options: argparse.Namespace, dataset: Dataset, survey: Survey, device: Device
) -> TrainingConfig:
    """Those of the run that is resumed, else those of a fresh plan; the user's own choices go before both."""
    from ..files import read_json, write_json
    from ..plan import Budget, make_plan, with_preset
    from ..recipes import published_recipe
    from ..trainer import TrainingConfig
    from .console import duration
    from .plan import describe_plan

    file = options.run_folder / SETTINGS_FILE
    chosen = _chosen(options)
    if file.exists():
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
    if options.recipe:
        chosen = {**published_recipe(len(dataset.unlabelled)), **chosen}
    plan = make_plan(survey, dataset.label_set, device, Budget(options.memory_gib, options.minutes), chosen)
    config = plan.config if "iterations" in chosen else with_preset(plan, options.preset)
    seconds = config.iterations * plan.seconds_per_iteration
    print(f"{describe_plan(plan)}\nthis run: {config.iterations} iterations, about {duration(seconds)}")
    write_json(file, config.to_json())
    return config


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the user gave on the command line."""
    given = {name: getattr(options, name) for name in SETTINGS}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options.patch_size:
        chosen["patch_size"] = tuple(options.patch_size)
    if options.option:
        chosen["method_options"] = dict(map(_method_option, options.option))
    return chosen


def _method_option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise SkcdfError(
            f"--option {text}: this is no NAME=VALUE.", "Give, for instance, --option mask=multiply."
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _train(
    config: TrainingConfig,
    dataset: Dataset,
    survey: Survey,
    device: Device,
    options: argparse.Namespace,
    name: str,
) -> ModelBundle:
    from ..trainer import Trainer, VolumeCache, export_bundle
    from .console import ConsoleProgress, cancel_on_interrupt, duration

    progress, run_folder = ConsoleProgress(), options.run_folder
    cache = VolumeCache(run_folder / "cache", options.cache_gib)
    volumes = {kind: _load(dataset, config, kind, cache) for kind in _needed(config)}
    trained = [*volumes["labelled"], *volumes.get("unlabelled", [])]
    data: dict[str, object] = {"cases": sorted([volume.name, volume.image_hash] for volume in trained)}
    with cancel_on_interrupt() as cancel:
        trainer = Trainer(
            config,
            dataset.label_set,
            volumes["labelled"],
            volumes.get("unlabelled", []),
            run_folder,
            device,
            data,
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
    print(
        f"trained {state.iteration} iterations in {duration(state.seconds)}, last loss {state.history[-1][1]:.3f}"
    )
    if state.best:
        print(f"best on validation after {state.best[0]} iterations: mean Dice {state.best[1]:.3f}")
    model = export_bundle(run_folder / "model", name, trainer, dataset, survey)
    cache.close()
    return model


def _needed(config: TrainingConfig) -> list[str]:
    """The parts of a data set that a training reads."""
    from ..methods import method_class

    unlabelled = method_class(config.method).uses_unlabelled
    return ["labelled", *["unlabelled"] * unlabelled, *["validation"] * bool(config.validations)]


def _load(dataset: Dataset, config: TrainingConfig, kind: str, cache: VolumeCache) -> list[TrainingVolume]:
    from ..progress import Progress
    from ..trainer import load_volume
    from .console import ConsoleProgress

    progress = ConsoleProgress()
    cases = getattr(dataset, kind)
    volumes = []
    for index, case in enumerate(cases):
        volume = load_volume(case, dataset.label_set, config.preprocessing, config.seed)
        volumes.append(cache.keep(volume))
        progress(Progress(f"load {kind} cases", index + 1, len(cases)))
    return volumes


def _validate(model: ModelBundle, dataset: Dataset, device: Device) -> ModelBundle:
    """Segments the pinned validation cases with the new model, prints the table and keeps it in the bundle."""
    from ..image import read_image, read_label_map
    from ..inference import Predictor
    from ..metrics import OrganScore, evaluate_case, summarize
    from ..models import Accuracy, save_bundle
    from ..pool import voxel_hash
    from ..progress import Progress
    from .console import ConsoleProgress
    from .evaluate import organ_table

    predictor, progress = Predictor(model, device), ConsoleProgress()
    scores: list[tuple[OrganScore, ...]] = []
    for index, case in enumerate(dataset.validation):
        assert case.label is not None  # what `validation` means
        reference = read_label_map(case.label)
        scan = read_image(case.image)
        if voxel_hash(scan) in model.training.image_hashes:
            raise SkcdfError(
                f"{case.image}: this validation scan was trained on.",
                "Take it out of one of the two splits and train again.",
            )
        prediction = predictor.segment(scan).label_map
        spacing = reference.geometry.array_spacing
        scores.append(
            evaluate_case(
                prediction.array, reference.array, dataset.label_set, spacing, annotated=case.annotated
            )
        )
        progress(Progress("validate", index + 1, len(dataset.validation)))
    print(f"validation, {len(scores)} cases:\n{organ_table(scores)}")
    protocol = f"the {len(scores)} pinned validation cases of data set {dataset.name}"
    metrics = tuple(
        Accuracy(
            each.organ,
            "dice",
            each.dice.mean,
            each.dice.sd if each.dice.n > 1 else None,
            each.dice.n,
            protocol,
        )
        for each in summarize(scores)
        if each.dice.n
    )
    assert model.folder is not None  # it was exported
    return save_bundle(model.folder, replace(model, metrics=metrics), model.load_weights())
