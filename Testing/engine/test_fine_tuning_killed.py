"""A fine-tuning that is killed at random instants goes on to the same bits, and the store never holds a half."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import skcdf
from skcdf import training_report
from skcdf.fine_tuning import FineTuneRequest, fine_tune
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map
from skcdf.labels import LabelSet
from skcdf.methods import Problem, build_method
from skcdf.model_store import ModelStore
from skcdf.models import ModelBundle
from skcdf.pool import LabelledPool
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import trainer as trainer_module

KILLS = 100 if os.environ.get("SKCDF_SOAK") else 5
SIDE = 32
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
SETTINGS = {"iterations": 4, "validations": 2, "batch_size": 1}


def request(work: Path, run: str) -> FineTuneRequest:
    return FineTuneRequest(
        work / "pool",
        work / run,
        str(work / "models" / "toy"),
        work / "store",
        name=run,
        settings=SETTINGS,
        resume=(work / run / "fine_tuning.json").exists(),
        device="cpu",
        precision="fp32",
    )


def prepare() -> None:
    torch.set_num_threads(1)
    trainer_module.CHECKPOINT_SECONDS = -1.0  # after every iteration
    training_report.PICTURES = 0


def serve(work: str) -> None:
    """What the child does: for every line it reads, a fine-tuning in a copy of itself: one import for all."""
    prepare()
    while line := sys.stdin.readline():
        copy = os.fork()
        if copy == 0:
            code = 1
            try:
                fine_tune(request(Path(work), line.strip()))
                code = 0
            finally:
                os._exit(code)
        print(copy, flush=True)
        sys.stdin.readline()  # until then it is there to be killed, as a zombie at worst
        print(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]), flush=True)


@pytest.fixture
def work(tmp_path, toy_case, save_model, device) -> Path:
    """A pool of two cases of one window's size, and a model."""
    labels = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
    pool = LabelledPool.create(tmp_path / "pool", labels, "CT")
    box, geometry = (slice(0, SIDE),) * 3, Geometry((SIDE, SIDE, SIDE), (2.0, 2.0, 2.0))
    for seed, split in ((0, "training"), (1, "validation")):
        case = toy_case(tmp_path, seed)
        image, label = read_image(case.image).array[box], read_label_map(case.label).array[box]
        pool.add_case(
            case.name, Image(image, geometry), Image(label, geometry), subject=case.name, split=split
        )
    torch.manual_seed(0)
    network = build_method("supervised", Problem(1, 4, 2, (SIDE, SIDE, SIDE))).network
    save_model(network, "vnet", {"channels": 1, "classes": 4, "filters": 2}, PLAN, labels)
    return tmp_path


@pytest.fixture
def start(work):
    """Starts a fine-tuning in a child of its own; gives its process id, and how to wait for its exit code."""
    code = "import runpy, sys; runpy.run_path(sys.argv[1])['serve'](sys.argv[2])"
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
    command = [sys.executable, "-c", code, __file__, str(work)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as child:

        def begin(run: str) -> int:
            child.stdin.write(f"{run}\n")
            child.stdin.flush()
            return int(child.stdout.readline())

        def finish() -> int:
            child.stdin.write("\n")
            child.stdin.flush()
            return int(child.stdout.readline())

        yield begin, finish
        child.stdin.close()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies of a process are what makes this test quick")
def test_a_killed_fine_tuning_goes_on_to_the_same_bits(work, start, monkeypatch):
    begin, finish = start
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(training_report, "PICTURES", 0)
    clock = time.monotonic()
    whole = fine_tune(request(work, "whole"))
    length = time.monotonic() - clock
    expected = load_file(whole.model.folder / "weights.safetensors")
    kills, number = 0, 0
    while kills < KILLS:
        number += 1
        run, code = f"run{number}", None
        while code != 0:
            process = begin(run)
            if kills < KILLS:
                time.sleep(random.uniform(0, 0.7 * length))
                os.kill(process, signal.SIGKILL)
            code = finish()
            assert code in (0, -signal.SIGKILL)
            kills += code != 0
            store = ModelStore.open(work / "store", create=True)
            assert store.verify() == ()
        model = ModelBundle.load(work / run / "model")
        found = load_file(model.folder / "weights.safetensors")
        assert found.keys() == expected.keys()
        assert [name for name in found if not torch.equal(found[name], expected[name])] == []
        (version,) = store.versions(run)
        assert json.loads((work / run / "fine_tuning.json").read_text("utf-8"))["version"] == version.version
        again = fine_tune(request(work, run))
        assert again.version == version
        shutil.rmtree(work / run)
