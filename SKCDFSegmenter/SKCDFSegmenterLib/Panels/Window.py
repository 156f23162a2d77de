"""A window of its own, filled from a ``.ui`` file; it never blocks the rest of the application."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer


class Window:
    """What the windows of the panel have.

    Args:
        uiFolder: the folder of the ``.ui`` files.
        name: of this one's file, without ``.ui``.
        title: of the window.
        size: width and height in pixels at first.
    """

    def __init__(self, uiFolder: Path | str, name: str, title: str, size: tuple[int, int]) -> None:
        self.window = qt.QDialog(slicer.util.mainWindow())
        self.window.windowTitle = title
        self.window.setLayout(qt.QVBoxLayout())
        content = slicer.util.loadUI(str(Path(uiFolder) / f"{name}.ui"))
        self.window.layout().addWidget(content)
        self.window.resize(*size)
        self.ui = slicer.util.childWidgetVariables(content)
        # However it is closed: by a button, Escape or the window's own cross.
        self.window.connect("finished(int)", self._onFinished)

    def open(self) -> None:
        """Shows the window and returns at once."""
        self.window.show()
        self.window.activateWindow()

    def close(self) -> None:
        """Closes the window, if it is open."""
        self.window.reject()

    @property
    def isOpen(self) -> bool:
        """Whether the user sees it."""
        return bool(self.window.visible)

    def closed(self) -> None:
        """Called after the window was closed."""

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded."""
        self.window.reject()  # as when the user closes it: nothing may be left running or lying about
        self.window.disconnect("finished(int)", self._onFinished)
        self.window.deleteLater()

    def _onFinished(self, _result: int) -> None:
        self.closed()
