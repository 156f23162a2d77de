"""The same network through our sliding window, MONAI's and nnU-Net's: seconds, memory, and what they find.

    python benchmarks/inference.py [SCAN] [--classes 14] [--repeats 3] [--device cpu] [--nnunet PYTHON]
    python benchmarks/inference.py --growth FILE.png        # ours alone, over voxels, classes, overlap, batch

SCAN is a CT, brought to 1.5 mm first; without one a phantom of 512×512×300 voxels is made, which takes twice as long.
The network is the shipped one, widened to 16 filters: it finds what the shipped one finds and takes as long as any
network of its size. The programs run in turn, each in a process of its own, with the same weights, window
(64×128×128), overlap (0.5) and Gaussian blending, on the CPU in fp32, ours in what ``--precision`` says. Memory is
what a process held at most, above what it held with libraries and network loaded. The scan gets air round it, so
that all place their windows alike.

Ours is timed from the scan on the model's grid to its label map; the others get the network's input ready-made, and
end with the best class of every voxel of it. On a GPU every program takes its own 16-bit type. PYTHON is that of an
environment with ``nnunetv2``; by default this one's is taken, and where it has none, nnU-Net is left out. Writes
nothing into the project.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from growth_curves import draw
from program import natural, positive, run
from rivals import growth
from rivals.child import GAP
from rivals.task import Task, phantom, scan
from skcdf.device_names import PRECISIONS
from skcdf.models import default_model
from skcdf.text_table import table as aligned

ROOT = Path(__file__).resolve().parents[1]
CHILD = Path(__file__).with_name("rivals") / "child.py"
REFERENCE = "MONAI"
NEAR = 1e-4
FEWEST = 100
"""Voxels of an organ from which on its Dice says something."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scan", type=Path, nargs="?", metavar="SCAN", help="a CT (default: a phantom)")
    parser.add_argument("--classes", type=positive, nargs="+", default=[14], help="background included")
    parser.add_argument("--filters", type=positive, default=16)
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS, help="of ours on the CPU")
    parser.add_argument("--threads", type=natural, default=0, help="of torch (default: its own choice)")
    parser.add_argument("--growth", type=Path, metavar="FILE.png", help="measure how cost grows, and draw it")
    parser.add_argument("--nnunet", metavar="PYTHON", help="of an environment with nnunetv2")
    options = parser.parse_args()
    if options.growth and not options.growth.parent.is_dir():
        parser.error(f"{options.growth.parent} is no folder")
    return options


def main() -> None:
    """Runs all, and prints a table for each number of classes."""
    options = arguments()
    if options.growth:
        curves = growth.measured(lambda program, folder: measured(program, folder, None))
        draw(curves, growth.title(), options.growth)
        return
    programs = ["ours", "ours, air skipped", *rivals(options.nnunet)]
    raw = scan(options.scan) if options.scan else phantom()
    name = options.scan.name if options.scan else "phantom of 512x512x300 voxels"
    for classes in options.classes:
        known = {"channels": 1, "classes": classes, "filters": options.filters, "dropout": 0.0}
        task = Task(name, known, 0.5, options.device, options.threads, options.precision)
        print(f"{name}, {'x'.join(map(str, raw.shape))} voxels at 1.5 mm, {classes} classes", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            task.save(Path(folder), raw)
            runs: dict[str, list[dict[str, Any]]] = {program: [] for program in programs}
            for repeat in range(options.repeats):
                for program in programs:
                    runs[program].append(measured(program, Path(folder), options.nnunet))
                    print(f"  {repeat + 1}: {program} {runs[program][-1]['seconds']:.1f} s", flush=True)
            print(table(runs, Path(folder)), flush=True)


def rivals(nnunet: str | None) -> list[str]:
    """The opponents that are here; says which are not."""
    here = []
    for program, module, python in ((REFERENCE, "monai", None), ("nnU-Net", "nnunetv2", nnunet)):
        if python or importlib.util.find_spec(module):
            here.append(program)
        else:
            print(f"{program} is left out: {module} is not installed here (pip install '.[bench]').")
    return here


def measured(program: str, folder: Path, nnunet: str | None) -> dict[str, Any]:
    """One run of one program, in a process of its own."""
    paths = [str(ROOT / "engine"), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    python = nnunet if program == "nnU-Net" and nnunet else sys.executable
    done = subprocess.run(
        [python, str(CHILD), program, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{program} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(runs: dict[str, list[dict[str, Any]]], folder: Path) -> str:
    """Median and spread of every program, its ratios to MONAI and its agreement with it."""
    base = runs.get(REFERENCE, runs["ours"])
    rows = []
    for program, results in runs.items():
        memory = median(results, "bytes") / median(base, "bytes")
        rows.append(
            [
                program,
                spread(results, "seconds"),
                spread(results, "cpu_seconds"),
                *(f"{faster(results, base, clock):.2f}" for clock in ("seconds", "cpu_seconds")),
                f"{median(results, 'bytes') / 2**30:.2f}",
                f"{memory:.2f}",
                *agreement(program, folder),
            ]
        )
    threads = runs["ours"][0]["threads"]
    return f"{aligned([HEAD, *rows])}\n{threads} threads; median (least-most). {LEGEND}"


def median(results: list[dict[str, Any]], what: str) -> float:
    """Over the repeats."""
    return statistics.median(each[what] for each in results)


def spread(results: list[dict[str, Any]], what: str) -> str:
    """Median, least and most of some seconds."""
    values = [each[what] for each in results]
    return f"{median(results, what):.1f} ({min(values):.1f}-{max(values):.1f})"


def faster(results: list[dict[str, Any]], base: list[dict[str, Any]], clock: str) -> float:
    """How many times as fast as MONAI: the median of the ratios of runs that followed each other."""
    return statistics.median(slow[clock] / fast[clock] for fast, slow in zip(results, base, strict=True))


HEAD = [
    "program",
    "seconds",
    "of processor",
    "times as fast",
    "by processor",
    "GiB",
    "of MONAI's",
    "least Dice",
    "differ",
    "not near",
]
LEGEND = (
    "Of processor: seconds of all cores together, which other programs on the machine hardly change. "
    "Least Dice: of any organ, with MONAI's label map. Differ: voxels with another label than MONAI's. "
    f"Not near: those of them whose best two scores are more than {NEAR:g} apart."
)


def agreement(program: str, folder: Path) -> tuple[str, str, str]:
    """How far a program's label map is that of MONAI."""
    if not (folder / GAP).exists():
        return "-", "-", "-"
    found, expected = (np.load(folder / f"{each}.npy") for each in (program, REFERENCE))
    differ = found != expected
    names = default_model().label_set.names
    dice = {}
    for value, name in enumerate(names, 1):
        a, b = found == value, expected == value
        if b.sum() >= FEWEST:
            dice[name] = 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
    worst = min(dice, key=dice.__getitem__, default="")
    far = np.count_nonzero(differ & (np.load(folder / GAP) > NEAR))
    return f"{dice[worst]:.5f} ({worst})" if worst else "-", str(np.count_nonzero(differ)), str(far)


if __name__ == "__main__":
    run(main)
