"""Accuracy of the training methods on real scans: runs that fill a table, one small JSON each.

    python benchmarks/accuracy.py --list [--scale gpu]                    # all runs, finished or open
    python benchmarks/accuracy.py DATA WORK --next --minutes 30           # the open runs, most valuable first
    python benchmarks/accuracy.py DATA WORK --run NAME …                  # these runs
    python benchmarks/accuracy.py DATA WORK --scale gpu --next --minutes 9 --nnunet PYTHON
    python benchmarks/accuracy.py --table | --write docs/results.md | --picture docs/pictures/accuracy.png
    python benchmarks/accuracy.py --first-table                           # runs of before there was a matrix

DATA holds one folder for each data set (``openkbp``, ``hippocampus``) with ``images/``, ``labels/`` and
``splits.json``; WORK gets pools, runs and predictions. ``benchmarks/study/matrix.toml`` says what is compared. A run
that the deadline interrupts goes on in the next call with the same WORK; one that has its record in
``benchmarks/runs/accuracy`` is not run again. The commands are those a user would type; they are printed. PYTHON is
that of an environment with ``nnunetv2`` (docs/results.md says how its row is made).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from program import run
from skcdf.errors import Cancelled, SkcdfError
from skcdf.lock import held
from skcdf.stop_sources import STOPPED
from study.agenda import Task, open_tasks, unknown_to_engine
from study.agreement import require_agreement
from study.commands import CommandFailedError, Deadline, OutOfTimeError, heard_signals
from study.first_table import first_tables
from study.listing import listing
from study.matrix import NNUNET, Matrix
from study.nnunet import Opponent
from study.picture import write_picture
from study.records import Records
from study.runs import Bench
from study.tables import report, write_into

LEAST_S = 20.0
"""With less time left nothing is begun: loading alone takes as long."""
LOCK = "accuracy.lock"
"""In WORK: who carries out runs there; two would train in one folder."""


def main() -> int:
    """Lists, runs, tabulates or draws."""
    options = arguments()
    if options.first_table:
        print(first_tables())
        return 0
    matrix, records = Matrix.load(), Records()
    require_agreement(matrix, records)
    if options.table:
        print(report(matrix, records))
    elif options.write:
        write_into(options.write, report(matrix, records))
    elif options.picture:
        write_picture(options.picture, matrix, records)
    elif options.run or options.next:
        bench = Bench(matrix, options.data, options.work, Deadline(options.minutes))
        opponent = Opponent(bench, options.nnunet) if options.nnunet else None
        try:
            with held(options.work / LOCK, "runs of the accuracy benchmark", patience_s=0), heard_signals():
                return work(bench, records, opponent, options)
        except (Cancelled, KeyboardInterrupt):
            print("stopped; the same call goes on where this one ended", file=sys.stderr)
            return STOPPED
    else:
        print(listing(matrix, records, options.scale))
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument("work", type=Path, nargs="?", metavar="WORK")
    parser.add_argument("--scale", default="cpu", choices=sorted(Matrix.load().scales))
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="all runs (the default)")
    what.add_argument("--next", action="store_true", help="carry out open runs, most valuable first")
    what.add_argument("--run", nargs="+", metavar="NAME", help="carry out these")
    what.add_argument("--table", action="store_true", help="print all that the records say")
    what.add_argument("--write", type=Path, metavar="FILE.md", help="put it between the marks in this file")
    what.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the means")
    what.add_argument("--first-table", action="store_true", help="the records of before")
    parser.add_argument("--minutes", type=float, help="stop in time, to be gone on with later")
    parser.add_argument("--nnunet", metavar="PYTHON", help="of an environment with nnunetv2")
    options = parser.parse_args()
    if (options.run or options.next) and not options.work:
        parser.error("give DATA and WORK")
    return options


def work(bench: Bench, records: Records, opponent: Opponent | None, options: argparse.Namespace) -> int:
    """Carries out tasks until none is left or time is up; 1 where one failed."""
    if options.run and (why := why_not(bench.matrix, records, options)):
        print(why, file=sys.stderr)
        return 2
    failed: set[str] = set()
    while task := next_task(bench.matrix, records, opponent, options, failed):
        left = bench.deadline.left_s
        if left is not None and left < LEAST_S:
            break
        name = task.run.name
        print(f"{task.purpose}: {name}", flush=True)
        bench.prepared(task.run.dataset)  # what a data set lacks, all of its runs lack: said once
        try:
            if task.run.row == NNUNET:
                assert opponent is not None
                records.write(name, opponent.carry_out(task.run))
            else:
                records.write(name, bench.carry_out(task.run, task.iterations, task.test))
        except OutOfTimeError:
            break
        except (CommandFailedError, SkcdfError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.add(name)
    return 1 if failed else 0


def why_not(matrix: Matrix, records: Records, options: argparse.Namespace) -> str:
    """Why not all runs that were named can be carried out; empty when they can, or are done."""
    tasks = {task.run.name: task for task in open_tasks(matrix, records, options.scale)}
    for name in options.run:
        if name not in tasks and records.get(name) is None:
            return f"{name}: no such run is open at scale {options.scale}; see --list (a rate may not be chosen yet)"
        row = matrix.row(tasks[name].run.row) if name in tasks and tasks[name].run.row != NNUNET else None
        if row and (unknown := unknown_to_engine(row)):
            return f"{name}: {unknown}"
        if name in tasks and row is None and not options.nnunet:
            return f"{name}: give --nnunet PYTHON"
    return ""


def next_task(
    matrix: Matrix,
    records: Records,
    opponent: Opponent | None,
    options: argparse.Namespace,
    failed: set[str],
) -> Task | None:
    """The first open task that can be carried out here and did not fail in this call."""
    for task in open_tasks(matrix, records, options.scale):
        name, row = task.run.name, task.run.row
        if name in failed or (options.run and name not in options.run):
            continue
        if row == NNUNET:
            if opponent is not None and not opponent.is_done(task.run, records):
                return task
        elif not unknown_to_engine(matrix.row(row)):
            return task
    return None


if __name__ == "__main__":
    try:
        run(main)
    except ValueError as problem:  # a file without marks, nothing to draw, a matrix that contradicts itself
        sys.exit(f"error: {problem}")
