"""A section of the panel: one ``.ui`` file, bound to the parameter node while the module is open."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from skcdf.errors import SkcdfError

from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs

PARAMETER_PROPERTY = "SlicerParameterName"
"""Of a widget in a ``.ui`` file: which parameter it shows."""


class Section:
    """What all sections have.

    Args:
        uiFolder: the folder of the ``.ui`` files.
        name: of this one's file, without ``.ui``.
        workspace: does the work.
        dialogs: questions to the user.
    """

    def __init__(self, uiFolder: Path | str, name: str, workspace: Workspace, dialogs: Dialogs) -> None:
        self.workspace, self.dialogs = workspace, dialogs
        self.widget = slicer.util.loadUI(str(Path(uiFolder) / f"{name}.ui"))
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.parameterNode: Any = None
        self._guiTag: Any = None

    def setParameterNode(self, parameterNode: Any) -> None:
        """Binds the widgets to the scene's parameters, or to none; `parametersChanged` follows every change."""
        if self.parameterNode is not None:
            self.parameterNode.disconnectGui(self._guiTag)
        self.parameterNode = parameterNode
        if parameterNode is not None:
            # Slicer's own connectGui keeps its tag to itself, so that nothing could be unbound again.
            self._guiTag = parameterNode.connectParametersToGui(self._boundWidgets())

    def _boundWidgets(self) -> dict[str, Any]:
        """The widgets that show a parameter each, by its name."""
        named = ((widget.property(PARAMETER_PROPERTY), widget) for widget in vars(self.ui).values())
        return {str(name): widget for name, widget in named if name}

    def parametersChanged(self) -> None:
        """Called after a parameter has changed, or the node itself."""

    def enter(self) -> None:
        """Called each time the user opens the module."""

    def exit(self) -> None:
        """Called each time the user opens another module."""

    def sceneClosing(self) -> None:
        """Called just before the scene is closed: nothing may be kept of it."""

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded."""

    @contextmanager
    def errorsShown(self) -> Iterator[None]:
        """A `SkcdfError` inside becomes a message; anything else keeps its traceback in the log, and a sentence."""
        try:
            yield
        except SkcdfError as error:
            self.dialogs.error(error)
        except Exception as error:
            logging.exception("unexpected error in the panel")
            self.dialogs.error(
                SkcdfError(
                    _("Something unexpected went wrong: {error}.").format(error=error),
                    _("The Python console and the application's log have the details."),
                )
            )
