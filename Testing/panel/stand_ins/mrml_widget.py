"""``qMRMLWidget`` and its kin: widgets that hand the scene on."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QWidget


class qMRMLWidget(QWidget):
    """A widget with a scene."""

    CPP = True
    _sceneChanged = Signal(object)
    CPP_SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "_sceneChanged"}

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Sets the scene and tells those who listen."""
        if scene is not self._scene:
            self._scene = scene
            self._sceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    """The widget of a module."""

    CPP = True


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """What Slicer gives a scripted module's widget as its parent."""

    CPP = True

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._python: Any = None
        self._module: Any = None
        self._entered = False

    isEntered = Property(bool, lambda self: self._entered)

    def self(self) -> Any:
        """The Python widget."""
        return self._python

    def reload(self) -> None:
        """Makes the Python widget anew, after its module was."""
        self._module._makePython()
        if self._entered:
            self._python.enter()

    def enter(self) -> None:
        """The user comes to the module."""
        if not self._entered:
            self._entered = True
            self._python.enter()

    def exit(self) -> None:
        """The user leaves it."""
        if self._entered:
            self._entered = False
            self._python.exit()
