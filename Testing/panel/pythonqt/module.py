"""The modules ``qt`` and ``ctk`` as scripts import them in Slicer."""

from __future__ import annotations

import sys
import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from . import instances
from .classes import QtClass
from .immortal import makeImmortal
from .ui_loader import UiLoader
from .value_types import QByteArray, QSignalBlocker

SOURCES = (QtCore, QtGui, QtWidgets)
NEWER_THAN_QT5 = {
    "QUtf8StringView", "QStringView", "QPermission", "QCameraPermission", "QMicrophonePermission",
    "QBluetoothPermission", "QCalendarPermission", "QContactsPermission", "QLocationPermission",
    "QStringConverter", "QStringEncoder", "QStringDecoder", "QEnterEvent", "QSinglePointEvent", "QPointerEvent",
    "QEventPoint", "QInputDevice", "QPointingDevice", "QPointingDeviceUniqueId", "QUndoStackPrivate",
    "QColorConstants", "QRhiWidget", "QAccessibilityHints", "QStyleHints",
}  # fmt: skip
"""Classes that a Slicer with Qt 5 lacks."""


class _Module(types.ModuleType):
    """Finds classes at first use, in PySide or among the stand-ins."""

    def __init__(self, name: str, sources: tuple[Any, ...], own: dict[str, Any]) -> None:
        super().__init__(name)
        self.__dict__.update(_sources=sources, **own)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("Q") and name not in NEWER_THAN_QT5:
            for source in self._sources:
                kind = getattr(source, name, None)
                if isinstance(kind, type):
                    self.__dict__[name] = QtClass(kind)
                    return self.__dict__[name]
        raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")


def publish(standIns: dict[str, type]) -> None:
    """Makes ``import qt`` and ``import ctk`` work in this process.

    Args:
        standIns: classes that stand in for widgets of CTK and Slicer, by their names; ``.ui`` files find them, too.
    """
    if "qt" in sys.modules:
        return
    makeImmortal()
    instances.install()
    ctk = {name: QtClass(kind) for name, kind in standIns.items() if name.startswith("ctk")}
    UiLoader.standIns.update(standIns)
    own = {"QUiLoader": UiLoader, "QByteArray": QByteArray, "QSignalBlocker": QSignalBlocker}
    sys.modules["qt"] = _Module("qt", SOURCES, own)
    sys.modules["ctk"] = _Module("ctk", (), ctk)
