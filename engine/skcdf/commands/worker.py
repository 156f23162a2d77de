"""``skcdf worker``: the warm child process of an application."""

from __future__ import annotations

import argparse

SUMMARY = "Answer requests, one JSON line each, from standard input; for programs, not for people."
EXAMPLE = """example:
  (echo '{"id": 1, "request": "ping"}'; sleep 10) | skcdf worker --idle-minutes 2
The end of the input ends it at once. Requests and answers: docs/worker.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    from ..worker import IDLE_MINUTES
    from .options import add_compute_arguments

    parser.add_argument(
        "--idle-minutes",
        type=float,
        default=IDLE_MINUTES,
        metavar="M",
        help=f"let go of model and GPU memory after M minutes without work (default {IDLE_MINUTES:g})",
    )
    add_compute_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Works until it is told to shut down; see `SUMMARY`."""
    from ..worker import run_worker

    return run_worker(options.device, options.precision, options.idle_minutes)
