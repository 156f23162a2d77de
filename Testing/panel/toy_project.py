"""Makes a project that trains within seconds: toy scans, and a model in use that knows their organs.

A program of its own, since it needs torch, which has no place in the process of the application.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def makeToyProject(folder: Path, labelled: int = 2, validation: int = 3, unlabelled: int = 2) -> Path:
    """A project ``Toys`` with model ``v1`` in use, made by a child process."""
    counts = map(str, (labelled, validation, unlabelled))
    subprocess.run([sys.executable, __file__, str(folder), *counts], check=True)
    return folder


def _make(folder: Path, labelled: int, validation: int, unlabelled: int) -> None:
    from toy_fine_tuning import LABELS, knowing_network, toy_bundle, written_case

    from skcdf.image import read_image, read_label_map
    from skcdf.image_hash import voxel_hash
    from skcdf.models import save_bundle
    from skcdf.project import Project

    project = Project.create(folder, LABELS, "CT", "Toys", synthetic=True)
    pool, kinds = project.pool(), ["training"] * labelled + ["validation"] * validation + [None] * unlabelled
    with tempfile.TemporaryDirectory() as scratch:
        first = written_case(Path(scratch), 100)
        bundle = toy_bundle((voxel_hash(read_image(first.image)),))
        model = save_bundle(Path(scratch) / "model", bundle, knowing_network().state_dict())
        version = project.store().add(project.line(), model.folder, parent=None, data_hash="", config={})
        project.store().promote(project.line(), version.version)
        for seed, split in enumerate(kinds):
            case = written_case(Path(scratch), seed)
            label = None if split is None else read_label_map(case.label)
            pool.add_case(
                f"case_{seed + 1:03d}", read_image(case.image), label, subject=case.subject, split=split
            )


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / name) for name in ("Testing/engine", "engine")]
    _make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
