"""Modules as the application knows them: the module's description, its widget, and who is loaded."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QVBoxLayout

from .kept import kept
from .mrml_widget import qSlicerScriptedLoadableModuleWidget


class qSlicerScriptedLoadableModule(QObject):
    """Holds what a scripted module says of itself, and makes its widget when somebody asks."""

    CPP = True

    def __init__(self, path: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {"path": path}
        self._python: Any = None
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None

    name = kept(str, "name", "")
    title = kept(str, "title", "")
    category = kept(str, "category", "")
    categories = kept("QStringList", "categories", [])
    contributors = kept("QStringList", "contributors", [])
    dependencies = kept("QStringList", "dependencies", [])
    associatedNodeTypes = kept("QStringList", "associatedNodeTypes", [])
    helpText = kept(str, "helpText", "")
    acknowledgementText = kept(str, "acknowledgementText", "")
    path = kept(str, "path", "")
    hidden = kept(bool, "hidden", False)
    index = kept(int, "index", -1)
    icon = kept(QIcon, "icon", QIcon())
    widgetRepresentationCreationEnabled = kept(bool, "widgetRepresentationCreationEnabled", True)

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """The module's widget, made and set up at the first call."""
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget()
            self._widget._module = self
            self._widget.setLayout(QVBoxLayout())
            self._widget.setMRMLScene(slicer.mrmlScene)
            self._makePython()
        return self._widget

    def _makePython(self) -> None:
        import sys

        kind = getattr(sys.modules[self.name], f"{self.name}Widget")
        python = kind(self._widget)
        self._widget._python = python
        setattr(slicer.modules, f"{self.name}Widget", python)
        python.setup()


class _Factory(QObject):
    CPP = True

    def loadedModuleNames(self) -> list[str]:
        """The names of the modules."""
        return list(self.parent()._modules)


class qSlicerModuleManager(QObject):
    """The modules that there are."""

    CPP = True
    moduleAboutToBeUnloaded = Signal(str)
    moduleLoaded = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._modules: dict[str, Any] = {}
        self._factory = _Factory(self)

    def factoryManager(self) -> _Factory:
        """Knows the names."""
        return self._factory

    def module(self, name: str) -> Any:
        """A module, or None."""
        return self._modules.get(name)
