"""Fine-tuning small enough for tests: toy cases, pools of them, a promoted model that knows their organs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_bundles import described

from skcdf import training_report
from skcdf.cases import Case
from skcdf.fine_tuning import FineTuneOutcome, FineTuneRequest, fine_tune
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map, write_image, write_label_map
from skcdf.image_hash import voxel_hash
from skcdf.labels import LabelSet
from skcdf.model_store import ModelStore
from skcdf.models import ModelBundle, TrainingRecord, save_bundle
from skcdf.networks.vnet import VNet
from skcdf.pool import LabelledPool
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken
from skcdf.trainer import trainer as trainer_module

ORGANS = ("spleen", "right_kidney", "left_kidney")
LABELS = LabelSet.from_names("toy", ORGANS)
HU = (-100, 100, 250, 320)
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
SIDE = 32
SHORT = {"iterations": 2, "validations": 1, "batch_size": 1, "unlabelled_batch_size": 1}


@pytest.fixture(autouse=True)
def quick(device, monkeypatch):
    """One thread, and nothing that takes long and proves nothing."""
    monkeypatch.setattr(training_report, "PICTURES", 0)
    monkeypatch.setattr(trainer_module, "STATISTICS_BATCHES", 1)


@dataclass(frozen=True)
class Member:
    """A case of a pool that is made for a test."""

    case: Case
    split: str = "training"
    annotated: tuple[str, ...] | None = ()
    subject: str = ""


def make_pool(root: Path, members: list[Member], labels: LabelSet | None = None) -> Path:
    """A pool of toy cases; ``annotated=()`` means all organs, ``None`` an unlabelled case."""
    pool = LabelledPool.create(root, labels or LABELS, "CT")
    for member in members:
        case, names = member.case, member.annotated
        image, label = read_image(case.image), read_label_map(case.label)
        if names:
            values = [pool.label_set.value_of(name) for name in names]
            label = replace(
                label, array=np.where(np.isin(label.array, values), label.array, 0).astype(np.uint8)
            )
        pool.add_case(
            case.name,
            image,
            None if names is None else label,
            subject=member.subject or case.subject,
            split=member.split,
            annotated=names or None,
        )
    return root


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[Case]:
    """Scans of one window's size, in which every organ has its own intensity."""
    folder = tmp_path_factory.mktemp("cases")
    return [written_case(folder, seed) for seed in range(8)]


def written_case(folder: Path, seed: int) -> Case:
    rng, geometry = np.random.default_rng(seed), Geometry((SIDE, SIDE, SIDE), (2.0, 2.0, 2.0))
    labels = np.zeros((SIDE, SIDE, SIDE), np.uint8)
    for value, x in ((1, 12), (2, 1), (3, 22)):
        z, y = rng.integers(2, SIDE - 10, 2)
        labels[z : z + 8, y : y + 8, x : x + 8] = value
    scan = np.choose(labels, HU) + rng.normal(0, 10, labels.shape)
    image, label = folder / f"scan{seed}.nii.gz", folder / f"label{seed}.nii.gz"
    write_image(image, Image(scan.astype(np.int16), geometry))
    write_label_map(label, labels, geometry)
    return Case(f"case{seed}", image, label, frozenset(ORGANS), f"subject{seed}")


def knowing_network(shy: bool = False) -> VNet:
    """Finds the organs by their intensity alone: made, not trained.

    One channel of the first stage carries the intensity to the head, whose rows are those of the nearest centre.

    Args:
        shy: nearly all is taken for background, so that whatever is trained finds the organs better; without, nothing
            can.
    """
    torch.manual_seed(0)
    network = VNet(1, 4, 2, dropout=0.0)
    first, last = network.encoder.stages[0], network.decoder.convolutions[-1]
    with torch.no_grad():
        for convolution, norm in ((first[0], first[1]), (last[0], last[1])):
            convolution.weight[0] = 0
            convolution.weight[0, 0, 1, 1, 1] = 1
            convolution.bias[0] = 3 if convolution is first[0] else 0
            for tensor, value in ((norm.running_mean, 2.3), (norm.running_var, 0.64)):
                tensor[0] = value
            norm.weight[0], norm.bias[0] = 0.8, 2.3  # the same in training as in use
        network.decoder.ups[-1][1].weight.zero_()
        network.decoder.ups[-1][1].bias.zero_()
        head = network.decoder.heads["main"]
        centres = torch.tensor([value / 100 + 3 for value in HU])
        head.weight.zero_()
        head.weight[:, 0, 0, 0, 0] = 8 * centres
        head.bias.copy_(-4 * centres**2)
        if shy:
            head.bias[1:] -= torch.tensor([18.0, 100.0, 100.0])  # of the spleen a few voxels are found
    return network.eval()


def tuned(pool: Path, run: Path, start: str = "", **more) -> FineTuneOutcome:
    said: list[str] = more.pop("said", [])
    callbacks = {name: more.pop(name) for name in ("progress", "cancel", "observe") if name in more}
    request = FineTuneRequest(pool, run, start, device="cpu", precision="fp32", **more)
    return fine_tune(request, say=said.append, **callbacks)


def toy_bundle(hashes: tuple[str, ...]) -> ModelBundle:
    """A description of `knowing_network`, which says that it was trained on scans with these hashes."""
    training = TrainingRecord(
        "supervised", 9, 0, len(hashes), 0, "toys", "2026-01-01", "0.1.0", True, image_hashes=hashes
    )
    arguments = {"channels": 1, "classes": 4, "filters": 2, "dropout": 0.0}
    return described("vnet", arguments, LABELS, PLAN, training=training)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, cases) -> Path:
    """A model store with a promoted model that knows the toy organs, trained on the first two cases as it says."""
    folder = tmp_path_factory.mktemp("work")
    bundle = toy_bundle(tuple(voxel_hash(read_image(case.image)) for case in cases[:2]))
    model = save_bundle(folder / "model", bundle, knowing_network(shy=True).state_dict())
    store = ModelStore.open(folder / "store", create=True)
    store.add("toy", model.folder, parent=None, data_hash="", config={})
    store.promote("toy", "v1")
    return folder


@pytest.fixture(scope="module")
def knowing(workplace) -> ModelBundle:
    """The same model, but it finds every organ."""
    described = ModelBundle.load(workplace / "model")
    return save_bundle(workplace / "knowing", described, knowing_network().state_dict())


@pytest.fixture(scope="module")
def pool(workplace, cases) -> Path:
    """Another pool: one labelled case, one for validation."""
    return make_pool(workplace / "pool", [Member(cases[2]), Member(cases[3], "validation")])


@pytest.fixture(scope="module")
def done(workplace, pool) -> tuple[FineTuneOutcome, list[str], list[str]]:
    """A fine-tuning that has ended, what it said, and the versions there were before."""
    said: list[str] = []
    before = [each.version for each in ModelStore.open(workplace / "store").versions("toy")]
    options = {"store": workplace / "store", "settings": SHORT, "said": said}
    return tuned(pool, workplace / "done", "toy", **options), said, before


@pytest.fixture
def tune(workplace, tmp_path):
    """Fine-tunes the promoted model for two steps, unless told otherwise."""

    def run(pool: Path, folder: str = "run", **options) -> FineTuneOutcome:
        options = {"start": "toy", "store": workplace / "store", "settings": SHORT, **options}
        return tuned(pool, tmp_path / folder, **options)

    return run


def stop_at(phase: str, done: int = 1) -> dict[str, object]:
    token = CancelToken()
    return {
        "cancel": token,
        "progress": lambda report: token.cancel() if (report.phase, report.done) == (phase, done) else None,
    }
