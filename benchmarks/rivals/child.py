"""Runs one program once, in a process of its own, and prints what it took as a line of JSON.

    PYTHON child.py PROGRAM FOLDER

FOLDER is what `task.Task.save` wrote. The label map goes to ``PROGRAM.npy``; MONAI's also says how far the best two
scores of every voxel are apart. Nothing is warmed up: what a first call costs, it costs everyone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch

from rivals.task import WINDOW, Task, image_of, network_of
from skcdf.allocator import ask_for_large_pages
from skcdf.device import choose_device
from skcdf.files import peak_resident_bytes
from skcdf.inference import Predictor
from skcdf.inference.sliding_window import blending_weights
from skcdf.models import find_model

GAP = "gap.npy"


class Found(NamedTuple):
    """What a program found: labels ``(z, y, x)``, and scores ``(class, z, y, x)`` where it has them all."""

    labels: np.ndarray
    scores: torch.Tensor | None


def ours(task: Task, folder: Path, skipped: str) -> Callable[[], Found]:
    """From the scan in memory to its label map: preprocessing and the way back are in the time."""
    raw, predictor = np.load(folder / "raw.npy"), _predictor(task, folder / skipped)
    return lambda: Found(predictor.segment(image_of(raw)).label_map.array, None)


def together(task: Task, folder: Path, batch: int) -> Callable[[], Found]:
    """The same with some windows in one call of the network, as on a GPU."""
    raw, predictor = np.load(folder / "raw.npy"), _predictor(task, folder / "all")
    attempt = replace(predictor.ladder()[0], batch=batch)

    def run() -> Found:
        labels, _, _ = predictor.label(predictor.prepare(image_of(raw)), attempt, None, unsure=False)
        return Found(labels, None)

    return run


def _predictor(task: Task, model: Path) -> Predictor:
    ask_for_large_pages()  # as `python -m skcdf` does
    device = choose_device(task.device, task.precision if task.device == "cpu" else "auto")
    return Predictor(find_model(model), device)


def monai(task: Task, folder: Path) -> Callable[[], Found]:
    """``sliding_window_inference`` as its documentation shows it, with the Gaussian of ours and nnU-Net's.

    Its own is never below 1/1000 of its middle, so that it is flat where only corners of windows reach.
    """
    from monai.inferers import sliding_window_inference

    network = network_of(task, folder).to(task.device)
    image = torch.from_numpy(np.load(folder / "input.npy"))[None, None].to(task.device)
    weights = blending_weights(WINDOW, "gaussian").to(task.device)

    def run() -> Found:
        with torch.inference_mode(), torch.autocast(task.device, enabled=task.device != "cpu"):
            scores = sliding_window_inference(
                image, WINDOW, 1, network, overlap=task.overlap, mode="gaussian", roi_weight_map=weights
            )
        return Found(scores[0].argmax(0).cpu().numpy().astype(np.uint8), scores[0])

    return run


def nnunet(task: Task, folder: Path) -> Callable[[], Found]:
    """nnU-Net's predictor without mirroring, which none of the others does."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    device = torch.device(task.device)
    predictor = nnUNetPredictor(
        tile_step_size=1 - task.overlap,
        use_mirroring=False,
        perform_everything_on_device=task.device != "cpu",
        device=device,
        allow_tqdm=False,
    )
    predictor.network = network_of(task, folder)
    predictor.configuration_manager = SimpleNamespace(patch_size=WINDOW)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=task.classes)
    image = torch.from_numpy(np.load(folder / "input.npy"))[None]

    def run() -> Found:
        scores = predictor.predict_sliding_window_return_logits(image)
        return Found(scores.argmax(0).cpu().numpy().astype(np.uint8), None)

    return run


PROGRAMS = {
    "ours": lambda task, folder: ours(task, folder, "all"),
    "ours, air skipped": lambda task, folder: ours(task, folder, "occupied"),
    "MONAI": monai,
    "nnU-Net": nnunet,
    **{f"ours, {batch} at a time": partial(together, batch=batch) for batch in (1, 2, 4)},
}


def resident_bytes() -> int:
    """What this process holds now; its peak so far where the system is not Linux."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_resident_bytes() or 0
    import resource

    return pages * resource.getpagesize()


def main() -> None:
    """Measures one program."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    task = Task(**json.loads((folder / "task.json").read_text(encoding="utf-8")))
    if task.threads:
        torch.set_num_threads(task.threads)
    run = PROGRAMS[name](task, folder)
    on_gpu = task.device == "cuda"
    before = torch.cuda.memory_allocated() if on_gpu else resident_bytes()
    begin, begin_cpu = time.perf_counter(), time.process_time()
    found = run()
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_resident_bytes() or 0
    np.save(folder / f"{name}.npy", found.labels.astype(np.uint8))
    if found.scores is not None and not (folder / GAP).exists():
        np.save(folder / GAP, gap(found.scores))
    measured = {"seconds": seconds, "cpu_seconds": cpu_seconds, "bytes": peak - before}
    print(json.dumps({**measured, "threads": torch.get_num_threads()}))


def gap(scores: torch.Tensor) -> np.ndarray:
    """How far the best two scores are apart ``(z, y, x)``."""
    rows = [scores[:, z].topk(2, 0).values for z in range(scores.shape[1])]
    return torch.stack([best[0] - best[1] for best in rows]).float().cpu().numpy()


if __name__ == "__main__":
    main()
