"""A training that runs out of memory says so in one sentence, with what needs less, and its last checkpoint stands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from skcdf.cli import main
from skcdf.device import Device, OutOfMemory, is_shortage
from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.methods.supervised import Supervised
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import Trainer, TrainingConfig
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import read_state
from skcdf.trainer.rehearsal import rehearse

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
CONFIG = TrainingConfig(PLAN, (32, 32, 32), filters=2, iterations=6, validations=0, seed=3)
SHORTAGES = [
    OutOfMemory("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    RuntimeError("could not create a primitive"),
    MemoryError(),
]
LIMITED = """
import resource, sys
limit = int(sys.argv[1]) << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from skcdf.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def make_trainer(toy_volumes, device, tmp_path):
    def make(config: TrainingConfig = CONFIG, folder: str = "run", **options) -> Trainer:
        return Trainer(config, LABELS, toy_volumes[:2], (), tmp_path / folder, device, **options)

    return make


@pytest.fixture
def fail(monkeypatch):
    """Lets supervised training fail once, after ``steps``, when the network has seen the batch."""

    def prepare(error: BaseException, steps: int = 0) -> None:
        plain, left = Supervised.losses, [steps]

        def losses(self, batch, moment) -> Iterator[dict[str, torch.Tensor]]:
            yield from plain(self, batch, moment)
            left[0] -= 1
            if left[0] == -1:
                raise error

        monkeypatch.setattr(Supervised, "losses", losses)

    return prepare


@pytest.mark.parametrize("error", SHORTAGES)
def test_one_sentence_says_what_was_too_large_and_a_hint_what_needs_less(error, make_trainer, fail):
    fail(error)
    with pytest.raises(SkcdfError) as told:
        make_trainer(replace(CONFIG, batch_size=3, patch_size=(32, 32, 64))).run()
    size = "3 patches of 32 x 32 x 64 voxels"
    assert told.value.message == f"There is too little memory to train with {size} at once."
    expected = "Close other programs, or take --batch-size 1, or take a smaller --patch-size."
    assert told.value.hint == expected


def test_a_failure_that_is_not_memory_is_not_hidden(make_trainer, fail):
    words = "could not create a primitive descriptor for the convolution"
    assert not is_shortage(RuntimeError(words))
    fail(RuntimeError(words))
    with pytest.raises(RuntimeError, match=words):
        make_trainer().run()


def test_what_cannot_be_smaller_is_not_advised(make_trainer, fail):
    fail(MemoryError())
    with pytest.raises(SkcdfError, match="with 1 patch of") as told:
        make_trainer(replace(CONFIG, batch_size=1)).run()
    assert told.value.hint == "Close other programs."


def test_a_gpu_that_is_full_before_the_first_step_is_told_with_the_processor_as_a_way(toy_volumes, tmp_path):
    class Full(Device):
        def place(self, network: torch.nn.Module) -> None:
            raise OutOfMemory("CUDA out of memory.")

    with pytest.raises(SkcdfError, match=r"too little memory.*--batch-size 1.*--device cpu"):
        Trainer(CONFIG, LABELS, toy_volumes[:2], (), tmp_path, Full("cuda", torch.float32, "a pretended GPU"))


def test_the_last_checkpoint_stands_and_goes_on_to_the_same_bits(make_trainer, fail, monkeypatch):
    whole = make_trainer(folder="whole")
    whole.run()
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", 0.0)
    fail(MemoryError(), steps=3)
    with pytest.raises(SkcdfError, match="checkpoint is kept; other sizes need another folder"):
        make_trainer().run()
    assert read_state(make_trainer().checkpoint_file).iteration == 3
    resumed = make_trainer()
    resumed.run()
    one, two = load_file(resumed.checkpoint_file), load_file(whole.checkpoint_file)
    assert [name for name in two if not torch.equal(one[name], two[name])] == []


def test_a_checkpoint_that_memory_cannot_take_is_not_said_to_be_another_networks(make_trainer, monkeypatch):
    make_trainer(replace(CONFIG, iterations=1)).run()
    trainer = make_trainer(replace(CONFIG, iterations=1))

    def short(*_arguments, **_more):
        raise OutOfMemory("CUDA out of memory.")

    monkeypatch.setattr(trainer.method.network, "load_state_dict", short)
    with pytest.raises(SkcdfError, match=r"too little memory.*checkpoint is kept"):
        trainer.run()


def test_a_validation_on_the_way_is_told_too(make_trainer, toy_volumes, monkeypatch):
    def short(*_arguments, **_more):
        raise MemoryError

    monkeypatch.setattr(trainer_module, "validate", short)
    trainer = make_trainer(replace(CONFIG, iterations=1, validations=1), validation=toy_volumes[3:])
    with pytest.raises(SkcdfError, match="too little memory"):
        trainer.run()


def test_measuring_its_speed_is_told_too(make_trainer, fail):
    fail(MemoryError(), steps=1)
    with pytest.raises(SkcdfError, match="too little memory"):
        rehearse(make_trainer())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process's memory cannot be limited so")
def test_a_batch_beyond_the_computers_memory_is_told_by_the_commands(tmp_path):
    """With memory that really ends."""
    pool, run = str(tmp_path / "pool"), str(tmp_path / "run")
    sizes = "--shape 32 32 32 --spacing 9 9 9"
    assert main(["phantom", pool, "--labelled", "2", "--unlabelled", "0", *sizes.split()]) == 0

    def limited(command: str, mebibytes: int, batch: int) -> subprocess.CompletedProcess[str]:
        settings = f"--filters 4 --patch-size 32 32 32 --spacing 9 9 9 --iterations 2 --batch-size {batch}"
        return subprocess.run(
            [
                sys.executable,
                "-c",
                LIMITED,
                str(mebibytes),
                command,
                pool,
                run,
                "--device",
                "cpu",
                *settings.split(),
            ],
            capture_output=True,
            text=True,
        )

    said = "error: There is too little memory to train with 2000 patches of 32 x 32 x 32 voxels at once."
    for command in ("train", "finetune"):
        done = limited(command, 6000, 2000)
        assert done.returncode == 1
        assert said in done.stderr and "hint: Close other programs, or take --batch-size 1." in done.stderr
    assert limited("train", 6000, 1).returncode == 0
