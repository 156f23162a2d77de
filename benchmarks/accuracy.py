"""Accuracy of the training methods on real scans: runs that fill a table, one small JSON each.

    python benchmarks/accuracy.py DATA WORK                 # list the runs, finished or not
    python benchmarks/accuracy.py DATA WORK --run NAME …    # train, segment the test cases, evaluate, record
    python benchmarks/accuracy.py --table                   # the tables of docs/results.md, from the records

DATA holds one folder for each data set (``openkbp``, ``hippocampus``) with ``images/``, ``labels/`` and
``splits.json``; WORK gets pools, runs and predictions. A run that was interrupted goes on where it stopped, one that
has its record in ``benchmarks/runs`` is not run again. The commands are those a user would type; they are printed.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from skcdf import __version__
from skcdf.files import write_json
from skcdf.trainer.checkpoint import FILE_NAME, read_state

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "benchmarks" / "runs"
LABEL_SETS = {"openkbp": "openkbp7", "hippocampus": "hippocampus2"}
COMMON = {
    "openkbp": "--filters 16 --patch-size 64 64 64 --spacing 3 4 4 --mirror",
    "hippocampus": "--filters 16 --patch-size 32 64 32 --spacing 1 1 1",
}
"""Network and data pipeline, the same for all methods."""


@dataclass(frozen=True)
class Run:
    """One row of a table.

    Attributes:
        dataset: key of `LABEL_SETS`.
        title: the row's name.
        arguments: of ``skcdf train``, beside `COMMON`.
    """

    dataset: str
    title: str
    arguments: str


def _runs(dataset: str, iterations: int, same_time: int) -> dict[str, Run]:
    """SKCDF, and supervised training for as many iterations and for as long a time (measured beforehand)."""
    common = "--validations 8 --seed 0"
    return {
        f"{dataset}-skcdf": Run(
            dataset, "SKCDF, corrected", f"--method skcdf --iterations {iterations} {common}"
        ),
        f"{dataset}-skcdf-gamma": Run(
            dataset,
            "SKCDF, gamma 0.5",
            f"--method skcdf --iterations {iterations} {common} --option gamma=0.5",
        ),
        f"{dataset}-supervised-same-iterations": Run(
            dataset, "supervised, same iterations", f"--method supervised --iterations {iterations} {common}"
        ),
        f"{dataset}-supervised-same-time": Run(
            dataset, "supervised, same time", f"--method supervised --iterations {same_time} {common}"
        ),
    }


RUNS = {**_runs("openkbp", 1000, 3000), **_runs("hippocampus", 600, 1800)}


def main() -> int:
    """Lists, runs or tabulates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("--run", nargs="+", choices=sorted(RUNS), default=[], metavar="NAME")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(tables())
        return 0
    if not options.data or not options.work:
        parser.error("give DATA and WORK, or --table")
    for name in options.run:
        if record_file(name).exists():
            print(f"{name}: recorded already in {record_file(name)}")
            continue
        write_json(record_file(name), measure(name, RUNS[name], options.data, options.work))
    if not options.run:
        for name, run in RUNS.items():
            print(f"{'done' if record_file(name).exists() else 'open':5} {name:40} {run.title}")
    return 0


def record_file(name: str) -> Path:
    """Where a finished run is kept."""
    return RECORDS / f"{name}.json"


def measure(name: str, run: Run, data: Path, work: Path) -> dict[str, Any]:
    """Prepares, trains, segments and evaluates; returns the record."""
    prepared, folder = work / run.dataset, work / "runs" / name
    if not (prepared / "pool").exists():
        command(
            [str(ROOT / "training" / f"prepare_{run.dataset}.py"), str(data / run.dataset), str(prepared)]
        )
    settings = shlex.split(f"{run.arguments} {COMMON[run.dataset]}")
    skcdf("train", prepared / "pool", folder, "--name", name, *settings)
    predictions, scores = folder / "predictions", folder / "scores.json"
    skcdf("segment", prepared / "test" / "images", predictions, "--model", folder / "model")
    skcdf(
        *("evaluate", predictions, prepared / "test" / "labels"),
        *("--labels", LABEL_SETS[run.dataset], "--output", scores),
    )
    state = read_state(folder / FILE_NAME)
    summary = json.loads(scores.read_text())
    best = state.best
    return {
        "dataset": run.dataset,
        "title": run.title,
        "command": shlex.join(["skcdf", "train", "OUT/pool", "OUT/run", *settings]),
        "date": date.today().isoformat(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "skcdf": __version__,
        "cases": {
            "test": len(summary["cases"]),
            "validation": validation_cases(prepared),
        },
        "config": state.config,
        "iterations": state.iteration,
        "seconds": round(state.seconds),
        "validation": {"iteration": best[0], "dice": round(best[1], 4)} if best else None,
        "organs": summary["summary"],
    }


def validation_cases(prepared: Path) -> int:
    """How many cases the best weights were chosen by."""
    from skcdf.datasets import open_dataset

    return len(open_dataset(prepared / "pool").validation)


def skcdf(*arguments: object) -> None:
    """Runs the command line in a process of its own, as a user would."""
    command(["-m", "skcdf", *map(str, arguments)])


def command(arguments: list[str]) -> None:
    """Runs Python with ``arguments``; an error ends the benchmark."""
    print("+ python", shlex.join(arguments), flush=True)
    subprocess.run([sys.executable, *arguments], check=True)


def tables() -> str:
    """One table for each data set: a row for each organ, a column for each finished run."""
    records = {name: json.loads(record_file(name).read_text()) for name in RUNS if record_file(name).exists()}
    parts = [
        table([record for record in records.values() if record["dataset"] == dataset])
        for dataset in LABEL_SETS
        if any(record["dataset"] == dataset for record in records.values())
    ]
    return "\n\n".join(parts)


def table(records: list[dict[str, Any]]) -> str:
    """Markdown: Dice over the test cases by organ and run, and what each run took."""
    rows = [
        ["", *(record["title"] for record in records)],
        ["---", *("---:" for _ in records)],
        ["iterations", *(str(record["iterations"]) for record in records)],
        ["minutes", *(f"{record['seconds'] / 60:.1f}" for record in records)],
        ["best on validation", *(best(record) for record in records)],
    ]
    for index, organ in enumerate(records[0]["organs"]):
        rows.append([organ["organ"], *(dice(record["organs"][index]) for record in records)])
    means = [[organ["dice_mean"] for organ in record["organs"]] for record in records]
    rows.append(["**mean**", *(f"**{sum(each) / len(each):.3f}**" for each in means)])
    cases = records[0]["cases"]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    heading = f"{records[0]['dataset']}: {cases['test']} test cases, {cases['validation']} validation cases"
    return "\n".join([heading, "", *lines])


def best(record: dict[str, Any]) -> str:
    """Dice and iteration of the validation that chose the weights."""
    found = record["validation"]
    return f"{found['dice']:.3f} at {found['iteration']}" if found else "last weights"


def dice(organ: dict[str, Any]) -> str:
    """Mean ± standard deviation, and in how many cases the organ was missed."""
    missed = f", {organ['missed']} missed" if organ["missed"] else ""
    return f"{organ['dice_mean']:.3f} ± {organ['dice_sd']:.3f}{missed}"


if __name__ == "__main__":
    sys.exit(main())
