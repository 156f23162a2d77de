"""``skcdf doctor``: whether this Python can run the engine, and what is in the way."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..doctor import Problem, Report
    from ..package_states import PackageState

SUMMARY = "Say whether everything is installed, what is in the way, and what would compute."
EXAMPLE = """examples:
  skcdf doctor
  skcdf doctor --folder /data/liver_ct
  skcdf doctor --json | tail -n 1
Ends with 0 when all is well. With --json every line is one object, and the last one counts: torch is imported after
the first, and a damaged one can end the process."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--json", action="store_true", help="for programs: JSON lines, of which the last counts"
    )
    parser.add_argument("--folder", type=Path, help="a folder that you want to work in: is it fit for it?")


def run(options: argparse.Namespace) -> int:
    """Looks, says what it sees, and only then imports torch; see `SUMMARY`."""
    from ..doctor import Doctor

    doctor = Doctor(options.folder)
    first = report = doctor.look(trusting=not options.json)
    if options.json:
        _print_json(report)
    else:
        _print_before(report)
    if doctor.torch_awaits:
        report = doctor.try_torch()
        if options.json:
            _print_json(report)
    if not options.json:
        _print_after(report, first.problems)
    return 0 if report.ready else 1


def _print_json(report: Report) -> None:
    print(json.dumps(report.to_json()), flush=True)


def _print_before(report: Report) -> None:
    print(f"Python {report.python_version}, {report.python or 'embedded'}\n{report.platform}")
    free = "" if report.free_bytes is None else f", {report.free_bytes / 2**30:.1f} GiB free"
    print(f"packages: {report.site_packages} ({'' if report.writable else 'not '}writable{free})")
    for name, value in report.proxy.items():
        print(f"{name}: {value}")
    for name, state in report.packages.items():
        if name != "torch":
            _print_package(name, state)
    _print_problems(report.problems)
    print("torch: looking …", flush=True)


def _print_after(report: Report, told: Sequence[Problem]) -> None:
    _print_package("torch", report.packages["torch"])
    if report.device is not None:
        print(f"device: {report.device}")
    if report.needed_bytes:
        print(f"installing what lacks takes about {report.needed_bytes / 2**30:.1f} GiB for a while")
    _print_problems([problem for problem in report.problems if problem not in told])


def _print_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        print(f"problem: {problem.message}\nhint: {problem.hint}")


def _print_package(name: str, state: PackageState) -> None:
    print(" ".join(part for part in (f"{name}: {state.state}", state.version, state.detail) if part))
