"""Arguments of ``skcdf train``, some of which ``skcdf finetune`` takes, and the settings that they choose."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import SkcdfError
from .options import add_compute_arguments
from .plan import add_budget_arguments

RECIPES = ("published",)
SETTINGS = (
    "method",
    "plugin",
    "compat",
    "loss",
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
    "surroundings",
    "validations",
    "patience",
    "seed",
)
"""Settings that are command line arguments of the same name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
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
    group = add_method_arguments(
        parser,
        "supervised (default): labelled scans alone; skcdf, mean_teacher, cps (two networks, twice the time to "
        "segment) and pseudo_label learn from unlabelled scans, too",
    )
    group.add_argument(
        "--recipe",
        choices=RECIPES,
        help="published: everything as in the published SKCDF experiments, preprocessing included",
    )
    group = add_setting_arguments(parser)
    group.add_argument(
        "--cache-gib",
        type=float,
        default=4.0,
        metavar="GIB",
        help="memory for preprocessed scans (default 4); further ones go to files in RUN",
    )
    add_budget_arguments(parser)
    add_compute_arguments(parser)


def add_method_arguments(parser: argparse.ArgumentParser, methods: str) -> argparse._ArgumentGroup:
    """Adds the arguments that choose a method; ``methods`` is the help of ``--method``."""
    group = parser.add_argument_group("the method")
    group.add_argument("--method", help=methods)
    group.add_argument(
        "--compat",
        choices=("corrected", "published"),
        help="the method as corrected here (default), or as the authors' program computes it",
    )
    group.add_argument(
        "--loss",
        choices=("ce_dice", "ga"),
        help="of labelled patches: cross-entropy plus Dice (default), or gradient-aware, for small and rare organs",
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the method's own settings (docs/methods.md), such as mask=multiply; may be repeated",
    )
    group.add_argument(
        "--plugin", help="what goes with the method: scdl, which learns how organs differ, or none (default)"
    )
    group.add_argument(
        "--plugin-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the plug-in's own settings (docs/scdl.md), such as preset=paper; may be repeated",
    )
    return group


def add_setting_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds the arguments of which `chosen_settings` makes fields of `TrainingConfig`, and ``--spacing``."""
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
    group.add_argument(
        "--surroundings",
        action="store_const",
        const=True,
        help="for CT scans masked outside the body: paint couch, head-rest and air noise round it, anew in "
        "every training patch",
    )
    group.add_argument("--validations", type=int, metavar="N", help="how often to look for the best weights")
    group.add_argument("--patience", type=int, metavar="N", help="stop after so many without a better one")
    group.add_argument("--seed", type=int)
    return group


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the user gave on the command line."""
    given = {name: getattr(options, name) for name in SETTINGS}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options.spacing and not all(0 < side < math.inf for side in options.spacing):
        raise SkcdfError("--spacing must hold positive numbers.", "Give z, y and x in mm.")
    if options.patch_size:
        chosen["patch_size"] = tuple(options.patch_size)
    if options.option:
        chosen["method_options"] = dict(_named("--option", "mask=multiply", each) for each in options.option)
    if options.plugin_option:
        chosen["plugin_options"] = dict(
            _named("--plugin-option", "preset=paper", each) for each in options.plugin_option
        )
    return chosen


def check_method(chosen: Mapping[str, Any]) -> None:
    """Refuses a method, a plug-in or options of theirs that are not known, before anything long is begun.

    Raises:
        SkcdfError: the message names what is not known.
    """
    from ..methods import method_options
    from ..plugins import plugin_options

    compat = chosen.get("compat", "corrected")
    if "method" in chosen:
        method_options(chosen["method"], compat, chosen.get("method_options"))
    if "plugin" in chosen:
        plugin_options(chosen["plugin"], compat, chosen.get("plugin_options"))


def _named(argument: str, example: str, text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise SkcdfError(
            f"{argument} {text}: this is no NAME=VALUE.", f"Give, for instance, {argument} {example}."
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
