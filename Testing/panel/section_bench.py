"""One section of the panel by itself, with a workspace and a parameter node, driven like a user would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

UI_FOLDER = Path(__file__).resolve().parents[2] / "SKCDFSegmenter" / "Resources" / "UI"
WIDTH = 350
"""Pixels: the narrowest panel that people use."""


def makeWorkspace(slicerHome: Path | None = None) -> Any:
    """A workspace with real children.

    Args:
        slicerHome: whose PythonSlicer runs them; ``None``: one that has all that is needed.
    """
    from SKCDFSegmenterLib.Panels.QtChildProcess import QtChildProcess
    from SKCDFSegmenterLib.Workspace import Workspace

    return Workspace(QtChildProcess, slicerHome or slicer.app.slicerHome, slicer.app.temporaryPath)


class SectionBench:
    """A section on screen.

    Args:
        kind: the section's class.
        workspace: does its work.
        parameterNode: the scene's parameters.
        installs: whether it takes the panel's installer.
    """

    def __init__(self, kind: Any, workspace: Any, parameterNode: Any, installs: bool = False) -> None:
        import qt

        from SKCDFSegmenterLib.Panels.Dialogs import Dialogs
        from SKCDFSegmenterLib.Panels.Installer import Installer

        self.workspace, self.parameterNode = workspace, parameterNode
        dialogs = Dialogs()
        self.installer = Installer(workspace, dialogs)
        self.section = kind(UI_FOLDER, workspace, dialogs, *[self.installer] * installs)
        self.ui = self.section.ui
        self._timer = qt.QTimer()
        self._timer.setInterval(50)
        self._timer.connect("timeout()", workspace.tick)
        self._timer.start()
        self._window = qt.QWidget()
        self._window.setLayout(qt.QVBoxLayout())
        self._window.layout().setContentsMargins(0, 0, 0, 0)
        self._window.layout().addWidget(self.section.widget)
        self._window.layout().addStretch(1)
        self._window.resize(WIDTH, 900)
        self._window.show()
        self.bind(parameterNode)

    def bind(self, parameterNode: Any) -> None:
        """Shows the parameters of a scene, or none, as the module does."""
        self.parameterNode = parameterNode
        self.section.setParameterNode(parameterNode)
        self.section.parametersChanged()

    def widen(self, width: int) -> None:
        """Drags the window's edge."""
        self._window.resize(width, self._window.height)

    def changed(self) -> None:
        """Tells of a changed parameter, as the module does."""
        self.section.parametersChanged()

    def close(self) -> None:
        """Takes everything away, as quitting does."""
        self._timer.stop()
        self.installer.cleanup()
        self.section.setParameterNode(None)
        self.section.cleanup()
        self.workspace.shutdown()
        self._window.close()
        self._window.deleteLater()


def parameters() -> Any:
    """The scene's parameters of the module."""
    import SKCDFSegmenter

    return SKCDFSegmenter.SKCDFSegmenterLogic().getParameterNode()
