"""``slicer.app``: Qt's application object with what Slicer adds to it."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property, QEvent, QObject, QProcessEnvironment, QSettings, Signal
from PySide6.QtGui import Qt
from PySide6.QtWidgets import QApplication, QWidget

from .io_manager import qSlicerCoreIOManager
from .kept import kept
from .layout_manager import qSlicerLayoutManager
from .module_manager import qSlicerModuleManager

TOOL_TIP_CHANGE = QEvent.Type.ToolTipChange


class _ToolTipWrapper(QObject):
    """Makes each tool tip a paragraph so that it wraps, as CTK's filter does in Slicer."""

    CPP = True

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Called by Qt for all events."""
        # asked of the class, past PythonQt's manners: this is called a thousand times a test
        if QEvent.type(event) is TOOL_TIP_CHANGE and isinstance(watched, QWidget):
            text = watched.toolTip
            if text and not Qt.mightBeRichText(text):
                watched.setToolTip(Qt.convertFromPlainText(text, Qt.WhiteSpaceMode.WhiteSpaceNormal))
                return True
        return False


class qSlicerApplication(QApplication):
    """The application; there is one."""

    CPP = True
    startupCompleted = Signal()
    lastWindowIsClosing = Signal()

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self._values: dict[str, str] = {}
        self._logic: Any = None
        self._layoutManager: qSlicerLayoutManager | None = None
        self._moduleManager = qSlicerModuleManager(self)
        self._ioManager = qSlicerCoreIOManager(self)
        self._testing = False
        self._toolTips = _ToolTipWrapper(self)
        self.installEventFilter(self._toolTips)

    slicerHome = kept(str, "slicerHome", "")
    temporaryPath = kept(str, "temporaryPath", "")
    cachePath = kept(str, "cachePath", "")
    defaultScenePath = kept(str, "defaultScenePath", "")
    extensionsInstallPath = kept(str, "extensionsInstallPath", "")
    slicerUserSettingsFilePath = kept(str, "slicerUserSettingsFilePath", "")
    revision = Property(str, lambda self: "34000")
    repositoryRevision = Property(str, lambda self: "34000")
    majorVersion = Property(int, lambda self: 5)
    minorVersion = Property(int, lambda self: 12)
    os = Property(str, lambda self: "linux")
    platform = Property(str, lambda self: "linux-amd64")

    def applicationLogic(self) -> Any:
        """The real application logic."""
        return self._logic

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._logic.GetMRMLScene()

    def layoutManager(self) -> qSlicerLayoutManager | None:
        """The views; None where the application runs without a window."""
        return self._layoutManager

    def moduleManager(self) -> qSlicerModuleManager:
        """The modules."""
        return self._moduleManager

    def coreIOManager(self) -> qSlicerCoreIOManager:
        """Reads and writes files."""
        return self._ioManager

    ioManager = coreIOManager

    def mainWindow(self) -> Any:
        """The main window, or None."""
        return next((w for w in self.topLevelWidgets() if w.objectName == "qSlicerMainWindow"), None)

    def settings(self) -> QSettings:
        """The settings."""
        return QSettings()

    def userSettings(self) -> QSettings:
        """The settings."""
        return QSettings()

    def revisionUserSettings(self) -> QSettings:
        """The settings."""
        return QSettings()

    def startupEnvironment(self) -> QProcessEnvironment:
        """The environment before Slicer's launcher added to it."""
        return QProcessEnvironment.systemEnvironment()

    def testingEnabled(self) -> bool:
        """Whether Slicer was started to run its own tests: then its message boxes do not come up."""
        return self._testing

    def translate(self, context: str, text: str) -> str:
        """The text in the application's language, which is English."""
        return text

    def pauseRender(self) -> None:
        """Nothing is rendered."""

    def resumeRender(self) -> None:
        """Nothing is rendered."""

    def restart(self) -> None:
        """Would start Slicer again."""

    def setWaitCursor(self) -> None:
        """Shows the wait cursor."""
        self.setOverrideCursor(Qt.CursorShape.WaitCursor)
