"""How long it takes until something happens: imports, a cold command, a warm worker.

    python benchmarks/startup.py [--scan ct.nii.gz] [--model MODEL | --filters 16] [--times 3]

Without a scan a phantom of 200×256×256 voxels is made. Every figure is the median of some runs; all come from one run
of this program, so that their ratios hold on a busy machine, too. Waiting is what is left when the network's own time
and, where it says so, the reading of the file are taken away. Writes nothing into the project.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from memory import make_model
from program import positive, run
from skcdf.image import read_image, write_image
from skcdf.models import find_model
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


def ask(worker: WorkerClient, scan: Path, output: Path, model: str) -> tuple[float, float, dict]:
    """Seconds from the request to the first finished window and to the result, and the result."""
    begin = time.monotonic()
    request = worker.request("segment", image=str(scan), output=str(output), model=model)
    first = 0.0
    for event in worker.events(request):
        if event.get("phase") == "segment" and not first:
            first = time.monotonic() - begin
    if event["event"] != "result":
        sys.exit(f"the worker failed: {event}")
    return first, time.monotonic() - begin, event


INSIDE = """
import json, statistics, sys, time
from skcdf.allocator import ask_for_large_pages
ask_for_large_pages()  # as the commands do
import torch
from skcdf.device import choose_device
from skcdf.image import read_image
from skcdf.inference import Predictor
from skcdf.inference.sliding_window import Unclassified
from skcdf.models import default_model, find_model

class Timed(Predictor):
    windows = []

    def network_on(self, *arguments):
        predict = super().network_on(*arguments)
        def timed(patches):
            begin = time.perf_counter()
            found = predict(patches)
            self.windows.append(time.perf_counter() - begin)
            return Unclassified(found.features, clocked(found.classify)) if isinstance(found, Unclassified) else found
        def clocked(classify):  # the head is a part of the network
            def timed_row(voxels):
                begin = time.perf_counter()
                scores = classify(voxels)
                self.windows[-1] += time.perf_counter() - begin
                return scores
            return timed_row
        return timed

scan, model, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads or torch.get_num_threads())
predictor = Timed(find_model(model) if model else default_model(), choose_device())
image, seconds = read_image(scan), {}
predictor.network_on(predictor.device)(torch.zeros(1, 1, *predictor.bundle.patch_size))  # warms up
for places in (0, 10):
    predictor.windows.clear()
    whole = predictor.segment(image, places=places).seconds
    seconds[places] = whole, sum(predictor.windows)
print(json.dumps([statistics.median(predictor.windows), *seconds[0], *seconds[10]]))
"""


class Inside(NamedTuple):
    """Seconds of two runs with the network's calls timed, in a process of its own.

    Attributes:
        window: of the network, median.
        labels, labels_network: from the scan in memory to its labels, and of it in the network.
        places, places_network: the same with unsure places.
    """

    window: float
    labels: float
    labels_network: float
    places: float
    places_network: float


def inside(scan: Path, model: str, threads: int = 0) -> Inside:
    """How long a run takes beside its network; 0 threads: as many as a command."""
    command = [sys.executable, "-c", INSIDE, str(scan), model, str(threads)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Inside(*json.loads(found.splitlines()[-1]))


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scan", type=Path, help="scan to segment (default: a phantom)")
    parser.add_argument("--model", default="", help="model name or folder (default: the shipped one)")
    parser.add_argument(
        "--filters", type=positive, help="measure a network of this size and random weights instead"
    )
    parser.add_argument("--times", type=positive, default=3)
    options = parser.parse_args()
    if options.model:
        find_model(options.model)  # raises where there is none, before anything is measured
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, output = options.scan or folder / "scan.nii.gz", folder / "organs.nii.gz"
        if options.scan is None:
            write_image(scan, make_phantom(1, shape=SHAPE, spacing=SPACING)[0])
        model = str(make_model(folder, 14, options.filters)) if options.filters else options.model
        measure(scan, output, model, options.times)
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
        runs = [ask(worker, scan, output, model) for _ in range(times + 1)]
    of_worker, of_command = inside(scan, model, threads), inside(scan, model)
    command = [sys.executable, "-m", "skcdf", "segment", str(scan), str(output)]
    command += ["--model", model] if model else []
    cold = median_seconds(lambda: subprocess.run(command, check=True, capture_output=True), times)
    first, whole = (statistics.median(values) for values in zip(*(run[:2] for run in runs[1:]), strict=True))
    line(f"cold command, start to end, {runs[0][2]['windows']} windows", cold)
    line("  beyond the network's time", cold - of_command.labels_network, f"limit {COLD_LIMIT_S:g} s")
    line("first request to a new worker, until the first finished window", runs[0][0])
    line("warm worker, request to the first finished window", first)
    waiting = first - reading - of_worker.window
    line("  beyond reading and that window's time", waiting, f"limit {WARM_LIMIT_S:g} s")
    line("warm worker, request to result, with unsure places", whole)
    share = f"{of_worker.labels / of_worker.labels_network - 1:.0%} more, limit {OVERHEAD_LIMIT:.0%}"
    line("in one run: the network", of_worker.labels_network)
    line("  from the scan in memory to its labels", of_worker.labels, share)
    line("in one run: the network", of_worker.places_network)
    share = f"{of_worker.places / of_worker.places_network - 1:.0%} more"
    line("  from the scan in memory to its labels and unsure places", of_worker.places, share)


if __name__ == "__main__":
    run(main)
