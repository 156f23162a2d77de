"""The main window with the module selector: modules are entered and left as the user chooses them."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6.QtCore import Property, QObject, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QMainWindow, QScrollArea


class qSlicerModuleSelectorToolBar(QObject):
    """Chooses the module that is shown."""

    CPP = True
    moduleSelected = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._selected = ""

    selectedModule = Property(str, lambda self: self._selected)

    def selectModule(self, name: str) -> None:
        """Leaves the shown module and enters another one; names without a module of the test stand
        for Slicer's own."""
        manager = slicer.app.moduleManager()
        old, new = manager.module(self._selected), manager.module(name)
        self._selected = name
        if old is not None and old is not new:
            old.widgetRepresentation().exit()
        if new is not None:
            self.parent()._show(new.widgetRepresentation())
            new.widgetRepresentation().enter()
        self.moduleSelected.emit(name)


class qSlicerMainWindow(QMainWindow):
    """Holds the panel of the chosen module."""

    CPP = True

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar(self)
        self._area = QScrollArea(self)
        self._area.setWidgetResizable(True)
        self.setCentralWidget(self._area)
        self.resize(520, 900)

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        """The module selector."""
        return self._selector

    def closeEvent(self, event: QCloseEvent) -> None:
        """Leaves the shown module after Slicer's own question; filters come first."""
        if self._confirmClose():
            self._selector.selectModule("")
            event.accept()
        else:
            event.ignore()

    def _confirmClose(self) -> bool:
        """What the user answers to *Save*, *Exit* or *Cancel*, which Slicer asks where data are unsaved."""
        return True

    def _show(self, widget: Any) -> None:
        if self._area.widget() is not widget:
            if self._area.widget() is not None:
                self._area.takeWidget()
            self._area.setWidget(widget)
        widget.setVisible(True)
