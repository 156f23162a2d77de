"""What the killed and competing processes of test_pool_processes.py do: ``pool_worker.py POOL KIND PREFIX COUNT``.

Says the name of every case whose change has returned, one a line.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np

from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.pool import LabelledPool

GEOMETRY = Geometry((12, 11, 10), (1.0, 1.0, 2.0), (-10.0, 20.0, 30.0))


def scan(seed: int) -> Image:
    voxels = np.random.default_rng(seed).integers(-1000, 1000, GEOMETRY.shape)
    return Image(voxels.astype(np.int16), GEOMETRY)


def label_map(seed: int) -> Image:
    voxels = np.zeros(GEOMETRY.shape, np.uint8)
    voxels[2:5, 2:5, 1:4], voxels[2:5, 2:5, 8:11] = 2, 3
    voxels[7, seed % 11, (seed // 11) % 12] = 1
    voxels[8, (seed // 132) % 11, 5] = 1
    return Image(voxels, GEOMETRY)


def seed_of(prefix: str, index: int) -> int:
    return zlib.crc32(f"{prefix}{index}".encode())


def add(pool: LabelledPool, prefix: str, index: int) -> str:
    """Every third case is unlabelled, every second labelled one partly annotated."""
    seed, name = seed_of(prefix, index), f"{prefix}{index}"
    label = None if index % 3 == 2 else label_map(seed)
    annotated = None if label is None or index % 2 else ("spleen", "right_kidney", "left_kidney")
    pool.add_case(name, scan(seed), label, subject=name, annotated=annotated)
    return name


def revise(pool: LabelledPool, prefix: str, index: int) -> str:
    """Corrects the pool's cases one after the other, unlabelled ones included."""
    records = pool.records()
    record = records[index % len(records)]
    pool.revise(record.name, label_map(seed_of(prefix, index)), model="toy v1")
    return record.name


if __name__ == "__main__":
    pool, (kind, prefix) = LabelledPool.open(Path(sys.argv[1])), sys.argv[2:4]
    for index in range(int(sys.argv[4])):
        print({"add": add, "revise": revise}[kind](pool, prefix, index), index, flush=True)
