"""Starts the real MRML of Slicer in plain Python, from the ``slicer-core`` wheel, with no application.

Real: scene, nodes, storage, segmentations, terminologies, subject hierarchy, displayable managers, the numpy
code of ``slicer.util``. Stood in for: ``slicer.modules.<name>.logic()``, ``slicer.app.applicationLogic()``.
"""

from __future__ import annotations

import tempfile
import types
from typing import Any

MODULE_LOGICS = {
    "colors": "vtkSlicerColorLogic",
    "terminologies": "vtkSlicerTerminologiesModuleLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "transforms": "vtkSlicerTransformLogic",
}


def startSlicerCore() -> Any:
    """Publishes a scene and the logics of the modules used here, and returns the ``slicer`` module.

    Raises:
        ImportError: slicer-core is not installed.
    """
    import slicer
    import slicer.util
    import vtk

    if getattr(slicer, "app", None) is not None:
        return slicer  # started already, perhaps with the application that the panel's tests need
    verbosity = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    # The wheel lacks terminology files and colour tables, and complains of it.
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    vtk.vtkOutputWindow.GetInstance().SetDisplayModeToNever()
    scene = slicer.vtkMRMLScene()
    applicationLogic = slicer.vtkSlicerApplicationLogic()
    applicationLogic.SetMRMLScene(scene)
    applicationLogic.SetTemporaryPath(tempfile.mkdtemp(prefix="skcdf-mrml-"))
    applicationLogic.GetColorLogic().SetMRMLScene(scene)
    applicationLogic.GetColorLogic().AddDefaultColorNodes()
    slicer.modules = types.SimpleNamespace()
    for name, className in MODULE_LOGICS.items():
        logic = getattr(slicer, className)()
        logic.SetMRMLApplicationLogic(applicationLogic)
        applicationLogic.SetModuleLogic(name.capitalize(), logic)
        logic.SetMRMLScene(scene)
        setattr(slicer.modules, name, types.SimpleNamespace(logic=lambda logic=logic: logic))
    remoteIO = slicer.vtkMRMLRemoteIOLogic()  # reading a scene bundle asks it for a folder to unpack in
    remoteIO.GetCacheManager().SetRemoteCacheDirectory(applicationLogic.GetTemporaryPath())
    dataIO = slicer.vtkDataIOManagerLogic()
    for logic in (remoteIO, dataIO):
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(applicationLogic)
    dataIO.SetAndObserveDataIOManager(remoteIO.GetDataIOManager())
    remoteIO.AddDataIOToScene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slicer.mrmlScene = scene
    slicer.app = types.SimpleNamespace(
        applicationLogic=lambda: applicationLogic, keepAlive=(remoteIO, dataIO)
    )
    vtk.vtkLogger.SetStderrVerbosity(verbosity)
    return slicer
