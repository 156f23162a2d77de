"""What all programs are given: a network's weights, a scan on the model's grid, and how to slide the window."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skcdf.geometry import Geometry
from skcdf.image import Image, read_image
from skcdf.labels import LabelSet
from skcdf.models import InferenceOptions, NetworkDescription, default_model, save_bundle
from skcdf.networks import build_network
from skcdf.phantom import make_phantom
from skcdf.preprocessing import PreprocessingPlan

Shape = tuple[int, int, int]

WINDOW: Shape = (64, 128, 128)
SPACING_MM = 1.5
PHANTOM_SHAPE, PHANTOM_SPACING = (300, 512, 512), (1.25, 0.8, 0.8)
AIR_HU = -500.0
NEVER = -20.0
"""Score of a class that the shipped model does not know."""


@dataclass(frozen=True)
class Task:
    """How a network runs.

    Attributes:
        name: of the scan.
        arguments: of the ``vnet``.
        overlap: share of a window that its neighbour covers, too.
        device: as torch names it.
        threads: of torch on the CPU; 0: its own choice.
        precision: of ours on the CPU, where the others compute in fp32.
    """

    name: str
    arguments: dict[str, int | float]
    overlap: float
    device: str
    threads: int
    precision: str = "fp32"

    @property
    def classes(self) -> int:
        """Background included."""
        return int(self.arguments["classes"])

    def save(self, folder: Path, raw: np.ndarray) -> None:
        """Writes what the programs read: the task, weights, the network's input, and a model of our own.

        Args:
            folder: of this task alone.
            raw: the scan on the model's grid ``(z, y, x)``, HU.
        """
        bundle = default_model()
        plan = PreprocessingPlan.from_json(bundle.preprocessing, bundle.name)
        weights = widened(bundle.load_weights(inference_only=True), self.arguments)
        (folder / "task.json").write_text(json.dumps(asdict(self)), encoding="utf-8")
        np.savez(folder / "weights.npz", **{key: tensor.numpy() for key, tensor in weights.items()})
        np.save(folder / "raw.npy", raw)
        np.save(folder / "input.npy", plan.intensity.apply(raw))
        known = bundle.label_set.names
        more = [f"organ {index}" for index in range(len(known) + 1, self.classes)]
        bundle = replace(
            bundle,
            network=NetworkDescription("vnet", self.arguments),
            patch_size=WINDOW,
            label_set=LabelSet.from_names("rivals", [*known, *more][: self.classes - 1]),
            preprocessing=PreprocessingPlan(plan.intensity, spacing=(SPACING_MM,) * 3).to_json(),
        )
        for name, threshold in (("all", None), ("occupied", AIR_HU)):
            options = InferenceOptions(self.overlap, "gaussian", threshold)
            save_bundle(folder / name, replace(bundle, inference=options), weights)


def widened(tensors: dict[str, Tensor], arguments: dict[str, int | float]) -> dict[str, Tensor]:
    """A small V-Net within a wider one, which finds the same and takes as long as any of its size.

    The channels that the small one lacks are zero, the classes that it lacks are never the best. So label maps are
    those of a trained network, whatever the width that is asked for.
    """
    wide = build_network("vnet", arguments).state_dict()
    for key, small in tensors.items():
        large = wide[key]
        if large.dim():
            large.fill_(1 if key.endswith("running_var") else NEVER if key.endswith("heads.main.bias") else 0)
            large[tuple(slice(min(a, b)) for a, b in zip(small.shape, large.shape, strict=True))] = small[
                tuple(slice(n) for n in large.shape)
            ]
    return wide


def phantom() -> np.ndarray:
    """512×512×300 voxels of a phantom on the model's grid, HU."""
    return _resampled(make_phantom(1, shape=PHANTOM_SHAPE, spacing=PHANTOM_SPACING)[0])


def scan(path: Path) -> np.ndarray:
    """A CT on the model's grid, HU."""
    return _resampled(read_image(path))


def _resampled(image: Image) -> np.ndarray:
    plan = PreprocessingPlan.from_json(
        {**default_model().preprocessing, "spacing": [SPACING_MM] * 3, "body_threshold": None}, "benchmark"
    )
    return fitted(plan.resample(image, plan.placement(image)))


def fitted(raw: np.ndarray) -> np.ndarray:
    """A volume with air round it, of sides at which all programs place their windows alike: whole steps."""
    around = []
    for side, window in zip(raw.shape, WINDOW, strict=True):
        more = max(window, -(-side // (window // 2)) * (window // 2)) - side
        around.append((more // 2, more - more // 2))
    return np.pad(raw, around, constant_values=raw.min())


def image_of(raw: np.ndarray) -> Image:
    """The same as a scan."""
    return Image(raw, Geometry(raw.shape[::-1], (SPACING_MM,) * 3))


def network_of(task: Task, folder: Path) -> torch.nn.Module:
    """The network with its weights, as any program would be given it."""
    network = build_network("vnet", task.arguments).eval()
    stored = np.load(folder / "weights.npz")
    network.load_state_dict({key: torch.from_numpy(stored[key]) for key in stored.files})
    return network
