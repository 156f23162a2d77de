"""What state Python packages are in, as the disk tells, without importing them. Standard library only.

An installation that was interrupted leaves a package that is there for pip and not for Python, or the other way round.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

State = Literal["ready", "missing", "half", "broken"]

REQUIRED = {"torch": (2, 2), "safetensors": (0, 4), "nibabel": (5, 2)}
"""Packages that a Slicer does not bring, and the oldest version of each that will do."""
BROUGHT = ("numpy", "scipy", "SimpleITK")
"""Packages that a Slicer does bring, and another Python may not."""


@dataclass(frozen=True)
class PackageState:
    """One package.

    Attributes:
        state: ``ready``, ``missing``, ``half`` (its installation was interrupted) or ``broken`` (it does not work).
        version: as its description says; empty where it has none.
        detail: what is wrong, in words.
    """

    state: State
    version: str = ""
    detail: str = ""


def package_state(name: str, oldest: tuple[int, ...] = ()) -> PackageState:
    """Looks at one package.

    Args:
        name: by which it is imported and installed.
        oldest: version that will do.
    """
    description = _description(name)
    version = "" if description is None else description.version
    if not is_there(name):
        left = _leftovers(name, description)
        if left:
            return PackageState("half", version, f"It cannot be imported, but there is {left}.")
        return PackageState("missing", "", "It is not installed.")
    if description is None:
        return PackageState("half", "", "Its files are there without their description.")
    lacking, total = _lacking(name, description)
    if lacking:
        problem = f"{len(lacking)} of its {total} files are missing or cut off: {lacking[0]}"
        return PackageState("half", version, f"{problem}.")
    if _numbers(version) < oldest:
        needed = ".".join(map(str, oldest))
        return PackageState("broken", version, f"Version {version} is too old; {needed} is needed.")
    return PackageState("ready", version)


def is_there(name: str) -> bool:
    """Whether a package has something to import; a folder alone, as failed removals leave it, is nothing."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def _description(name: str) -> metadata.Distribution | None:
    try:
        found = metadata.distribution(name)
        return found if found.metadata is not None and found.version else None
    except (metadata.PackageNotFoundError, OSError, ValueError, KeyError):
        return None


def _leftovers(name: str, description: metadata.Distribution | None) -> str:
    """What is left of a package that cannot be imported, in words; empty: nothing is."""
    if description is not None:
        return "its description"
    for folder in sys.path:
        # While pip removes a package, its folders have a ~ in place of their first letter.
        for left in (Path(folder) / name, Path(folder) / f"~{name[1:]}"):
            try:
                if left.is_dir() and any(left.iterdir()):
                    return str(left)
            except OSError:
                continue
    return ""


def _lacking(name: str, description: metadata.Distribution) -> tuple[list[str], int]:
    """Files of a package that are not there or not as long as they were, and how many it has."""
    files = [file for file in description.files or () if file.parts[0] == name and file.size]
    lacking = []
    for file in files:
        try:
            whole = Path(str(file.locate())).stat().st_size == file.size
        except OSError:
            whole = False
        if not whole:
            lacking.append(file.as_posix())
    return lacking, len(files)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2, 13, 0 of ``2.13.0+cpu``."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()
