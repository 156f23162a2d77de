"""A worker where PyTorch is missing or broken: it lives, does what it can, and says what to do for the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import skcdf
from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import write_label_map
from skcdf.labels import LabelSet
from skcdf.worker_client import WorkerClient

PATIENCE_S = 60.0
LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
BROKEN = {
    "missing": 'raise ModuleNotFoundError("No module named \'torch\'", name="torch")',
    "a library of it missing": 'raise OSError("libtorch_cpu.so: cannot open shared object file")',
    "half installed": "",
    "for another Python": 'raise ImportError("Python version mismatch")',
    "unforeseen": 'raise RuntimeError("operator torchvision::nms does not exist")',
}
"""What a folder called torch does when it is imported."""


SLOW = {"half installed", "for another Python", "unforeseen"}


@pytest.fixture(params=[pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW)) for each in BROKEN])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WorkerClient]:
    (tmp_path / "site" / "torch").mkdir(parents=True)
    (tmp_path / "site" / "torch" / "__init__.py").write_text(BROKEN[request.param], encoding="utf-8")
    path = os.pathsep.join([str(tmp_path / "site"), str(Path(skcdf.__file__).parents[1])])
    command = [sys.executable, "-m", "skcdf", "worker"]
    with WorkerClient(command, environment={**os.environ, "PYTHONPATH": path}) as client:
        yield client


def test_it_lives_and_does_what_needs_no_torch(worker, tmp_path):
    assert (worker.hello["torch"], worker.hello["device"], worker.hello["threads"]) == (None, None, None)
    assert worker.hello["missing"]
    with pytest.raises(SkcdfError, match="needs PyTorch") as caught:
        worker.result(worker.request("segment", image="a.nii", output="b.nii"), timeout_s=PATIENCE_S)
    assert "Install PyTorch" in caught.value.hint and worker.hello["missing"] in caught.value.message
    truth = np.ones((5, 5, 5), np.uint8)
    write_label_map(tmp_path / "labels.nrrd", truth, Geometry((5, 5, 5), (1.0, 1.0, 1.0)))
    LABELS.save(tmp_path / "labels.json")
    file = str(tmp_path / "labels.nrrd")
    fields = {"prediction": file, "reference": file, "labels": str(tmp_path / "labels.json")}
    scores = worker.result(worker.request("evaluate", **fields), timeout_s=PATIENCE_S)["scores"]
    assert [score["dice"] for score in scores] == [1.0, None, None]
    assert worker.result(worker.request("release"), timeout_s=PATIENCE_S)["freed"] is False
    assert worker.result(worker.request("ping"), timeout_s=PATIENCE_S)["model"] is None
    for request in ("check", "rank", "compare"):
        fields = {"check": {"image": "a"}, "rank": {"pool": "p"}, "compare": {"pool": "p", "after": "m"}}
        with pytest.raises(SkcdfError, match="needs PyTorch"):
            worker.result(worker.request(request, **fields[request]), timeout_s=PATIENCE_S)


def test_why_is_in_its_log_and_it_shuts_down_as_always(worker):
    worker.result(worker.request("release"), timeout_s=PATIENCE_S)
    logs = [event for event in worker.general_events if event["event"] == "log"]
    assert any(
        "PyTorch cannot be imported" in log["message"] and "Traceback" in log["message"] for log in logs
    )
    worker.result(worker.request("shutdown"), timeout_s=PATIENCE_S)
