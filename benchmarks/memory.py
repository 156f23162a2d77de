"""Peak resident memory of ``skcdf segment`` on a CT of 512×512×N voxels, measured from outside the process.

    python benchmarks/memory.py [--slices 300] [--classes 16 118] [--filters 16]

The scan is a phantom; the model has random weights, since memory and time do not depend on what they are. The
command runs as a user would run it, start to end, and the operating system says what it took at most. Prints one
line for each number of classes and writes nothing into the project.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from program import positive, run
from skcdf.image import write_image
from skcdf.labels import LabelSet
from skcdf.models import (
    Expectations,
    InferenceOptions,
    ModelBundle,
    NetworkDescription,
    TrainingRecord,
    save_bundle,
)
from skcdf.networks import build_network
from skcdf.phantom import make_phantom
from skcdf.preprocessing import Intensity, PreprocessingPlan

LIMIT_GIB = 4.0
WINDOW = (64, 128, 128)
SPACING_MM = 1.5
IN_PLANE = 512


def make_model(folder: Path, classes: int, filters: int) -> Path:
    """A bundle with random weights; returns its folder."""
    arguments = {"channels": 1, "classes": classes, "filters": filters, "dropout": 0.0}
    torch.manual_seed(0)
    network = build_network("vnet", arguments)
    plan = PreprocessingPlan(
        Intensity("window", -200, 300, 40, 110), spacing=(SPACING_MM,) * 3, body_threshold=-500
    )
    everything = ((0.1, 10.0),) * 3
    bundle = ModelBundle(
        name=f"random_{classes}",
        version="1",
        title="Random weights, for measuring memory",
        description="",
        network=NetworkDescription("vnet", arguments),
        channels=("CT",),
        patch_size=WINDOW,
        label_set=LabelSet.from_names("many", [f"organ {index}" for index in range(1, classes)]),
        preprocessing=plan.to_json(),
        expects=Expectations("CT", (-1024.0, 3000.0), everything, ((1.0, 2000.0),) * 3, "abdomen"),
        training=TrainingRecord("none", 0, 0, 0, 0, "none", "2026-01-01", "0", synthetic=True),
        licence="CC0-1.0",
        inference=InferenceOptions(air_threshold_hu=-500),
    )
    save_bundle(folder / bundle.name, bundle, network.state_dict())
    return folder / bundle.name


def measure(scan: Path, model: Path, output: Path) -> tuple[float, float, float]:
    """Runs the command; peak resident memory in GiB, wall-clock and processor seconds."""
    # A process of its own runs and waits for the command, so that the peak is of this one command alone.
    watcher = (
        "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(used.ru_maxrss, used.ru_utime + used.ru_stime); sys.exit(code)"
    )
    command = [sys.executable, "-m", "skcdf", "segment", str(scan), str(output), "--model", str(model)]
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", watcher, *command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the command failed:\n{done.stderr}")
    unit = 1 if sys.platform == "darwin" else 1024
    *_, peak, cpu_seconds = done.stdout.split()
    return int(peak) * unit / 2**30, time.monotonic() - begin, float(cpu_seconds)


def main() -> int:
    """Measures each number of classes; exits with 1 where the limit is passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=positive, default=300)
    parser.add_argument("--classes", type=positive, nargs="+", default=[16, 118], help="background included")
    parser.add_argument("--filters", type=positive, default=16)
    options = parser.parse_args()
    within = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = folder / "scan.nii.gz"
        shape = (options.slices, IN_PLANE, IN_PLANE)
        print(f"making a phantom of {IN_PLANE}x{IN_PLANE}x{options.slices} voxels", flush=True)
        write_image(scan, make_phantom(1, shape=shape, spacing=(1.25, 0.8, 0.8))[0])
        for classes in options.classes:
            model = make_model(folder, classes, options.filters)
            gib, seconds, cpu_seconds = measure(scan, model, folder / "organs.nii.gz")
            within &= gib <= LIMIT_GIB
            print(
                f"{classes} classes, {options.filters} filters: peak {gib:.2f} GiB resident, {seconds:.0f} s, "
                f"{cpu_seconds:.0f} s of processor",
                flush=True,
            )
    print(f"limit {LIMIT_GIB:g} GiB: {'kept' if within else 'PASSED'}")
    return 0 if within else 1


if __name__ == "__main__":
    run(main)
