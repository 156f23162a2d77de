"""Several processes train one network: as one process would with all patches, and safely when one of them dies.

The processes run this file, too; what they do stands at its end.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch import distributed as dist

import skcdf
from skcdf.cli import main
from skcdf.device import Device
from skcdf.image import read_label_map
from skcdf.launch import launched
from skcdf.methods import Batch, Method, Moment, Problem, build_method
from skcdf.methods import skcdf as skcdf_module
from skcdf.models import ModelBundle
from skcdf.plugins import build_plugin
from skcdf.ranks import joined, rank
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import read_state
from skcdf.trainer.distributed import GpuBatchNorm3d, SharedLosses, share_batch_statistics

RANKS, LABELLED, UNLABELLED, CLASSES, SIDE = 2, 2, 1, 4, 32
CPU = Device("cpu", torch.float32, "CPU")
WITHOUT = {"dropout": 0.0, "skc": False, "decoupled": False, "balanced": False}
METHODS = {
    "corrected": ("skcdf", "corrected", {"dropout": 0.0, "attention_dropout": 0.0}),
    "published": ("skcdf", "published", {"dropout": 0.0, "attention_dropout": 0.0}),
    "without_parts": ("skcdf", "corrected", WITHOUT),
    "supervised": ("supervised", "corrected", {}),
    "mean_teacher": ("mean_teacher", "corrected", {"noise": 0.0}),
    "cps": ("cps", "corrected", {}),
    "pseudo_label": ("pseudo_label", "corrected", {}),
    "gradient_aware": ("supervised", "corrected", {}),
    "scdl": ("skcdf", "corrected", {"dropout": 0.0, "attention_dropout": 0.0}),
}
GATHERING = {"corrected", "without_parts", "mean_teacher", "scdl"}
PLUGIN_OPTIONS = {"noise": "fixed", "ramp": "consistency"}
"""Of the method that is named after its plug-in."""
SIZES = ["--shape", "40", "40", "48", "--spacing", "7", "9", "9"]
CASES = ["--labelled", "2", "--unlabelled", "1", "--validation", "3"]
BATCHES = {"--batch-size": "1", "--unlabelled-batch-size": "1", "--validations": "2"}
NETWORK = ["--filters", "2", "--patch-size", "32", "32", "32", "--spacing", "7", "9", "9"]
TRAINING = ["--method", "skcdf", "--iterations", "10", "--mirror", "--minutes", "0.1", *NETWORK]
TRAINING += [word for option in BATCHES.items() for word in option]
PATIENCE_S = 300

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()) or sys.platform == "win32",
    reason="this torch cannot connect processes by gloo, or Ctrl-C cannot be sent to a process",
)


def started(command: list[str], **variables: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    environment.update({name: str(value) for name, value in variables.items()})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], env=environment, **pipes)


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    output, errors = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def torchrun(folder: Path, *command: str) -> subprocess.Popen[str]:
    """Starts a command of the program by torchrun; the processes' ids lie in ``folder``."""
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS)]
    return started([*run, __file__, str(folder), *command])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> list[dict[str, Tensor]]:
    """What each of two processes computed."""
    folder = tmp_path_factory.mktemp("outcomes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    variables |= {"WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS}
    children = [started([__file__, str(folder)], **variables, RANK=r, LOCAL_RANK=r) for r in range(RANKS)]
    done = [finished(child) for child in children]
    assert [each.returncode for each in done] == [0] * RANKS, "\n".join(each.stderr for each in done)
    return [load_file(folder / f"{r}.safetensors") for r in range(RANKS)]


