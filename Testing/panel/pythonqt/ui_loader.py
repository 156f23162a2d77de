"""``.ui`` files into widgets, as Slicer's ``QUiLoader`` does it, with the classes of CTK and Slicer stood in for."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import instances, signals


class _Factory(QtUiTools.QUiLoader):
    CPP = True

    def __init__(self, standIns: dict[str, type]) -> None:
        super().__init__()
        self._standIns = standIns
        self._unknown: list[str] = []
        self._kept: list[QtWidgets.QWidget] = []

    def createWidget(self, className: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> Any:
        """Called by Qt for each widget of the file."""
        if className in self._standIns:
            widget = self._standIns[className](parent)
            QtCore.QObject.setObjectName(widget, name)
        else:
            widget = QtUiTools.QUiLoader.createWidget(self, className, parent, name)
            if widget is None or QtCore.QObject.metaObject(widget).className() != className:
                if className != "Line":  # Designer's name for a QFrame
                    self._unknown.append(className)
                widget = widget or QtWidgets.QWidget(parent)
        self._kept.append(widget)
        return widget


class UiLoader:
    """Stands for ``QUiLoader``. A class or connection that does not exist is an error here, a warning in Slicer."""

    standIns: dict[str, type] = {}

    def load(self, file: QtCore.QFile, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget | None:
        """Makes the widget of an open file.

        Raises:
            RuntimeError: it names a class, signal, slot or object that there is not.
        """
        tree = ElementTree.fromstring(QtCore.QIODevice.readAll(file).data())
        connections = tree.find("connections")
        if connections is not None:  # PySide cannot connect the signals of stand-ins by their C++ names
            tree.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        factory = _Factory(self.standIns)
        instances.loading.append(self)
        try:
            widget = QtUiTools.QUiLoader.load(factory, buffer, parent)
        finally:
            instances.loading.remove(self)
        if factory._unknown:
            raise RuntimeError(f"{file.fileName()}: no such classes: {', '.join(factory._unknown)}")
        for item in connections if connections is not None else ():
            _connect(widget, *(item.findtext(part, "") for part in ("sender", "signal", "receiver", "slot")))
        return widget


def _connect(root: QtWidgets.QWidget, sender: str, signal: str, receiver: str, slot: str) -> None:
    ends = {
        QtCore.QObject.objectName(item): item
        for item in (root, *QtCore.QObject.findChildren(root, QtCore.QObject))
    }
    for name in (sender, receiver):
        if name not in ends:
            raise RuntimeError(f"{signal} to {slot}: there is no object named {name}")
    if not signals.connect(ends[sender], signal, ends[receiver], slot):
        raise RuntimeError(f"{sender}: {signal} cannot be connected to {receiver}: {slot}")
