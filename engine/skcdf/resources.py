"""Finds the label sets and models that travel with the program, wherever it was installed."""

from __future__ import annotations

from pathlib import Path

from .errors import SkcdfError

_PACKAGE = Path(__file__).resolve().parent
_PLACES = (
    _PACKAGE / "resources",  # a wheel
    _PACKAGE.parent / "Resources",  # an installed Slicer extension: skcdf lies beside the module
    _PACKAGE.parent.parent / "SKCDFSegmenter" / "Resources",  # the source tree
)


def resource(name: str) -> Path:
    """Path of a shipped file or folder.

    Args:
        name: path below the resources folder, with forward slashes: ``LabelSets/synapse13.json``.

    Raises:
        SkcdfError: the installation lacks it.
    """
    for place in _PLACES:
        path = place / name
        if path.exists():
            return path
    raise SkcdfError(
        f"{name}: this installation of SKCDFSegmenter lacks the file.", "Install the program again."
    )
