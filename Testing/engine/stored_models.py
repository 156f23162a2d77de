"""A model as a training leaves it, for tests of the store, and what they do to a store and its files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import torch

import skcdf
from skcdf.labels import LabelSet
from skcdf.model_parts import Accuracy
from skcdf.model_store import ModelStore
from skcdf.models import Expectations, ModelBundle, NetworkDescription, TrainingRecord, save_bundle

WHOLE = (1.0, 1000.0)
BUNDLE = ModelBundle(
    name="run",
    version="2026.01.31",
    title="Toy",
    description="",
    network=NetworkDescription("vnet", {"filters": 2, "classes": 3}),
    channels=("CT",),
    patch_size=(32, 32, 32),
    label_set=LabelSet.from_names("toy", ["liver", "spleen"]),
    preprocessing={"kind": "physical_spacing"},
    expects=Expectations("CT", (-1000.0, 1000.0), (WHOLE, WHOLE, WHOLE), (WHOLE, WHOLE, WHOLE), "abdomen"),
    training=TrainingRecord(
        "skcdf", 9, 0, 1, 0, "toys", "2026-01-31", "0.1.0", True, image_hashes=("a" * 64,)
    ),
    licence="Apache-2.0",
    metrics=(Accuracy("liver", "dice", 0.5, None, 1, "toys"),),
)
FACTS = {"parent": None, "data_hash": "d" * 64, "config": {}}


def save_run(folder: Path, seed: int) -> Path:
    weights = {"w": torch.randn(4096, generator=torch.Generator().manual_seed(seed))}
    save_bundle(folder, BUNDLE, weights)
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def states_of(store: ModelStore, name: str = "liver") -> dict[str, str]:
    return {each.version: each.state for each in store.versions(name)}


def age(path: Path, seconds: float = 7200.0) -> None:
    for each in (*path.rglob("*"), path):
        os.utime(each, (time.time() - seconds,) * 2)


def change_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


CHILD = """
import sys
from skcdf.errors import SkcdfError
from skcdf.model_store import ModelStore
FACTS = {"parent": None, "data_hash": "d", "config": {"long": list(range(200))}}
"""


def start_child(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parent.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
