"""Makes a project that trains within seconds: toy scans, and a model in use that knows their organs.

A program of its own, since it needs torch, which has no place in the process of the application.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def makeToyProject(
    folder: Path, labelled: int = 2, validation: int = 3, unlabelled: int = 2, perfect: bool = False
) -> Path:
    """A project ``Toys`` with model ``v1`` in use, made by a child process.

    Args:
        folder: of the project.
        labelled, validation, unlabelled: how many cases there are of each kind.
        perfect: the model finds every organ, so that no training makes it better; else it finds a little of one.
    """
    counts = map(str, (labelled, validation, unlabelled, int(perfect)))
    subprocess.run([sys.executable, __file__, "make", str(folder), *counts], check=True)
    return folder


def stopToyTraining(folder: Path, steps: int = 2) -> Path:
    """A training of the project's model that was stopped after its first step, by a child process; its run's folder.

    Args:
        folder: of the project.
        steps: how many it would have done in all.
    """
    subprocess.run([sys.executable, __file__, "stop", str(folder), str(steps)], check=True)
    return folder / "runs" / "2026-11-26_1"


def _make(folder: Path, labelled: int, validation: int, unlabelled: int, perfect: int) -> None:
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
        network = knowing_network(shy=not perfect)
        model = save_bundle(Path(scratch) / "model", bundle, network.state_dict())
        version = project.store().add(project.line(), model.folder, parent=None, data_hash="", config={})
        project.store().promote(project.line(), version.version)
        for seed, split in enumerate(kinds):
            case = written_case(Path(scratch), seed)
            label = None if split is None else read_label_map(case.label)
            pool.add_case(
                f"case_{seed + 1:03d}", read_image(case.image), label, subject=case.subject, split=split
            )


def _stop(folder: Path, steps: int) -> None:
    from toy_fine_tuning import stop_at

    from skcdf.errors import Cancelled
    from skcdf.fine_tuning import FineTuneRequest, fine_tune

    request = FineTuneRequest(
        folder / "pool",
        folder / "runs" / "2026-11-26_1",
        "Toys@v1",
        folder / "models",
        "Toys",
        "supervised",
        "quick",
        {"iterations": steps, "validations": 1},
        time_budget_s=3600.0,
        device="cpu",
    )
    with contextlib.suppress(Cancelled):
        fine_tune(request, **stop_at("train"))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / name) for name in ("Testing/engine", "engine")]
    {"make": _make, "stop": _stop}[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:]))
