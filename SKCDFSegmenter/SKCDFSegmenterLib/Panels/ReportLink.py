"""Opens a training's report in the user's browser."""

from __future__ import annotations

from pathlib import Path

import qt

from skcdf.errors import SkcdfError

from ..Texts import _


def openReport(path: Path | None) -> None:
    """Opens a file of this computer in the program that the user has for it.

    Raises:
        SkcdfError: there is none, or no program that shows it.
    """
    if path is None or not path.is_file():
        raise SkcdfError(
            _("There is no report of that training."),
            _("It was deleted with its run, or the model came from elsewhere."),
        )
    if not qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path))):
        raise SkcdfError(_("No browser could be opened."), _("The report lies at {path}.").format(path=path))
