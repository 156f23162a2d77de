"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..device_names import DEVICES, PRECISIONS

if TYPE_CHECKING:
    from ..models import ModelBundle


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--model`` and ``--store``; `chosen_model` reads them."""
    parser.add_argument(
        "--model",
        default="",
        help="model name or folder, or NAME or NAME@VERSION of the store (default: the shipped one)",
    )
    parser.add_argument(
        "--store", type=Path, metavar="STORE", help="model store in which MODEL is looked for first"
    )


def chosen_model(options: argparse.Namespace) -> ModelBundle:
    """The model that ``--model`` and ``--store`` name.

    Raises:
        SkcdfError: there is none, or it is damaged.
    """
    from ..model_store import ModelStore, find_version_or_model
    from ..models import default_model

    store = ModelStore.open(options.store) if options.store else None
    return find_version_or_model(options.model, store) if options.model else default_model()


def add_compute_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--device`` and ``--precision``."""
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="where to compute (default: the fastest that works)"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="number format (default: 16 bit where the processor has units for it)",
    )
