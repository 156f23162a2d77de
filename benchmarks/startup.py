"""How long it takes until something happens: imports, a cold command, a warm worker.

    python benchmarks/startup.py [--scan ct.nii.gz] [--model MODEL] [--times 3]

Without a scan a phantom of 200×256×256 voxels is made. Every figure is the median of some runs; all come from one run
of this program, so that their ratios hold on a busy machine, too. Waiting is what is left when the network's own time
and, where it says so, the reading of the file are taken away. Writes nothing into the project.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from skcdf.image import read_image, write_image
from skcdf.phantom import make_phantom
from skcdf.worker_client import WorkerClient

COLD_LIMIT_S, WARM_LIMIT_S, OVERHEAD_LIMIT = 4.0, 0.3, 0.10
SHAPE, SPACING = (200, 256, 256), (2.0, 1.5, 1.5)


def median_seconds(run: Callable[[], object], times: int) -> float:
    """Median wall-clock time of a call."""
    seconds = []
    for _ in range(times):
        begin = time.monotonic()
        run()
        seconds.append(time.monotonic() - begin)
    return statistics.median(seconds)


def importing(modules: str) -> Callable[[], object]:
    """A new Python that imports something."""
    return lambda: subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)


def ask(
    worker: WorkerClient, scan: Path, output: Path, model: str, **fields: int
) -> tuple[float, float, dict]:
    """Seconds from the request to the first finished window and to the result, and the result."""
    begin = time.monotonic()
    request = worker.request("segment", image=str(scan), output=str(output), model=model, **fields)
    first = 0.0
    for event in worker.events(request):
        if event.get("phase") == "segment" and not first:
            first = time.monotonic() - begin
    if event["event"] != "result":
        sys.exit(f"the worker failed: {event}")
    return first, time.monotonic() - begin, event


NETWORK_TIME = """
import sys, time
from skcdf.allocator import ask_for_large_pages
ask_for_large_pages()  # as the commands do
import torch
from skcdf.device import choose_device
from skcdf.inference import Predictor
from skcdf.models import default_model, find_model
model, threads, calls = sys.argv[1], int(sys.argv[2]), 8
torch.set_num_threads(threads or torch.get_num_threads())
bundle, device = find_model(model) if model else default_model(), choose_device()
predict = Predictor(bundle, device).network_on(device)
window = torch.randn(1, 1, *bundle.patch_size)
times = []
for _ in range(calls):
    begin = time.monotonic()
    predict(window).cpu()
    times.append(time.monotonic() - begin)
print(sorted(times)[calls // 2])
"""


def network_seconds(model: str, threads: int = 0) -> float:
    """Seconds that the network alone takes for a window, in a process of its own; 0 threads: as many as a command."""
    command = [sys.executable, "-c", NETWORK_TIME, model, str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scan", type=Path, help="scan to segment (default: a phantom)")
    parser.add_argument("--model", default="", help="model name or folder (default: the shipped one)")
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, output = options.scan or folder / "scan.nii.gz", folder / "organs.nii.gz"
        if options.scan is None:
            write_image(scan, make_phantom(1, shape=SHAPE, spacing=SPACING)[0])
        measure(scan, output, options.model, options.times)
    return 0


def measure(scan: Path, output: Path, model: str, times: int) -> None:
    """Measures and prints, one line a figure."""

    def line(what: str, seconds: float, limit: str = "") -> None:
        print(f"{what:66} {seconds:7.2f} s  {limit}", flush=True)

    line("import torch", median_seconds(importing("torch"), times))
    line("import all that a worker needs", median_seconds(importing("skcdf.worker_model_jobs"), times))
    line("read the scan", reading := median_seconds(lambda: read_image(scan), times))

    def greeted() -> None:
        with WorkerClient() as worker:
            assert worker.hello

    line("start of a worker until hello", median_seconds(greeted, times))
    with WorkerClient() as worker:
        threads = worker.hello["threads"]
        print(f"device: {worker.hello['device']}; threads: {threads}", flush=True)
        window = network_seconds(model, threads)
        of_command = network_seconds(model)
        runs, labels_only = [], []
        for _ in range(times + 1):
            runs.append(ask(worker, scan, output, model))
            labels_only.append(ask(worker, scan, output, model, places=0)[2]["seconds"])
    windows = runs[0][2]["windows"]
    command = [sys.executable, "-m", "skcdf", "segment", str(scan), str(output)]
    command += ["--model", model] if model else []
    cold = median_seconds(lambda: subprocess.run(command, check=True, capture_output=True), times)
    first, whole, inside = (
        statistics.median(values)
        for values in zip(*((a, b, c["seconds"]) for a, b, c in runs[1:]), strict=True)
    )
    network = windows * window
    line(f"the network alone, {windows} windows, with a worker's threads", network)
    line(f"the network alone, {windows} windows, with a command's threads", windows * of_command)
    line("cold command, start to end", cold)
    line("  beyond the network's time", cold - windows * of_command, f"limit {COLD_LIMIT_S:g} s")
    line("first request to a new worker, until the first finished window", runs[0][0])
    line("warm worker, request to the first finished window", first)
    waiting = first - reading - window
    line("  beyond reading and that window's time", waiting, f"limit {WARM_LIMIT_S:g} s")
    line("warm worker, request to result", whole)
    share = f"{inside / network - 1:.0%} more than the network"
    line("  of it from the scan in memory to its labels and unsure places", inside, share)
    plainly = statistics.median(labels_only)
    share = f"{plainly / network - 1:.0%} more than the network, limit {OVERHEAD_LIMIT:.0%}"
    line("  the same without places", plainly, share)
    print(f"warm worker / cold command: {whole / cold:.2f}")


if __name__ == "__main__":
    sys.exit(main())
