"""The whole panel, with real children, where something is missing: sentences instead of tracebacks, up to Train.

`docs/installation.md` tells what else was tried by hand.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")

import user
from teaching import loadToyCase

PATIENCE_S = 60
ORGANS = ("spleen", "right_kidney", "left_kidney")


@pytest.fixture
def torch(tmp_path, monkeypatch):
    """The file of another PyTorch, which is what the children import."""
    file = tmp_path / "site" / "torch" / "__init__.py"
    file.parent.mkdir(parents=True)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    )
    return file


def openProject(panel: Any, folder: Path) -> None:
    """A project with a case to train on, as somebody else has made it."""
    from skcdf.labels import LabelSet

    panel.workspace.createProject(folder, LabelSet.from_names("toy", ORGANS), "CT", "Toys", synthetic=True)
    user.pump(seconds=0.1)


def words(panel: Any) -> str:
    """All that stands on the panel."""
    from PySide6.QtWidgets import QLabel

    return "\n".join(str(label.text) for label in panel.widget.findChildren(QLabel) if label.isVisible())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("raise ImportError('libcudart.so.12: cannot open shared object file')", "libcudart.so.12"),
        ("import os; os.abort()", "Aborted"),
        ("import ctypes; ctypes.string_at(0)", "Segmentation fault"),
    ],
    ids=["library", "aborts", "crashes"],
)
def test_a_pytorch_that_does_not_work_is_a_sentence_up_to_train(torch, module, tmp_path, program, told):
    torch.write_text(program)
    panel = module.panel
    assert user.pump(lambda: panel.workspace.readiness is not None, PATIENCE_S)
    head, segment, training = panel.project.ui, panel.segment.ui, panel.teach.training.ui
    assert "is installed but does not work" in head.setUpLabel.text
    assert told in head.findingsLabel.text and head.repairButton.isVisible()
    panel.segment.parameterNode.inputVolume, _segmentation = loadToyCase(1)
    user.pump(seconds=0.1)
    assert not segment.segmentButton.enabled and "PyTorch is needed" in segment.statusLabel.text
    openProject(panel, tmp_path / "project")
    user.click(training.trainButton)
    assert "Needed first: PyTorch." in training.statusLabel.text
    assert "Traceback" not in words(panel) and "File " not in words(panel)


@pytest.mark.slow
def test_a_worker_that_the_system_kills_costs_no_case_that_it_had_not_begun(torch, module, tmp_path):
    torch.write_text("raise ImportError('not there')")  # a pool needs none, and the worker is there at once
    panel = module.panel
    openProject(panel, tmp_path / "project")
    panel.segment.parameterNode.inputVolume, panel.segment.parameterNode.outputSegmentation = loadToyCase(3)
    user.pump(seconds=0.2)
    cases, worker = panel.teach.cases.ui, panel.workspace.worker
    user.click(cases.checkAllButton)
    user.write(cases.subjectEdit, "nobody")
    user.click(cases.addButton)
    assert user.pump(lambda: cases.progressBar.isHidden() and worker.hello, PATIENCE_S)
    assert cases.previewLabel.text.startswith("Nothing is stored yet.")
    os.kill(worker.hello["pid"], signal.SIGSTOP)  # it gets the request, and does not come to it
    user.click(cases.addButton)
    os.kill(worker.hello["pid"], signal.SIGKILL)
    assert user.pump(lambda: cases.progressBar.isHidden(), PATIENCE_S)
    assert "Added as case_001." in cases.statusLabel.text, cases.statusLabel.text
    assert panel.workspace.project.counts().labelled == 1
    pool = Path(panel.workspace.project.pool_folder)
    assert not any((pool / "incoming").glob("*")) and "Traceback" not in words(panel)
