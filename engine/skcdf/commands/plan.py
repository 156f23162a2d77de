"""``skcdf plan``: what a training on a data set would look like on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..plan import TrainingPlan

SUMMARY = (
    "Choose a training's settings from the data and a budget, say why, and measure how long it takes here."
)
EXAMPLE = """example:
  skcdf plan pool/ --minutes 60"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    from .options import add_compute_arguments

    parser.add_argument(
        "data", type=Path, metavar="POOL", help="labelled pool, nnU-Net raw data set or MSD task folder"
    )
    add_budget_arguments(parser)
    add_compute_arguments(parser)


def add_budget_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `Budget`."""
    parser.add_argument(
        "--minutes", type=float, default=40.0, help="time the standard preset may take (default 40)"
    )
    parser.add_argument(
        "--memory-gib", type=float, default=6.0, help="memory a training step may take (default 6)"
    )


def run(options: argparse.Namespace) -> int:
    """Plans; see `SUMMARY`."""
    from ..datasets import open_dataset
    from ..device import choose_device
    from ..plan import Budget, make_plan
    from ..survey import survey_dataset
    from .console import ConsoleProgress

    dataset = open_dataset(options.data)
    device = choose_device(options.device, options.precision)
    survey = survey_dataset(dataset, ConsoleProgress())
    plan = make_plan(survey, dataset.label_set, device, Budget(options.memory_gib, options.minutes))
    print(describe_plan(plan))
    return 0


def describe_plan(plan: TrainingPlan) -> str:
    """The plan as a table of choices with reasons, and the duration of each preset."""
    from ..plan import PRESETS
    from ..progress import duration

    width = max(len(choice.what) for choice in plan.choices)
    lines = [
        f"{choice.what:<{width}}  {choice.value}\n{'':<{width}}    {choice.why}" for choice in plan.choices
    ]
    lines.append(f"{'speed':<{width}}  {plan.seconds_per_iteration:.2f} s an iteration, measured here")
    for preset, iterations in PRESETS.items():
        lines.append(
            f"{preset:<{width}}  {iterations} iterations, about {duration(60 * plan.minutes(preset))}"
        )
    return "\n".join(lines)
