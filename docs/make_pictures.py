"""Makes ``docs/pictures/slicer_views.png``: a phantom and its organs in Slicer's slice view and 3-D view.

    python docs/make_pictures.py [PICTURE]

The nodes are made by the module's own logic and drawn by Slicer's own displayable managers, off-screen, from
the ``slicer-core`` wheel; no application and no screen is needed. See ``docs/pictures/README.md``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Testing" / "mrml"), str(ROOT / "SKCDFSegmenter"), str(ROOT / "engine")]

PICTURE = ROOT / "docs" / "pictures" / "slicer_views.png"
SEED = 7
# The phantom's grid, (z, y, x), in voxels and mm: fine, so that the slice looks like a CT.
SHAPE = (160, 256, 256)
SPACING = (1.5, 1.5, 1.5)
SLICE_SIZE = (800, 640)  # pixels
THREE_D_SIZE = (640, 640)
BACKGROUND = (0.05, 0.07, 0.10)
BONE_HU = 320
BONE_COLOR = (0.90, 0.87, 0.78)
SLICE_MANAGERS = ("vtkMRMLModelSliceDisplayableManager", "vtkMRMLSegmentationsDisplayableManager2D")
THREE_D_MANAGERS = ("vtkMRMLModelDisplayableManager", "vtkMRMLSegmentationsDisplayableManager3D")


NEEDS_DRIVER = (
    "error: this machine cannot draw off-screen.\n"
    "hint: On Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri"
)
DRAW_NOTHING = "import vtk; window = vtk.vtkRenderWindow(); window.SetOffScreenRendering(1); window.Render()"


def can_draw() -> bool:
    """Whether off-screen drawing works; tried in another process, since VTK crashes where it does not."""
    return subprocess.run([sys.executable, "-c", DRAW_NOTHING], capture_output=True).returncode == 0


def main(picture: Path = PICTURE) -> None:
    """Draws the picture, or ends the program with what to install."""
    if not can_draw():
        sys.exit(NEEDS_DRIVER)
    from mrml_bootstrap import startSlicerCore

    from skcdf.labels import LabelSet
    from skcdf.phantom import make_phantom

    slicer = startSlicerCore()
    scan, labels = make_phantom(SEED, shape=SHAPE, spacing=SPACING, cut_off_share=0.0)
    volume = add_volume(slicer, scan)
    add_segmentation(labels, LabelSet.load("phantom13"), volume)
    organs_per_slice = [len(np.unique(plane)) for plane in labels.array]
    height = scan.geometry.position([0, 0, int(np.argmax(organs_per_slice))])[2]
    draw_views(slicer, volume, height, picture)
    print(f"{picture}: drawn")


def add_volume(slicer: Any, scan: Any) -> Any:
    """The scan as a volume node with an abdominal CT window."""
    ijk_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ scan.geometry.affine
    volume = slicer.util.addVolumeFromArray(scan.array, ijkToRAS=ijk_to_ras, name="Phantom CT")
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(380, 60)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    return volume


def add_segmentation(labels: Any, label_set: Any, volume: Any) -> None:
    """The organs as the module puts them into the scene, with smooth surfaces."""
    from SKCDFSegmenterLib.LabelMapImport import segmentationFromLabelMap

    segmentation = segmentationFromLabelMap(labels, label_set, volume, "Organs").segmentationNode
    segmentation.GetSegmentation().SetConversionParameter("Smoothing factor", "0.5")
    segmentation.CreateClosedSurfaceRepresentation()
    display = segmentation.GetDisplayNode()
    display.SetPreferredDisplayRepresentationName2D("Closed surface")  # smooth outlines
    display.SetOpacity2DFill(0.5)
    display.SetSliceIntersectionThickness(3)


def draw_views(slicer: Any, volume: Any, height: float, picture: Path) -> None:
    """Draws the axial slice at a height in mm beside a 3-D view and writes both as one PNG."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    views = [draw_slice(slicer, volume, height), draw_3d(slicer, volume)]
    pixels = np.concatenate(views, axis=1)
    image = vtk.vtkImageData()
    image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(pixels.reshape(-1, 3), deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(os.fspath(picture))
    writer.SetCompressionLevel(9)
    writer.SetInputData(image)
    writer.Write()


def draw_slice(slicer: Any, volume: Any, offset: float) -> np.ndarray:
    """Pixels ``(y, x, rgb)``, from the bottom up, of the axial slice at a height in mm."""
    import vtk

    width, height = SLICE_SIZE
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    logic.SetMRMLScene(slicer.mrmlScene)
    node = logic.AddSliceNode("Red")
    node.SetOrientation("Axial")
    node.SetDimensions(width, height, 1)
    logics = vtk.vtkCollection()
    logics.AddItem(logic)
    slicer.app.applicationLogic().SetSliceLogics(logics)
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    logic.FitSliceToAll(width, height)
    field_of_view = np.array(node.GetFieldOfView()) * [
        0.79,
        0.79,
        1,
    ]  # the patient rather than the air beside
    node.SetFieldOfView(*field_of_view)
    node.SetSliceOffset(offset)

    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    window, renderer, _group = open_view(slicer, node, factory, SLICE_MANAGERS, SLICE_SIZE)
    scan = vtk.vtkImageActor()
    scan.GetMapper().SetInputConnection(logic.GetImageDataConnection())
    renderer.AddActor(scan)
    camera = renderer.GetActiveCamera()
    camera.ParallelProjectionOn()
    camera.SetFocalPoint(width / 2, height / 2, 0)
    camera.SetPosition(width / 2, height / 2, 1)
    camera.SetParallelScale(height / 2)
    renderer.ResetCameraClippingRange()
    return pixels_of(window)


def draw_3d(slicer: Any, volume: Any) -> np.ndarray:
    """Pixels ``(y, x, rgb)``, from the bottom up, of the organs before the bones, seen from the front."""
    import vtk

    add_bones(slicer, volume)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLViewNode")
    factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
    window, renderer, _group = open_view(slicer, node, factory, THREE_D_MANAGERS, THREE_D_SIZE)
    renderer.SetBackground(BACKGROUND)
    window.SetMultiSamples(8)
    lights = vtk.vtkLightKit()
    lights.SetKeyLightIntensity(0.95)
    lights.SetKeyToFillRatio(2.2)
    lights.AddLightsToRenderer(renderer)
    camera = renderer.GetActiveCamera()
    camera.SetFocalPoint(0, 0, 0)
    camera.SetPosition(-260, 900, 160)  # RAS: from the front, a little from the right and above
    camera.SetViewUp(0, 0, 1)
    renderer.ResetCamera()
    camera.Zoom(1.35)
    return pixels_of(window)


def add_bones(slicer: Any, volume: Any) -> None:
    """The bones of the scan as a model, for orientation."""
    import vtk

    smooth = vtk.vtkImageGaussianSmooth()
    smooth.SetInputData(volume.GetImageData())
    smooth.SetStandardDeviation(1.0)
    surface = vtk.vtkFlyingEdges3D()
    surface.SetInputConnection(smooth.GetOutputPort())
    surface.SetValue(0, BONE_HU)
    ijk_to_ras = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(ijk_to_ras)
    transform = vtk.vtkTransform()
    transform.SetMatrix(ijk_to_ras)
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetInputConnection(surface.GetOutputPort())
    placed.SetTransform(transform)
    placed.Update()
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "Bones")
    model.SetAndObservePolyData(placed.GetOutput())
    model.CreateDefaultDisplayNodes()
    model.GetDisplayNode().SetScalarVisibility(False)
    model.GetDisplayNode().SetColor(BONE_COLOR)


def open_view(
    slicer: Any, node: Any, factory: Any, managers: tuple[str, ...], size: tuple[int, int]
) -> tuple[Any, Any, Any]:
    """An off-screen window that shows a view node through Slicer's displayable managers."""
    import vtk

    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(size)
    renderer = vtk.vtkRenderer()
    window.AddRenderer(renderer)
    interactor = vtk.vtkGenericRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    window.SetInteractor(interactor)
    factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    for manager in managers:
        factory.RegisterDisplayableManager(manager)
    group = factory.InstantiateDisplayableManagers(renderer)
    group.SetMRMLDisplayableNode(node)
    return window, renderer, group


def pixels_of(window: Any) -> np.ndarray:
    """What the window shows: ``(y, x, rgb)``, bottom row first."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    width, height, _depth = grab.GetOutput().GetDimensions()
    return vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars()).reshape(height, width, 3).copy()


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
