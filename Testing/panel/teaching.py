"""The section Teach on its own, with everything behind it: a workspace with real children, and parameters."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

ROOT = Path(__file__).resolve().parents[2]
UI = ROOT / "SKCDFSegmenter" / "Resources" / "UI"


@dataclass
class FolderDialogs:
    """Answers for folders that are asked for, and what was asked."""

    folders: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)

    def chooseFolder(self, title: str, start: Path | str = "") -> str:
        """The next folder; empty, as when the user cancels, where there is none."""
        self.asked.append(title)
        return self.folders.pop(0) if self.folders else ""

    def ask(self, title: str, text: str, buttons: Any) -> str:
        """The next button; the last one, as Escape does, where there is none."""
        self.asked.append(text)
        return self.buttons.pop(0) if self.buttons else buttons[-1]


@dataclass
class Teach:
    """The section in a window as wide as Slicer's module panel."""

    panel: Any
    window: Any
    workspace: Any
    parameters: Any
    dialogs: FolderDialogs

    def leave(self) -> None:
        """The user opens another module."""
        self.panel.exit()
        self._bind(None)

    def comeBack(self) -> None:
        """The user opens this module again."""
        self._bind(self.parameters)
        self.panel.enter()

    def _bind(self, parameters: Any) -> None:
        self.panel.setParameterNode(parameters)
        self.panel.parametersChanged()


@contextmanager
def startedWorkspace() -> Iterator[Any]:
    """A workspace whose worker may serve many tests, since starting one takes seconds; its children go in the end."""
    from SKCDFSegmenterLib.Panels.QtChildProcess import QtChildProcess
    from SKCDFSegmenterLib.Workspace import Workspace

    workspace = Workspace(QtChildProcess, slicer.app.slicerHome, slicer.app.temporaryPath)
    try:
        yield workspace
    finally:
        workspace.shutdown()


@contextmanager
def openedTeachPanel(workspace: Any, width: int = 400) -> Iterator[Teach]:
    """The section, ticked five times a second as in the panel; the project is closed in the end."""
    import qt

    from SKCDFSegmenter import SKCDFSegmenterParameterNode
    from SKCDFSegmenterLib.Panels.TeachPanel import TeachPanel

    dialogs = FolderDialogs()
    panel = TeachPanel(str(UI), workspace, dialogs)
    window = qt.QScrollArea()
    inside = qt.QWidget()
    layout = qt.QVBoxLayout(inside)
    layout.addWidget(panel.widget)
    layout.addStretch(1)
    window.setWidget(inside)
    window.setWidgetResizable(True)
    window.resize(width, 900)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    parameters = SKCDFSegmenterParameterNode(node)
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: panel.parametersChanged())
    panel.setParameterNode(parameters)
    panel.parametersChanged()
    panel.enter()
    timer = qt.QTimer(window)
    timer.setInterval(200)
    timer.connect("timeout()", workspace.tick)
    timer.start()
    window.show()
    slicer.app.processEvents()
    try:
        yield Teach(panel, window, workspace, parameters, dialogs)
    finally:
        timer.stop()
        panel.exit()
        panel.setParameterNode(None)
        panel.cleanup()
        workspace.training.shutdown()
        workspace.closeProject()
        window.close()


@pytest.fixture(scope="module")
def workspace(panelApplication: Any) -> Iterator[Any]:
    """One for all tests of a file."""
    with startedWorkspace() as workspace:
        yield workspace


@pytest.fixture
def teach(slicer: Any, workspace: Any) -> Iterator[Teach]:
    """The section, in an empty scene and without a project."""
    with openedTeachPanel(workspace) as teach:
        yield teach


@pytest.fixture(scope="module")
def toys(tmp_path_factory: Any) -> Path:
    """A project with a model in use."""
    from toy_project import makeToyProject

    return makeToyProject(tmp_path_factory.mktemp("toys") / "project")


@pytest.fixture(scope="module")
def trained(toys: Path, tmp_path_factory: Any) -> Path:
    """The same after a training on which nobody has decided, as after a night."""
    folder = shutil.copytree(toys, tmp_path_factory.mktemp("trained") / "project")
    finetune(folder, "--method", "supervised")
    return folder


def finetune(folder: Path, *arguments: str) -> None:
    """Two steps from the model in use, as the panel would begin them."""
    command = [sys.executable, "-m", "skcdf", "finetune", f"{folder}/pool", f"{folder}/runs/2026-11-26_1"]
    command += ["--store", f"{folder}/models", "--name", "Toys", "--model", "Toys@v1", "--device", "cpu"]
    command += ["--iterations", "2", "--validations", "1", "--stdin", "ignore", *arguments]
    subprocess.run(command, check=True, cwd=ROOT / "engine", capture_output=True)


@pytest.fixture
def opened(teach: Teach, tmp_path: Path) -> Callable[[Path], Path]:
    """Opens a copy of a project."""

    def opened(folder: Path) -> Path:
        copy = shutil.copytree(folder, tmp_path / "project")
        teach.workspace.openProject(copy)
        return copy

    return opened


@pytest.fixture
def picture(screenshot: Callable[..., Path], pump: Callable[..., bool]) -> Callable[[Any, str], Path]:
    """Draws a widget into ``name.png`` once its layouts have come to rest."""

    def take(widget: Any, name: str) -> Path:
        pump(seconds=0.3)
        return screenshot(widget, name)

    return take


def loadToyCase(seed: int, name: str = "Scan") -> tuple[Any, Any]:
    """A volume with three cubes, and a segmentation that holds them as the organs of the toy project."""
    from skcdf.image import Image
    from skcdf.labels import LabelSet
    from SKCDFSegmenterLib.LabelMapImport import segmentationFromLabelMap
    from SKCDFSegmenterLib.VolumeImage import geometryOfVolume

    organs = LabelSet.from_names("toy", ("spleen", "right_kidney", "left_kidney"))
    side, rng = 32, np.random.default_rng(1000 + seed)
    labels = np.zeros((side,) * 3, np.uint8)
    for value, x in ((1, 12), (2, 1), (3, 22)):
        z, y = rng.integers(2, side - 10, 2)
        labels[z : z + 8, y : y + 8, x : x + 8] = value
    scan = np.choose(labels, (-100, 100, 250, 320)) + rng.normal(0, 10, labels.shape)
    volume = slicer.util.addVolumeFromArray(
        scan.astype(np.int16), ijkToRAS=np.diag([-2.0, -2.0, 2.0, 1.0]), name=name
    )
    image = Image(labels, geometryOfVolume(volume))
    segmentation = segmentationFromLabelMap(image, organs, volume, name=f"{name} organs").segmentationNode
    return volume, segmentation
