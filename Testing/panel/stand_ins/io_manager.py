"""``slicer.app.coreIOManager()``: reads and writes the files that scripts ask for, by the real logics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from PySide6.QtCore import QObject, Signal


class qSlicerCoreIOManager(QObject):
    """Volumes, segmentations, transforms and scenes."""

    CPP = True
    newFileLoaded = Signal(str)

    def fileType(self, path: str) -> str:
        """What kind of file it is by its name."""
        name = Path(str(path)).name.lower()
        if name.endswith((".seg.nrrd", ".seg.nhdr", ".seg.vtm")):
            return "SegmentationFile"
        if name.endswith((".mrb", ".mrml")):
            return "SceneFile"
        return "TransformFile" if name.endswith((".tfm", ".h5")) else "VolumeFile"

    def loadNodes(
        self, fileType: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None
    ) -> bool:
        """Reads a file into the scene; whether it could be read."""
        path, scene = str(properties["fileName"]), slicer.mrmlScene
        name = properties.get("name") or (
            slicer.app.applicationLogic().GetTemporaryPath() and Path(path).name.split(".")[0]
        )
        if fileType == "SceneFile":
            scene.SetURL(path)
            return bool(slicer.modules.volumes and self._loadScene(path))
        if fileType == "VolumeFile":
            logic = slicer.modules.volumes.logic()
            node = logic.AddArchetypeVolume(path, name, 1 if properties.get("labelmap") else 0)
            if node is not None and properties.get("show", True) and not properties.get("labelmap"):
                slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(node.GetID())
                slicer.app.applicationLogic().PropagateVolumeSelection(1)
        elif fileType == "SegmentationFile":
            node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)
        elif fileType == "TransformFile":
            node = slicer.modules.transforms.logic().AddTransform(path, scene)
        else:
            return False
        if node is not None and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def _loadScene(self, path: str) -> bool:
        if path.lower().endswith(".mrb"):
            return bool(slicer.mrmlScene.ReadFromMRB(path, False))
        return bool(slicer.mrmlScene.Connect())

    def fileWriterFileType(self, node: Any, path: str = "") -> str:
        """What kind of file a node is saved as."""
        return "SegmentationFile" if node.IsA("vtkMRMLSegmentationNode") else "VolumeFile"

    def saveNodes(self, fileType: str, properties: dict[str, Any], messages: Any = None) -> bool:
        """Writes a node, or the scene; whether it could be written."""
        path = str(properties["fileName"])
        if fileType == "SceneFile":
            return bool(slicer.mrmlScene.WriteToMRB(path))
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))