SPEED = {name: [] if name == "corrected" else [pytest.mark.slow] for name in METHODS}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=SPEED[name]) for name in METHODS])
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def reference(name) -> dict[str, Tensor]:
    """By one process, in whose attention only those images meet that share a rank elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skcdf_module, "draw_mask", GivenMasks.draw)
        method = made(name)
        for block in (getattr(method.network, f"{kind}_knowledge", None) for kind in ("local", "global")):
            if block is not None:
                patch.setattr(block, "forward", in_groups(block.forward))
        return outcome_of(method, slice(None), lambda *given, last: method.losses(*given))


class TestGradients:
    """In float64 and without dropout, masks given: equal to a process that has all patches, to rounding."""

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["loss", "gradient", "buffer", "gathered"])
    def test_equal_those_of_one_process(self, kind, name, outcomes, reference):
        names = [key for key in reference if key.startswith(f"{kind}/")]
        assert names or (kind == "gathered" and name not in GATHERING)
        largest = max((float(reference[key].abs().max()) for key in names), default=0.0)
        for outcome in outcomes:
            for key in names:  # biases before a batch norm have no gradient but rounding
                expected, found = reference[key], outcome[f"{name}/{key}"]
                error = (found - expected).abs().max() / max(float(expected.abs().max()), 1e-3 * largest)
                assert float(error) < 1e-10, (key, float(error))

    def test_reach_every_parameter(self, name, reference):
        gradients = [value for key, value in reference.items() if key.startswith("gradient/")]
        trained = [each for each in made(name).network.parameters() if each.requires_grad]
        assert len(gradients) == len(trained)


def test_a_shared_batch_norm_keeps_the_state_and_is_still_found_by_methods():
    for device in (CPU, Device("cuda", torch.float32, "GPU")):
        network = made("corrected").network
        before = {key: value.clone() for key, value in network.state_dict().items()}
        names = [key for key, _ in network.named_parameters()]
        share_batch_statistics(network, device)
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
        assert norms and all(type(norm) is not nn.BatchNorm3d for norm in norms)
        assert all(isinstance(norm, GpuBatchNorm3d) == (device.name == "cuda") for norm in norms)
        assert [key for key, _ in network.named_parameters()] == names
        after = network.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[key], before[key]) for key in before)


def test_a_shared_batch_norm_of_a_network_that_is_not_trained_is_not_trained():
    network = made("mean_teacher").network
    before = [key for key, each in network.named_parameters() if each.requires_grad]
    share_batch_statistics(network, CPU)
    assert [key for key, each in network.named_parameters() if each.requires_grad] == before


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with a phantom pool."""
    folder = tmp_path_factory.mktemp("ranks")
    assert main(["phantom", str(folder / "pool"), *CASES, *SIZES]) == 0
    return folder


@pytest.fixture(scope="module")
def whole(workplace) -> subprocess.CompletedProcess[str]:
    """A training by two processes that nobody disturbed."""
    return finished(torchrun(workplace, *training(workplace, "whole")))


