"""The Python packages the child process needs and Slicer does not bring."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

from skcdf.errors import SkcdfError

from .EngineProcess import torchMissing


def ensureRequirements(requirementsFile: Path | str) -> None:
    """Sees to it that torch and the listed packages are there; asks the user before anything is downloaded.

    Nothing is imported: torch has no place in the application's process.

    Args:
        requirementsFile: one requirement per line; the packages must be importable by their names.

    Raises:
        SkcdfError: torch is missing, or the user declined, or the installation failed.
    """
    if importlib.util.find_spec("torch") is None:
        raise torchMissing()
    lines = Path(requirementsFile).read_text(encoding="utf-8").split()
    missing = [line for line in lines if importlib.util.find_spec(re.split(r"[<>=!~]", line)[0]) is None]
    if not missing:
        return
    try:
        from slicer import packaging
    except ImportError as error:
        raise SkcdfError(
            f"This Slicer cannot install {', '.join(missing)} by itself.", "Use Slicer 5.12 or later."
        ) from error
    try:
        packaging.pip_ensure(packaging.load_requirements(str(requirementsFile)), requester="SKCDFSegmenter")
    except (RuntimeError, subprocess.CalledProcessError) as error:
        raise SkcdfError(
            f"The Python packages {', '.join(missing)} were not installed ({error}).",
            "Press Segment again to install them, and check the network connection.",
        ) from error
