"""``skcdf train``: train a model on a data set; the same command again goes on where it stopped."""

from __future__ import annotations

import argparse
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
    from ..trainer import TrainingConfig, TrainingVolume

SUMMARY = "Train a model on a labelled pool, an nnU-Net raw data set or an MSD task; run it again to go on."
EXAMPLE = """examples:
  skcdf train pool/ runs/first --preset quick
  skcdf train pool/ runs/long --iterations 8000 --mirror
The model lies in RUN/model when the training is done."""
SETTINGS_FILE = "settings.json"
SETTINGS = (
    "method",
    "iterations",
    "filters",
    "batch_size",
    "optimizer",
    "learning_rate",
    "foreground_fraction",
    "mirror",
    "augment",
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
    parser.add_argument("--method", help="training method (default supervised)")
    parser.add_argument(
        "--preset",
        choices=("quick", "standard", "thorough"),
        default="standard",
        help="number of iterations; skcdf plan says how long each takes (default standard)",
    )
    settings = parser.add_argument_group("instead of the plan's choice")
    settings.add_argument("--iterations", type=int)
    settings.add_argument("--filters", type=int)
    settings.add_argument("--patch-size", type=int, nargs=3, metavar=("Z", "Y", "X"), help="multiples of 32")
    settings.add_argument("--spacing", type=float, nargs=3, metavar=("Z", "Y", "X"), help="mm")
    settings.add_argument("--batch-size", type=int)
    settings.add_argument("--optimizer", choices=("sgd", "adamw"))
    settings.add_argument("--learning-rate", type=float)
    settings.add_argument("--foreground-fraction", type=float)
    settings.add_argument(
        "--mirror",
        action="store_const",
        const=True,
        help="left-right flips that exchange left and right labels",
    )
    settings.add_argument("--no-augmentation", dest="augment", action="store_const", const=False)
    settings.add_argument("--seed", type=int)
    add_budget_arguments(parser)
    add_compute_arguments(parser)


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
    model = _train(config, dataset, survey, device, options.run_folder, name)
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
    plan = make_plan(survey, dataset.label_set, device, Budget(options.memory_gib, options.minutes), chosen)
    config = plan.config if options.iterations else with_preset(plan, options.preset)
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
    return chosen


def _train(
    config: TrainingConfig, dataset: Dataset, survey: Survey, device: Device, run_folder: Path, name: str
) -> ModelBundle:
    from ..methods import method_class
    from ..trainer import Trainer, export_bundle
    from .console import ConsoleProgress, cancel_on_interrupt, duration

    progress = ConsoleProgress()
    labelled = _load(dataset, config, "labelled")
    needed = method_class(config.method).uses_unlabelled
    unlabelled = _load(dataset, config, "unlabelled") if needed else []
    volumes = [*labelled, *unlabelled]
    data: dict[str, object] = {"cases": sorted([volume.name, volume.image_hash] for volume in volumes)}
    with cancel_on_interrupt() as cancel:
        trainer = Trainer(
            config, dataset.label_set, labelled, unlabelled, run_folder, device, data, progress, cancel
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
    return export_bundle(run_folder / "model", name, trainer.method, config, dataset, survey, volumes)


def _load(dataset: Dataset, config: TrainingConfig, kind: str) -> list[TrainingVolume]:
    from ..progress import Progress
    from ..trainer import load_volume
    from .console import ConsoleProgress

    progress = ConsoleProgress()
    cases = getattr(dataset, kind)
    volumes = []
    for index, case in enumerate(cases):
        volumes.append(load_volume(case, dataset.label_set, config.preprocessing, config.seed))
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