@pytest.mark.slow
class TestCommands:
    def test_training_has_one_writer_and_one_voice(self, workplace, whole):
        assert whole.returncode == 0, whole.stderr
        assert whole.stdout.count("trained 10 iterations") == whole.stdout.count("device: ") == 1
        run = workplace / "whole"
        expected = ["best.safetensors", "checkpoint.safetensors", "model", "settings.json"]
        assert sorted(path.name for path in run.iterdir() if path.suffix != ".html") == expected
        state = read_state(run / "checkpoint.safetensors")
        assert (state.iteration, state.data["processes"]) == (10, RANKS)
        assert [each[0] for each in state.validations] == [5, 10]
        assert ModelBundle.load(run / "model").training.unlabelled_cases == 1

    def test_a_stopped_and_a_killed_training_go_on_to_the_same_weights(self, workplace, whole):
        folder, command = workplace / "disturbed", training(workplace, "disturbed")
        checkpoint = folder / "checkpoint.safetensors"

        process = torchrun(workplace, *command)
        wait_for(checkpoint, 2)
        process.send_signal(signal.SIGINT)
        stopped = finished(process)
        assert stopped.returncode != 0
        assert stopped.stdout.count("the same command goes on") == 1
        reached = read_state(checkpoint).iteration

        process = torchrun(workplace, *command)
        wait_for(checkpoint, reached + 2)
        begin = time.monotonic()
        os.kill(int((workplace / "pid1").read_text()), signal.SIGKILL)
        killed = finished(process)
        assert killed.returncode != 0
        assert "error: Process 0 of 2 lost the others" in killed.stderr
        assert "The same command goes on from the last checkpoint." in killed.stderr
        assert time.monotonic() - begin < 60
        assert reached + 2 <= read_state(checkpoint).iteration < 10

        assert finished(torchrun(workplace, *command)).returncode == 0
        for file in ("checkpoint.safetensors", "best.safetensors", "model/weights.safetensors"):
            one, two = load_file(folder / file), load_file(workplace / "whole" / file)
            assert one.keys() == two.keys()
            assert [key for key in one if not torch.equal(one[key], two[key])] == []

    def test_another_number_of_processes_is_refused(self, workplace, whole, capsys):
        assert main(training(workplace, "whole")) == 1
        complaint = capsys.readouterr().err
        assert "trained by 2 processes, now there are 1" in complaint
        assert "torchrun --nproc-per-node 2" in complaint

    def test_a_folder_of_scans_is_shared_out(self, workplace, whole, capsys):
        scans, results = workplace / "scans", [workplace / "alone", workplace / "shared"]
        scans.mkdir()
        for index, path in enumerate(sorted((workplace / "pool").glob("images*/*"))[:3]):
            shutil.copy(path, scans / f"{index}.nii.gz")
        (scans / "2damaged.nii.gz").write_bytes(b"no scan")
        model = str(workplace / "whole" / "model")
        alone, shared = (
            ["segment", str(scans), str(folder), "--model", model, "--statistics", f"{folder}.csv"]
            for folder in results
        )
        assert main(alone) == 1
        done = finished(torchrun(workplace, *shared))
        assert done.returncode != 0
        assert done.stderr.count("error: 1 of 4 scans failed") == done.stderr.count("model: ") == 1
        assert "2damaged.nii.gz" in done.stderr
        tables = [Path(f"{folder}.csv").read_text("utf-8") for folder in results]
        assert tables[0] == tables[1]
        assert {row["scan"] for row in csv.DictReader(tables[0].splitlines())} == {
            f"{n}.nii.gz" for n in range(3)
        }
        files = [sorted(path.name for path in folder.iterdir()) for folder in results]
        assert files[0] == files[1] == ["0.nii.gz", "1.nii.gz", "2.nii.gz"]
        for name in files[0]:
            one, two = (read_label_map(folder / name) for folder in results)
            assert np.array_equal(one.array, two.array)


def training(workplace: Path, run: str) -> list[str]:
    return ["train", str(workplace / "pool"), str(workplace / run), *TRAINING]


def wait_for(checkpoint: Path, iteration: int) -> None:
    """Until the run has come so far."""
    deadline = time.monotonic() + PATIENCE_S
    while not checkpoint.exists() or read_state(checkpoint).iteration < iteration:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def made(name: str) -> Method:
    """A method with the same float64 weights in every process."""
    method, compat, options = METHODS[name]
    counts = np.array([[9000, 500, 200, 50], [9000, 300, 300, 80], [9000, 100, 100, 60], [9000, 400, 90, 90]])
    torch.manual_seed(0)
    problem = Problem(
        1,
        CLASSES,
        2,
        (SIDE, SIDE, SIDE),
        ("background", "a", "b", "c"),
        counts.astype(float),
        "ga" if name == "gradient_aware" else "ce_dice",
    )
    plugin = build_plugin("scdl", problem, compat, PLUGIN_OPTIONS) if name == "scdl" else None
    made = build_method(method, problem, compat, options, plugin)
    made.network.double()
    for module in made.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return made


def batches() -> Iterator[Batch]:
    """Of all ranks. In the first, a class was annotated on the second rank alone, another not in one of its cases."""
    generator = torch.Generator().manual_seed(1)
    for first in (True, False):
        images, unlabelled = (
            torch.randn((RANKS * count, 1, SIDE, SIDE, SIDE), generator=generator, dtype=torch.float64)
            for count in (LABELLED, UNLABELLED)
        )
        annotated = torch.ones(len(images), CLASSES, dtype=torch.bool)
        labels = torch.randint(CLASSES, (len(images), SIDE, SIDE, SIDE), generator=generator).to(torch.uint8)
        if first:
            annotated[:LABELLED, 2] = annotated[LABELLED, 3] = False
            labels[:LABELLED][labels[:LABELLED] == 2] = 0
            labels[LABELLED][labels[LABELLED] == 3] = 0
        yield Batch(images, labels, annotated, unlabelled)


