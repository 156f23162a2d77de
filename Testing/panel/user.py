"""What a user does: clicks, chooses, types, waits, looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def application() -> Any:
    """The ``slicer`` module; not imported before a test asks for it, so that test files can import this one anyway."""
    import slicer

    return slicer


def pump(until: Callable[[], Any] = lambda: False, seconds: float = 10.0) -> bool:
    """Runs the event loop until something is true, or the time is over; whether it is true."""
    from PySide6 import QtCore

    deadline = time.monotonic() + seconds
    while not until():
        application().app.processEvents()
        application().app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        if time.monotonic() > deadline:
            return bool(until())
        time.sleep(0.005)
    return True


def click(button: Any) -> None:
    """Clicks a button that a user could click.

    Raises:
        AssertionError: it is hidden or disabled.
    """
    _requireUsable(button)
    button.click()
    application().app.processEvents()


def choose(selector: Any, choice: Any) -> None:
    """Chooses an entry of a combo box by its text, or of a node selector a node by itself or its name, or ``None``."""
    _requireUsable(selector)
    if hasattr(selector, "setCurrentNode"):
        nodes = selector.nodes()
        node = next((node for node in nodes if choice is not None and choice in (node, node.GetName())), None)
        assert node is not None or (choice is None and selector.noneEnabled), (
            f"no choice {choice} among {nodes}"
        )
        selector.setCurrentNode(node)
        selector.nodeActivated(node) if hasattr(selector, "nodeActivated") else None
    else:
        index = selector.findText(choice)
        assert index >= 0, (
            f"no entry {choice!r} among {[selector.itemText(i) for i in range(selector.count)]}"
        )
        selector.setCurrentIndex(index)
        selector.activated(index)
    application().app.processEvents()


def write(field: Any, text: str) -> None:
    """Types a text into a field, and leaves the field."""
    _requireUsable(field)
    if hasattr(field, "currentPath"):
        field.currentPath = text
    elif hasattr(field, "setPlainText"):
        field.setPlainText(text)
    else:
        field.setText(text)
        field.editingFinished()
    application().app.processEvents()


def unfold(section: Any, isOpen: bool = True) -> None:
    """Opens or closes a section."""
    if section.collapsed == isOpen:
        section.click()
        application().app.processEvents()


def unfoldGroup(group: Any) -> None:
    """Opens a group of a section."""
    group.collapsed = False
    application().app.processEvents()


def _requireUsable(widget: Any) -> None:
    assert widget.isVisible(), f"{widget.name} is not to be seen"
    assert widget.isEnabled(), f"{widget.name} is disabled"


def closeScene() -> None:
    """What *Close Scene* of the File menu does."""
    application().mrmlScene.Clear(0)
    application().app.processEvents()


def quitSlicer() -> bool:
    """Closes the main window and, if nothing keeps it open, ends the application as far as modules can tell.

    Returns:
        Whether it ended: the window is closed, the module was left, ``aboutToQuit()`` came, and then ``cleanup()``.
    """
    from PySide6 import QtCore

    window = application().util.mainWindow()
    window.show()
    if not window.close():
        return False
    QtCore.QMetaObject.invokeMethod(application().app, "aboutToQuit")
    manager = application().app.moduleManager()
    for name in manager.factoryManager().loadedModuleNames():
        manager.moduleAboutToBeUnloaded(name)
    application().app.processEvents()
    return True


def startupCompleted() -> None:
    """Tells modules that Slicer has started."""
    application().app.startupCompleted()
    application().app.processEvents()


def screenshot(widget: Any, path: Path) -> Path:
    """Draws a widget as it is on screen into a PNG file."""
    application().app.processEvents()
    path.parent.mkdir(parents=True, exist_ok=True)
    assert widget.grab().save(str(path)), path
    return path
