"""How the engine is called in a child process: ``engineCommand(python) + ["worker"]``, ``["doctor", "--json"]``, …"""

from __future__ import annotations

import os
from pathlib import Path

from skcdf.errors import SkcdfError
from skcdf.inside_slicer import python_slicer_path

from .Texts import _

ENGINE_MAIN = Path(__file__).resolve().parent / "EngineMain.py"


def engineCommand(python: Path | str) -> list[str]:
    """Program and first arguments of the engine's command line, with the engine that lies beside the module."""
    # Unbuffered, or what a crash interrupts is lost; UTF-8, whatever Windows has set.
    return [str(python), "-u", "-X", "utf8", str(ENGINE_MAIN)]


def choosePython(chosen: str, slicerHome: Path | str) -> Path:
    """The Python of the child processes: the one that the user has chosen, else Slicer's own.

    Args:
        chosen: path of a Python; empty: none is chosen.
        slicerHome: folder of the application.

    Raises:
        SkcdfError: it is not there, or cannot be run.
    """
    if not chosen:
        return python_slicer_path(slicerHome)
    if not (os.path.isfile(chosen) and os.access(chosen, os.X_OK)):
        raise SkcdfError(
            _("{path}: this is no program that can be run.").format(path=chosen),
            _("Choose the python program of the environment in Advanced, or leave the field empty."),
        )
    return Path(chosen)
