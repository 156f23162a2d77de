"""An engine for the front door of fine-tuning that does at once what a real training would do in hours.

`finetune_children` puts it in the place of ``skcdf.fine_tuning`` in its children; what it does stands in the
request's name. Its checkpoints are real files, its work is real, and it needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .errors import Cancelled, SkcdfError  # type: ignore[import-not-found]
from .files import atomic_write  # type: ignore[import-not-found]
from .fine_tune_request import FineTuneRequest  # type: ignore[import-not-found]
from .progress import Progress  # type: ignore[import-not-found]
from .training_figures import ClassBalance, CurvePoint  # type: ignore[import-not-found]


def fine_tune(
    request: FineTuneRequest,
    *,
    progress: Callable,
    cancel: Any,
    say: Callable,
    alone: bool,
    observe: Callable,
) -> Any:
    say(f"request: {json.dumps(vars(request), default=str)}")
    if request.name == "mend":
        raise SkcdfError("pool: there is no labelled case.", "Add one.")
    if request.name == "unexpected":
        raise IndexError("of a list")
    if request.name == "no-torch":
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    if request.name == "crash":
        os._exit(77)
    if request.name == "works":
        return _train(request.run_folder, progress, cancel, sys.maxsize)
    if request.name == "deaf":
        write_checkpoint(request.run_folder, 41)
        progress(Progress("train", 41, 1000))
        hashlib.pbkdf2_hmac("sha256", b"a long", b"step", 2_000_000_000)
    warnings.warn("a library is worried", stacklevel=1)
    logging.getLogger("library").warning("and logs it")
    print("a library prints")
    observe(ClassBalance(("liver",), (120.0,), (2.5,)))
    observe(CurvePoint(20, 0.5, {"supervised": 0.5}))
    observe(CurvePoint(20, dice=0.75, organs={"liver": 0.75, "spleen": float("nan")}))
    say("two lines,\nnaïve ones: Größe 3 µm")
    return _train(request.run_folder, progress, cancel, 3)


def write_checkpoint(run_folder: Path, iteration: int) -> None:
    """A safetensors file without tensors that says what a real checkpoint says of itself."""
    header = json.dumps({"__metadata__": {"skcdf": json.dumps({"iteration": iteration})}}).encode()
    with atomic_write(run_folder / "checkpoint.safetensors") as temporary:
        temporary.write_bytes(len(header).to_bytes(8, "little") + header)


def _train(run_folder: Path, progress: Callable, cancel: Any, iterations: int) -> Any:
    begin, done = time.monotonic(), 0
    try:
        while done < iterations:
            cancel.raise_if_cancelled()
            time.sleep(0.02)
            done += 1
            progress(Progress("train", done, iterations, "loss 0.5"))
    except Cancelled:
        write_checkpoint(run_folder, done)
        raise
    folder = run_folder / "model"
    folder.mkdir(exist_ok=True)
    comparison = SimpleNamespace(
        to_json=lambda: {"rows": [{"organ": "liver", "before": float("nan")}]},
    )
    model = SimpleNamespace(folder=folder, name="first", notice="Research use; not for diagnosis.")
    version = SimpleNamespace(name="liver", version="v2")
    return SimpleNamespace(
        model=model,
        version=version,
        comparison=comparison,
        seconds=time.monotonic() - begin,
        kept="training",
    )
