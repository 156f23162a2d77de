"""Slice view and 3-D view show a run's result at once, and what was there before when it is taken back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import make_pictures
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: a broken driver ends the process, not the tests.
PROGRAM = """
import sys
import numpy as np
import make_pictures, placed, scans, vtk
from mrml_bootstrap import startSlicerCore
from SKCDFSegmenterLib.Snapshot import restorePrevious

slicer = startSlicerCore()
volume = slicer.util.addVolumeFromArray(
    np.zeros(scans.SHAPE, np.int16), ijkToRAS=np.diag([-3.0, -3.0, 3.0, 1.0]), name="CT"
)
segmentation = placed.place(volume).segmentationNode
if sys.argv[1] == "surfaces":
    segmentation.CreateClosedSurfaceRepresentation()

logic = slicer.vtkMRMLSliceLogic()
logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
logic.SetMRMLScene(slicer.mrmlScene)
sliceNode = logic.AddSliceNode("Red")
sliceNode.SetOrientation("Axial")
sliceNode.SetDimensions(200, 200, 1)
logics = vtk.vtkCollection()
logics.AddItem(logic)
slicer.app.applicationLogic().SetSliceLogics(logics)
logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
logic.FitSliceToAll(200, 200)
sliceNode.SetSliceOffset(9)
factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
flat, flatRenderer, keepFlat = make_pictures.open_view(
    slicer, sliceNode, factory, make_pictures.SLICE_MANAGERS, (200, 200)
)
camera = flatRenderer.GetActiveCamera()
camera.ParallelProjectionOn()
camera.SetFocalPoint(100, 100, 0)
camera.SetPosition(100, 100, 1)
camera.SetParallelScale(100)
flatRenderer.ResetCameraClippingRange()
viewNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLViewNode")
factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
solid, solidRenderer, keepSolid = make_pictures.open_view(
    slicer, viewNode, factory, make_pictures.THREE_D_MANAGERS, (200, 200)
)
solidRenderer.ResetCamera()

def shown(window):
    return make_pictures.pixels_of(window)

before = [shown(flat), shown(solid)]
new = placed.array(
    spleen=((1, 6), (2, 6), (3, 12)), esophagus=((2, 7), (9, 13), (6, 15)), liver=((6, 9), (0, 8), (0, 5))
)
placed.place(volume, new, placed.SECOND, segmentationNode=segmentation)
after = [shown(flat), shown(solid)]
restorePrevious(segmentation)
restored = [shown(flat), shown(solid)]
for name, one, two, three in zip(("slice", "3-D"), before, after, restored):
    print(name, *(int(pixels.any(axis=-1).sum()) for pixels in (one, one != two, one != three)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["surfaces", "label maps only"])
def test_views_follow_a_run_and_its_undoing(kind):
    if not make_pictures.can_draw():
        pytest.skip(make_pictures.NEEDS_DRIVER)
    folders = ("Testing/mrml", "SKCDFSegmenter", "engine", "docs")
    path = os.pathsep.join(str(ROOT / folder) for folder in folders)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(maxsplit=3) for line in done.stdout.splitlines() if line[:3] in ("sli", "3-D")]
    for name, drawn, changed, different in lines:
        if name == "slice" or kind == "surfaces":
            assert int(drawn) > 1000 and int(changed) > 1000, (name, drawn, changed)
        assert int(different) == 0, (name, different)
    assert len(lines) == 2
