"""Starts, in plain Python, as much of the Slicer application as a scripted module's panel needs.

Real: MRML and its logics, slice, layout and selection nodes (slicer-core), ``slicer.util``, and Qt's widgets,
processes and settings (PySide6). Modelled: PythonQt's manners (`pythonqt`). Stood in for: the widgets of CTK and
Slicer, the application object, the main window, the module manager (`stand_ins`), and Python that slicer-core lacks
(`slicer_parts`).
"""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

from mrml_bootstrap import startSlicerCore

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "SKCDFSegmenter"
MORE_LOGICS = {
    "plots": "vtkSlicerPlotsLogic",
    "tables": "vtkSlicerTablesLogic",
    "markups": "vtkSlicerMarkupsLogic",
}
"""Of modules that panels use beside those of the tests of MRML."""


def startPanelApplication() -> Any:
    """Starts the application once a process, and returns the ``slicer`` module.

    Raises:
        ImportError: slicer-core or PySide6 is not installed.
    """
    import slicer

    if hasattr(getattr(slicer, "app", None), "moduleManager"):
        return slicer
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    home = Path(tempfile.mkdtemp(prefix="skcdf-panel-"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        os.environ[name] = str(home / name.lower())
    if not hasattr(slicer, "app"):
        startSlicerCore()

    import stand_ins
    from pythonqt import dialogs, module

    module.publish(stand_ins.WIDGETS)
    dialogs.install()
    for name, kind in stand_ins.WIDGETS.items():
        if name.startswith("q"):
            setattr(slicer, name, module.QtClass(kind))
    _startApplication(slicer, home)
    _publishParts(slicer)
    return slicer


def _startApplication(slicer: Any, home: Path) -> None:
    from PySide6 import QtCore
    from stand_ins.application import qSlicerApplication
    from stand_ins.layout_manager import qSlicerLayoutManager
    from stand_ins.main_window import qSlicerMainWindow

    core = slicer.app  # of the MRML bootstrap: keeps logics alive
    application = qSlicerApplication(["Slicer"])
    application.applicationName, application.organizationName = "Slicer", "skcdf-tests"
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    QtCore.QSettings.setPath(
        QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, str(home / "settings")
    )
    application._logic, application._core = core.applicationLogic(), core
    application.slicerHome = str(_makeHome(home))
    os.environ["PATH"] = os.pathsep.join([f"{application.slicerHome}/bin", os.environ.get("PATH", "")])
    application.temporaryPath = core.applicationLogic().GetTemporaryPath()
    application._layoutManager = qSlicerLayoutManager(core.applicationLogic(), application)
    slicer.app = application
    for name, className in MORE_LOGICS.items():
        if not hasattr(slicer.modules, name):
            setattr(slicer.modules, name, _startLogic(slicer, name, className))
    application._mainWindow = qSlicerMainWindow()


def _startLogic(slicer: Any, name: str, className: str) -> Any:
    logic = getattr(slicer, className)()
    logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    slicer.app.applicationLogic().SetModuleLogic(name.capitalize(), logic)
    logic.SetMRMLScene(slicer.mrmlScene)
    return types.SimpleNamespace(logic=lambda: logic)


def _makeHome(home: Path) -> Path:
    """A folder like Slicer's, whose PythonSlicer is a launcher: it starts this Python as a child of its own."""
    launcher = home / "Slicer" / "bin" / "PythonSlicer"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n', encoding="utf-8")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    return launcher.parents[1]


def _publishParts(slicer: Any) -> None:
    """Makes the submodules of `slicer` importable that slicer-core lacks."""
    from slicer_parts import parameter_node, parameter_types, scripted_module

    names = ("Default", "Minimum", "Maximum", "WithinRange", "Choice", "Decimals", "SingleStep")
    wrapper = {name: getattr(parameter_types, name) for name in names}
    for name in ("parameterNodeWrapper", "isParameterNodeWrapper", "SlicerParameterNamePropertyName"):
        wrapper[name] = getattr(parameter_node, name)
    bases = {
        name: kind for name, kind in vars(scripted_module).items() if name.startswith("ScriptedLoadable")
    }
    parts = {
        "i18n": {
            "tr": lambda text: text,
            "translate": lambda context, text: slicer.app.translate(context, text),
        },
        "parameterNodeWrapper": wrapper,
        "ScriptedLoadableModule": bases,
    }
    for name, members in parts.items():
        part = types.ModuleType(f"slicer.{name}")
        part.__dict__.update(members)
        sys.modules[part.__name__] = part
        setattr(slicer, name, part)


def enterScene(slicer: Any) -> None:
    """Empties the scene, and gives it the nodes that the application has in each: layout, views, selection."""
    leaveScene(slicer)
    slicer.app.applicationLogic().GetColorLogic().AddDefaultColorNodes()
    slicer.app.layoutManager()._enterScene(slicer.mrmlScene)


def leaveScene(slicer: Any) -> None:
    """Empties the scene of all nodes, as tests of MRML alone expect it, and takes away who still watches it."""
    from stand_ins import scene_watch

    slicer.app.layoutManager()._leaveScene()
    slicer.mrmlScene.Clear(1)
    scene_watch.endAll()


def loadModule(slicer: Any, path: Path) -> Any:
    """Finds a scripted module as Slicer does at its start, and returns its object; the widget is not made yet."""
    from stand_ins.module_manager import qSlicerScriptedLoadableModule

    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    python = importlib.util.module_from_spec(spec)
    sys.modules[name] = python
    spec.loader.exec_module(python)
    module = qSlicerScriptedLoadableModule(str(path))
    module.name = name
    setattr(slicer.modules, name.lower(), module)
    slicer.app.moduleManager()._modules[name] = module
    module._python = getattr(python, name)(module)
    return module


def unloadModule(slicer: Any, module: Any) -> None:
    """Takes a module away, as quitting does."""
    from PySide6 import QtCore

    name = module.name
    if module._widget is not None:
        module._widget.exit()
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(name)
        module._widget.setParent(None)
        module._widget.deleteLater()
    slicer.app.moduleManager()._modules.pop(name, None)
    for attribute in (name.lower(), f"{name}Widget"):
        if hasattr(slicer.modules, attribute):
            delattr(slicer.modules, attribute)
    slicer.app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