class GivenMasks:
    """What every process keeps of its patches, as drawn once for all.

    Attributes:
        starved: the last rank's masks keep nothing.
    """

    starved = False

    @classmethod
    def draw(cls, classes: Tensor, probabilities: Tensor) -> Tensor:
        total = len(classes) * (RANKS if dist.is_initialized() else 1)
        noise = torch.rand((total, SIDE, SIDE, SIDE), generator=torch.Generator().manual_seed(total))
        if cls.starved:
            noise[-(total // RANKS) :] = 2.0
        here = slice(rank() * len(classes), (rank() + 1) * len(classes))
        return noise[here] < probabilities.float()[classes.long()]


def in_groups(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Attention in labelled mode among the images of each rank alone."""

    def grouped(features: Tensor, labelled: int | None = None) -> Tensor:
        if labelled is None:
            return forward(features)
        known, unknown = features[:labelled].chunk(RANKS), features[labelled:].chunk(RANKS)
        parts = [forward(torch.cat(pair), len(pair[0])) for pair in zip(known, unknown, strict=True)]
        split = [part.split([LABELLED, UNLABELLED]) for part in parts]
        return torch.cat([part for kind in zip(*split, strict=True) for part in kind])

    return grouped


def outcome_of(
    method: Method, share: slice, losses: Callable[..., Iterator[dict[str, Tensor]]]
) -> dict[str, Tensor]:
    """Losses, gradients and running statistics of a step of two batches, then the statistics gathered anew.

    Args:
        method: what to run.
        share: the ranks whose patches this process has.
        losses: makes the losses of a batch.
    """
    found: dict[str, Tensor] = {}
    every = list(batches())
    for index, batch in enumerate(every):
        GivenMasks.starved = index == 0
        parts = (batch.images, batch.labels, batch.annotated, batch.unlabelled)
        own = Batch(*(torch.cat(part.chunk(RANKS)[share]) for part in parts))
        for group in losses(own, Moment(0.6, 0.5), last=index == len(every) - 1):
            sum(group.values()).backward()
            found.update({f"loss/{index}/{name}": value.detach() for name, value in group.items()})
    named = method.network.named_parameters()
    found.update({f"gradient/{name}": value.grad for name, value in named if value.grad is not None})
    found.update({f"buffer/{name}": value.clone().double() for name, value in method.network.named_buffers()})
    images = [torch.cat(batch.images.chunk(RANKS)[share]) for batch in every]
    gathered = method.weights(lambda: images)
    before = method.network.state_dict()
    changed = {key: value for key, value in gathered.items() if not torch.equal(value, before[key])}
    changed = {key: value for key, value in changed.items() if "running" in key}
    return found | {f"gathered/{key}": value for key, value in changed.items()}


def write_outcomes(folder: Path) -> None:
    """What one of the processes of `TestGradients` does."""
    skcdf_module.draw_mask = GivenMasks.draw
    outcomes = {}
    with joined("cpu", "", ""):
        for name in METHODS:
            method = made(name)
            share_batch_statistics(method.network, CPU)
            share, losses = slice(rank(), rank() + 1), SharedLosses(method, CPU)
            for key, value in outcome_of(method, share, losses).items():
                outcomes[f"{name}/{key}"] = value.contiguous()
        save_file(outcomes, folder / f"{rank()}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    own_folder = Path(sys.argv[1])
    if len(sys.argv) == 2:
        write_outcomes(own_folder)
    else:
        (own_folder / f"pid{launched().rank}").write_text(str(os.getpid()))
        trainer_module.CHECKPOINT_SECONDS = -1.0  # after every iteration
        trainer_module.STATISTICS_BATCHES = 2
        sys.exit(main(sys.argv[2:]))
