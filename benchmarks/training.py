"""Seconds and peak memory of one SKCDF training step, each configuration in a process of its own.

    python benchmarks/training.py [--filters 32] [--patch-size 64 128 128] [--classes 14] [--repeats 1]

The default is the published size: 32 filters, 2 labelled and 2 unlabelled patches of 64×128×128 voxels. A step is
parameter copies, both passes with their losses, backward passes and the optimiser, on random patches. Peak memory is
what the operating system says the whole process held at most, Python and libraries included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from skcdf.device import choose_device
from skcdf.device_names import PRECISIONS
from skcdf.labels import LabelSet
from skcdf.plan import measure_iteration
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import TrainingConfig


def main() -> int:
    """Measures every face and precision, or one of them when told to by itself."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--patch-size", type=int, nargs=3, default=(64, 128, 128))
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--repeats", type=int, default=1, help="steps after the first; the median counts")
    parser.add_argument("--compat", nargs="+", choices=("corrected", "published"), default=["corrected"])
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32", "bf16"])
    parser.add_argument("--here", action="store_true", help="measure one configuration in this process")
    options = parser.parse_args()
    if options.here:
        print(measure(options))
        return 0
    print(f"{'face':12} {'precision':10} {'s/step':>8} {'peak GiB':>9}")
    for compat in options.compat:
        for precision in options.precision:
            arguments = [*sys.argv[1:], "--compat", compat, "--precision", precision, "--here"]
            command = [sys.executable, str(Path(__file__)), *arguments]
            result = subprocess.run(command, check=True, capture_output=True, text=True)
            print(f"{compat:12} {precision:10} {result.stdout.strip()}", flush=True)
    return 0


def measure(options: argparse.Namespace) -> str:
    """Seconds and peak memory of the first of the given faces and precisions."""
    device = choose_device("auto", options.precision[0])
    z, y, x = options.patch_size
    config = TrainingConfig(
        PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1)),
        (z, y, x),
        "skcdf",
        options.compat[0],
        filters=options.filters,
    )
    label_set = LabelSet.from_names("many", [f"organ {index}" for index in range(1, options.classes)])
    seconds = measure_iteration(config, label_set, device, options.repeats)
    peak = device.peak_memory()
    return f"{seconds:8.1f} {peak / 2**30 if peak else float('nan'):9.2f}"


if __name__ == "__main__":
    sys.exit(main())
