"""``slicer.ScriptedLoadableModule``: the four base classes of a scripted module."""

from __future__ import annotations

import importlib
import os
import unittest
from typing import Any

import qt
import slicer


class ScriptedLoadableModule:
    """Describes a module to the application."""

    def __init__(self, parent: Any) -> None:
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        slicer.selfTests = {**getattr(slicer, "selfTests", {}), self.moduleName: self.runTest}
        for extension in (".svg", ".png"):
            icon = self.resourcePath(f"Icons/{self.moduleName}{extension}")
            if os.path.isfile(icon):
                parent.icon = qt.QIcon(icon)
                break

    def resourcePath(self, filename: str) -> str:
        """A file of the module's Resources."""
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def runTest(self, msec: int = 100, **options: Any) -> None:
        """Runs the module's test class."""
        module = importlib.import_module(type(self).__module__)
        test = getattr(module, f"{self.moduleName}Test")()
        test.messageDelay = msec
        test.runTest(**options)


class ScriptedLoadableModuleWidget:
    """The panel of a module."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, slicer.util.toBool)
        self.parent = parent
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect(
            "moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded
        )

    def resourcePath(self, filename: str) -> str:
        """A file of the module's Resources."""
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def cleanup(self) -> None:
        """Called before the module goes."""

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect(
                "moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded
            )

    def setupDeveloperSection(self) -> None:
        """Adds Reload and Test in developer mode; a row of its own here."""
        if self.developerMode:
            self.reloadButton = qt.QPushButton("Reload")
            self.reloadButton.connect("clicked()", self.onReload)
            self.layout.addWidget(self.reloadButton)

    def setup(self) -> None:
        """Called at the first opening."""
        self.setupDeveloperSection()

    def onReload(self) -> None:
        """What *Reload* does."""
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    """The work of a module."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The scene's script node of the module, made where there is none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                if node.GetAttribute("ModuleName") != self.moduleName:  # lost when the scene was closed
                    node.SetAttribute("ModuleName", self.moduleName)
                return node
        found = [] if self.isSingletonParameterNode else self.getAllParameterNodes()
        return found[0] if found else slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list[Any]:
        """All script nodes of the module."""
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        """Makes a script node, not yet in the scene."""
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The self-test of a module."""

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Shows a message for a while; no while here."""
        slicer.util.delayDisplay(message, 0)

    def runTest(self) -> None:
        """Runs the tests."""
