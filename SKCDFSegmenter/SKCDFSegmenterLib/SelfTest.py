"""The module's self-test, for a running application: no network, and no torch but where it is installed.

*Reload and Test* in developer mode, ``ctest``, or in the Python console::

    slicer.selfTests["SKCDFSegmenter"]()
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from skcdf.image import Image
from skcdf.labels import LabelSet
from skcdf.phantom import make_phantom
from skcdf.project import Project

from .LabelMapExport import labelMapFromSegmentation
from .LabelMapImport import segmentationFromLabelMap
from .VolumeImage import RAS_TO_LPS, geometryOfVolume

MODULE = "SKCDFSegmenter"
PHANTOM = {"shape": (40, 56, 64), "spacing": (6.0, 6.0, 6.0)}


def runSelfTest(test: Any) -> None:
    """Runs every part.

    Args:
        test: the module's ``ScriptedLoadableModuleTest``; only its ``delayDisplay`` is used.

    Raises:
        AssertionError: something is not as it should be.
    """
    parts = (
        labelMapsGoToSegmentsAndBack,
        parametersSurviveSavingTheScene,
        projectsAreMadeAndOpened,
        thePanelOpensWithoutTorch,
        phantomIsSegmented,
    )
    for part in parts:
        slicer.mrmlScene.Clear()
        said = part()
        test.delayDisplay(f"{part.__name__}: {said or 'passed'}")


def labelMapsGoToSegmentsAndBack() -> None:
    """A label map becomes named segments and comes back unchanged, on an oblique grid."""
    ijkToRAS = np.array([[-0.8, -0.6, 0, 9], [-0.6, 0.8, 0, -5], [0, 0, 2.5, 3], [0, 0, 0, 1]])
    volume = slicer.util.addVolumeFromArray(np.zeros((6, 8, 10), np.int16), ijkToRAS=ijkToRAS)
    labels = np.zeros((6, 8, 10), np.uint8)
    labels[1:3, 2:5, 3:7], labels[4, 1:4, 1:9] = 1, 4
    labelSet = LabelSet.load("phantom13")
    imported = segmentationFromLabelMap(Image(labels, geometryOfVolume(volume)), labelSet, volume, "Test")
    exported = labelMapFromSegmentation(imported.segmentationNode, labelSet, volume)
    assert exported.annotated == (labelSet.names[0], labelSet.names[3])
    np.testing.assert_array_equal(exported.image.array, labels)


def parametersSurviveSavingTheScene() -> None:
    """What the panel shows is in a saved scene."""
    logic = _logic()
    parameters = logic.getParameterNode()
    parameters.inputVolume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="Kept")
    parameters.preset, parameters.organs, parameters.overlap = "quick", ["liver", "spleen"], 0.25
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "scene.mrb")
        assert slicer.util.saveScene(path)
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(path)
        parameters = logic.getParameterNode()
        assert parameters.inputVolume.GetName() == "Kept"
        assert (parameters.preset, parameters.overlap) == ("quick", 0.25)
        assert list(parameters.organs) == ["liver", "spleen"]


def projectsAreMadeAndOpened() -> None:
    """A project folder holds an empty pool after it was made."""
    with tempfile.TemporaryDirectory() as folder:
        made = Project.create(Path(folder) / "project", LabelSet.load("phantom13"), "CT")
        assert Project.open(made.root).counts().labelled == 0


def thePanelOpensWithoutTorch() -> str | None:
    """The panel shows its sections, and the application's process has not imported torch for it."""
    import sys

    if slicer.util.mainWindow() is None:
        return "skipped: there is no main window"
    hadTorch = "torch" in sys.modules  # another module may have
    slicer.util.selectModule(MODULE)
    panel = slicer.modules.SKCDFSegmenterWidget.panel
    assert not panel.segment.ui.segmentButton.enabled, "there is no volume to segment"
    volume = addPhantom()
    panel.segment.ui.inputSelector.setCurrentNode(volume)
    assert panel.segment.parameterNode.inputVolume is not None
    assert hadTorch or "torch" not in sys.modules
    return None


def phantomIsSegmented() -> str | None:
    """With torch: one call segments a phantom; most organs are found, and the left kidney on the left."""
    logic = _logic()
    readiness = logic.workspace.installation.wait()
    if not readiness.ready:
        return "skipped: PyTorch is not installed"
    segmentation = logic.process(addPhantom(), model="phantom13")
    names = segmentation.GetSegmentation().GetSegmentIDs()
    assert len(names) > len(LabelSet.load("phantom13").labels) / 2, names
    left, right = (segmentation.GetSegmentCenterRAS(name)[0] for name in ("left_kidney", "right_kidney"))
    assert left < right, "in RAS the first axis points to the right"
    return None


def addPhantom() -> slicer.vtkMRMLScalarVolumeNode:
    """A small phantom as a volume."""
    scan, _labels = make_phantom(1, **PHANTOM)
    return slicer.util.addVolumeFromArray(
        scan.array, ijkToRAS=RAS_TO_LPS @ scan.geometry.affine, name="Phantom"
    )


def _logic() -> Any:
    """The module's logic, as the panel has it where there is one."""
    widget = getattr(slicer.modules, f"{MODULE}Widget", None)
    if widget is not None and getattr(widget, "logic", None) is not None:
        return widget.logic
    import SKCDFSegmenter

    return SKCDFSegmenter.SKCDFSegmenterLogic()
