"""Small foreign folders for tests of imports: scans, organs on them, and the layouts they come in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from skcdf.geometry import Geometry
from skcdf.image import Image, read_label_map, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool
from skcdf.pool_import import ImportEntry, ImportOptions, ImportPlan

SHAPE = (6, 8, 12)
GRID = Geometry(SHAPE[::-1], (2.0, 1.5, 3.0), (-10.0, 20.0, 30.0))
LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney", "liver"])
TRUE_VALUES = ImportOptions(values_are_targets=True)


def scan(seed: int, geometry: Geometry = GRID) -> Image:
    voxels = np.random.default_rng(seed).integers(-1000, 1000, geometry.shape)
    return Image(voxels.astype(np.int16), geometry)


def organs(**values: int) -> np.ndarray:
    """Blocks on the grid: the right kidney to the patient's right, which is the lower x."""
    places = {"spleen": 8, "right_kidney": 1, "left_kidney": 10, "liver": 4}
    array = np.zeros(SHAPE, np.uint8)
    for name, value in values.items():
        array[1:4, 2:5, places[name] : places[name] + 2] = value
    return array


def write_pair(
    folder: Path, name: str, seed: int, array: np.ndarray | None, geometry: Geometry = GRID
) -> None:
    write_image(folder / "images" / f"{name}.nii.gz", scan(seed, geometry))
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    if array is not None:
        write_label_map(folder / "labels" / f"{name}.nii.gz", array, geometry)


def write_nnunet(folder: Path, labels: dict[str, int], cases: dict[str, np.ndarray]) -> Path:
    for seed, (name, array) in enumerate(cases.items()):
        write_image(folder / "imagesTr" / f"{name}_0000.nii.gz", scan(seed))
        write_label_map(folder / "labelsTr" / f"{name}.nii.gz", array, GRID)
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **labels}, "numTraining": len(cases)}
    (folder / "dataset.json").write_text(json.dumps(content | {"file_ending": ".nii.gz"}))
    return folder


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def entry_of(plan: ImportPlan, name: str) -> ImportEntry:
    (entry,) = (entry for entry in plan.entries if entry.source.name == name)
    return entry


def stored(pool: LabelledPool, name: str) -> np.ndarray:
    (case,) = (case for case in pool.dataset().cases if case.name == name)
    return read_label_map(case.label).array
