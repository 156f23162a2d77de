"""A part of the section *Teach*: tells errors in a line of its own, and lets go of everything in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skcdf.errors import SkcdfError

from ..ResultWords import errorWords
from ..Signal import Signal
from ..Texts import _
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .Lines import showLine
from .Section import Section


class TeachBox(Section):
    """What all parts have: a line ``statusLabel``, and signals that are let go of.

    Args:
        uiFolder: the folder of the ``.ui`` files.
        name: of this one's file, without ``.ui``.
        workspace: does the work.
        dialogs: questions to the user.
    """

    def __init__(self, uiFolder: Path | str, name: str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, name, workspace, dialogs)
        self._heard: list[tuple[Signal, Callable[..., Any]]] = []
        self.say("")

    def hear(self, signal: Signal, slot: Callable[..., Any]) -> None:
        """Connects a signal of the core until `cleanup`."""
        signal.connect(slot)
        self._heard.append((signal, slot))

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded."""
        while self._heard:
            signal, slot = self._heard.pop()
            signal.disconnect(slot)

    def say(self, text: str) -> None:
        """Shows a line below the buttons, or none."""
        showLine(self.ui.statusLabel, text)

    @contextmanager
    def errorsSaid(self) -> Iterator[None]:
        """A `SkcdfError` inside becomes the line; anything else a sentence, with its traceback in the log."""
        try:
            yield
        except SkcdfError as error:
            self.say(failureWords(error))
        except Exception as error:
            logging.exception("unexpected error in the panel")
            self.say(
                _("Something unexpected went wrong: {error}. The application's log has the details.").format(
                    error=error
                )
            )

    def takeModelInUse(self) -> None:
        """Step 1 goes on with the model that has just been put into use, whatever was chosen there before."""
        if self.parameterNode is not None:
            self.parameterNode.modelReference = ""

    def parameter(self, name: str, default: Any = None) -> Any:
        """A parameter of the scene; the default while no scene is bound."""
        return default if self.parameterNode is None else getattr(self.parameterNode, name)


def failureWords(error: SkcdfError) -> str:
    """An error as a line of the panel; the first word says what it is, since colour alone would not."""
    return _("Not done. {error}").format(error=errorWords(error))
