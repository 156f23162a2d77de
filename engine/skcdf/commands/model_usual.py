"""``skcdf model usual``: what is usual for a model's organs, for a model that does not say it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

NAME = "usual"


def add_action(actions: Any) -> None:
    """Adds the action to those of ``skcdf model``."""
    action = actions.add_parser(
        NAME,
        help="measure the organs of a model's training cases, and keep their usual volumes in the model",
        description="Measures the organs of the labelled cases that a model was trained on and keeps their usual "
        "volumes in its model.json. Trainings do so by themselves: this is for models made elsewhere or before.",
    )
    action.add_argument("model", help="the model's folder")
    action.add_argument(
        "--data", type=Path, required=True, metavar="DATA", help="the pool or data set that it was trained on"
    )
    action.add_argument(
        "--trust",
        action="store_true",
        help="take all labelled training cases for the model's, also where it does not know their voxels",
    )


def run(options: argparse.Namespace) -> int:
    """Does what `add_action` says."""
    from ..datasets import open_dataset
    from ..models import ModelBundle
    from ..usual_volumes import add_usual_volumes
    from .console import ConsoleProgress

    progress = ConsoleProgress()
    dataset = open_dataset(options.data, allow_missing_unlabelled=True)
    model, count = add_usual_volumes(ModelBundle.load(options.model), dataset, progress, options.trust)
    progress.close()
    print(f"{model.folder}: usual volumes of {len(model.usual)} organs, from {count} training cases")
    for each in model.usual:
        low, high = each.volume_ml
        print(f"  {each.organ}: {low:.4g} to {high:.4g} mL (n = {each.n})")
    return 0
