"""Arguments that several commands share."""

from __future__ import annotations

import argparse

from ..device_names import DEVICES, PRECISIONS


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
