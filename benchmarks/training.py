"""Seconds and peak memory of a training step, ours and a plain transcription of SKCDF's equations in turns.

    python benchmarks/training.py                    # published size: 32 filters, 2 + 2 patches of 64×128×128
    python benchmarks/training.py --small            # 8 filters, 2 + 2 patches of 64×64×64
    python benchmarks/training.py --small --rows supervised supervised+scdl mean_teacher cps pseudo_label skcdf
    python benchmarks/training.py --small --growth docs/pictures/training_growth.png

A row is ``method[:compat][+plugin]``; ``plain`` is `reference/skcdf_plain.py`. A step is what the trainer does with
patches: augmentation (off unless asked for), parameter copies, passes, losses, backward passes, limit on gradients,
optimiser. Every measurement has a process of its own; the rows take turns, so that ratios hold on a busy machine, too.
"cpu s" are seconds of all threads together. Memory is the most that the whole process held, Python and libraries
included, or what torch held on a GPU; "above" is without the loaded program.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from growth_curves import draw
from program import natural, positive, run
from skcdf.device_names import DEVICES, PRECISIONS
from skcdf.methods import method_class
from skcdf.plugins import plugin_options
from steps import growth
from steps.case import PLAIN, Case
from steps.runs import Figures, interleaved

ROWS = ("plain:published", "skcdf:published", "plain", "skcdf", "skcdf+scdl")


def main() -> int:
    """Prints the table, or draws the growth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", default=ROWS)
    parser.add_argument("--small", action="store_true", help="8 filters and 64x64x64 voxels")
    parser.add_argument("--filters", type=positive)
    parser.add_argument("--patch-size", type=positive, nargs=3)
    parser.add_argument("--classes", type=positive, default=14, help="background included")
    parser.add_argument("--batch", type=positive, default=2)
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of ours")
    parser.add_argument("--threads", type=natural, default=0, help="default: torch decides")
    parser.add_argument("--repeats", type=positive, default=1, help="processes for each row")
    parser.add_argument("--steps", type=positive, default=1, help="timed in each")
    parser.add_argument("--warm-up", type=natural, default=1, help="steps before those")
    parser.add_argument("--augmentation", choices=("none", "standard"), default="none")
    parser.add_argument("--growth", type=Path, metavar="PNG", help="draw how the last row's cost grows")
    options = parser.parse_args()
    if options.growth and not options.growth.parent.is_dir():
        parser.error(f"{options.growth.parent} is no folder")
    try:
        cases = cases_of(options)
    except ValueError as error:
        parser.error(str(error))
    for case in cases:
        require_known(case)
    if options.growth:
        draw(growth.measured(cases[-1], options.repeats), growth.title(cases[-1]), options.growth)
        return 0
    print_table(cases, interleaved(cases, options.repeats))
    return 0


def require_known(case: Case) -> None:
    """Raises `SkcdfError` for a method or a plug-in that is none, before anything is measured."""
    if case.method != PLAIN:
        method_class(case.method)
    plugin_options(case.plugin)


def cases_of(options: argparse.Namespace) -> list[Case]:
    """One for each row."""
    z, y, x = options.patch_size or ((64, 64, 64) if options.small else (64, 128, 128))
    return [
        Case(
            row,
            options.filters or (8 if options.small else 32),
            (z, y, x),
            options.classes,
            options.batch,
            options.device,
            options.precision,
            options.threads,
            options.steps,
            options.warm_up,
            options.augmentation,
        )
        for row in (options.rows if not options.growth or options.rows != ROWS else ["skcdf"])
    ]


def print_table(cases: list[Case], figures: list[Figures]) -> None:
    """One line a row; ratios to the transcription of the same face where it was measured."""
    opponents = {case.compat: each for case, each in zip(cases, figures, strict=True) if case.method == PLAIN}
    print(
        f"{'row':24} {'s':>8} {'spread':>17} {'cpu s':>8} {'draw s':>7} {'peak GiB':>9} {'above':>7}  of plain"
    )
    for case, each in zip(cases, figures, strict=True):
        line = f"{case.row:24} {each.seconds:8.2f} {each.spread[0]:8.2f}-{each.spread[1]:8.2f} "
        line += f"{each.cpu_seconds:8.2f} {each.draw_seconds:7.3f} {each.peak_gib:9.2f} {each.step_gib:7.2f}"
        opponent = opponents.get(case.compat)
        if opponent and opponent is not each:
            line += (
                f"  {each.seconds / opponent.seconds:.2f} s, {each.cpu_seconds / opponent.cpu_seconds:.2f} "
            )
            line += f"cpu s, {each.peak_gib / opponent.peak_gib:.2f} GiB"
        print(line, flush=True)


if __name__ == "__main__":
    run(main)
