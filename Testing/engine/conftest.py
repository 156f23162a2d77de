"""What the engine's tests share: small label sets, grids in any position, and models made on the spot."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skcdf.cases import Case, Dataset
from skcdf.geometry import AxisOrder, Geometry
from skcdf.image import Image, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.model_store import ModelStore
from skcdf.models import InferenceOptions, ModelBundle
from skcdf.models import save_bundle as write_bundle
from skcdf.preprocessing import Intensity, PreprocessingPlan

AXIS_ORDERS = [
    AxisOrder(permutation, flips)
    for permutation in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]
QUICK_ORDERS = {
    order
    for index, order in enumerate(AXIS_ORDERS)
    if order.flips
    in (((False,) * 3, (True,) * 3), ((False, True, False), (True, False, True)))[index // 8 % 2]
}
"""Twelve of them: every permutation, and in each every axis both ways."""


def soaked(few: int, many: int) -> int:
    """How often to try what only chance can break: ``few`` times in `make test`, ``many`` in `make soak`."""
    return many if os.environ.get("SKCDF_SOAK") else few


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes ``axis_order`` runs with each of the 48, all but twelve of them among the slow tests."""
    if "axis_order" in metafunc.fixturenames:
        slow = {order: [pytest.mark.slow] * (order not in QUICK_ORDERS) for order in AXIS_ORDERS}
        cases = [pytest.param(order, marks=marks, id=_order_name(order)) for order, marks in slow.items()]
        metafunc.parametrize("axis_order", cases)


def _order_name(order: AxisOrder) -> str:
    signs = ("-" if flip else "+" for flip in order.flips)
    return "".join(f"{sign}{'zyx'[axis]}" for sign, axis in zip(signs, order.permutation, strict=True))


@pytest.fixture
def repeated() -> Callable[[int, int], int]:
    """See `soaked`."""
    return soaked


@pytest.fixture
def label_set() -> LabelSet:
    """Three organs, two of them partners."""
    return LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])


@pytest.fixture
def device() -> Iterator[Any]:
    """The CPU in full precision and one thread, so that equal means equal to the bit."""
    import torch

    from skcdf.device import choose_device

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield choose_device("cpu", "fp32")
    torch.set_num_threads(threads)


@pytest.fixture
def oblique() -> Callable[..., Geometry]:
    """Makes a grid with axes nearly along left, posterior and superior, turned by some degrees."""

    def make(shape: tuple[int, int, int], spacing: tuple[float, float, float], degrees: Any) -> Geometry:
        direction = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        z, y, x = spacing
        return Geometry(shape[::-1], (x, y, z), (-31.5, 12.25, 700.0), tuple(map(float, direction.ravel())))

    return make


@pytest.fixture
def save_model(tmp_path: Path) -> Callable[..., ModelBundle]:
    """Writes a model made of a network, its weights and a plan, and loads it."""
    from torch import nn
    from toy_bundles import described

    def save(
        network: nn.Module,
        name: str,
        arguments: dict[str, Any],
        plan: PreprocessingPlan,
        labels: LabelSet,
        patch: tuple[int, int, int] = (32, 32, 32),
        **options: Any,
    ) -> ModelBundle:
        inference = InferenceOptions(**options)
        bundle = described(name, arguments, labels, plan, patch_size=patch, inference=inference)
        return write_bundle(tmp_path / "models" / "toy", bundle, network.state_dict())

    return save


@pytest.fixture
def ball() -> Callable[..., np.ndarray]:
    """Makes a bool array that is true within a radius of a point, both in mm of a grid."""

    def make(geometry: Geometry, centre: Any, radius: float) -> np.ndarray:
        index = np.stack(np.meshgrid(*map(np.arange, geometry.size), indexing="ij"), -1)
        distance = np.linalg.norm(geometry.position(index) - np.asarray(centre), axis=-1)
        return np.ascontiguousarray(distance.transpose(2, 1, 0) <= radius)

    return make


@pytest.fixture(scope="session")
def toy_case() -> Callable[..., Case]:
    """Writes a scan of 40 × 36 × 44 voxels of 2 mm, in which every organ has its own intensity, and its labels."""

    def write(
        folder: Path,
        seed: int,
        labels: np.ndarray | None = None,
        annotated: Sequence[str] = ("spleen", "right_kidney", "left_kidney"),
    ) -> Case:
        rng, shape = np.random.default_rng(seed), (40, 36, 44)
        geometry = Geometry(shape[::-1], (2.0, 2.0, 2.0))
        if labels is None:
            labels = np.zeros(shape, np.uint8)
            for value, x in ((1, 22), (2, 8), (3, 34)):
                z, y = rng.integers(12, 24, 2)
                labels[z - 5 : z + 5, y - 5 : y + 5, x - 5 : x + 5] = value
        scan = np.choose(labels, (-100, 100, 250, 320)) + rng.normal(0, 10, shape)
        image, label = folder / f"scan{seed}.nii.gz", folder / f"label{seed}.nii.gz"
        write_image(image, Image(scan.astype(np.int16), geometry))
        write_label_map(label, labels, geometry)
        return Case(f"case{seed}", image, label, frozenset(annotated), f"subject{seed}")

    return write


@pytest.fixture(scope="session")
def toy_volumes(tmp_path_factory: pytest.TempPathFactory, toy_case: Callable[..., Case]) -> list[Any]:
    """Four toy cases as training sees them, on their own grid."""
    from skcdf.trainer import load_volume

    folder = tmp_path_factory.mktemp("toy")
    label_set = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
    plan = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
    return [load_volume(toy_case(folder, seed), label_set, plan, seed=0) for seed in range(4)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as a training leaves it."""
    from stored_models import save_run

    return save_run(tmp_path_factory.mktemp("runs") / "run", 0)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """An empty model store."""
    return ModelStore.open(tmp_path / "store", create=True)


@pytest.fixture
def three(store: ModelStore, bundle: Path) -> ModelStore:
    """A store with three candidates of one model."""
    from stored_models import FACTS

    for _ in range(3):
        store.add("liver", bundle, **FACTS)
    return store


@pytest.fixture
def model(
    save_model: Callable[..., ModelBundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ModelBundle]:
    """Writes a model that finds organs by their intensity."""
    from threshold_models import LABELS, PLAN, RIGHT, Thresholds

    from skcdf import networks

    monkeypatch.setitem(networks.NETWORKS, "thresholds", Thresholds)

    def make(
        name: str,
        thresholds: Sequence[float] = RIGHT,
        trained_on: Sequence[str] = ("0" * 64,),
        labels: LabelSet = LABELS,
    ) -> ModelBundle:
        network = Thresholds(thresholds, labels.number_of_classes)
        arguments = {"classes": labels.number_of_classes}
        bundle = save_model(network, "thresholds", arguments, PLAN, labels, patch=(48, 48, 48))
        training = replace(bundle.training, labelled_cases=len(trained_on), image_hashes=tuple(trained_on))
        named = replace(bundle, name=name, training=training, folder=None)
        return write_bundle(tmp_path / "named" / name, named, network.state_dict())

    return make


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory, toy_case: Callable[..., Case]) -> list[Case]:
    """Four validation cases."""
    folder = tmp_path_factory.mktemp("validation")
    return [replace(toy_case(folder, seed), split="validation") for seed in range(4)]


@pytest.fixture
def dataset(validation: list[Case]) -> Dataset:
    """A data set of the four validation cases."""
    from threshold_models import dataset_of

    return dataset_of(validation)
