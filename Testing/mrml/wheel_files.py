"""Wheels of packages that hold next to nothing, as pip takes them."""

from __future__ import annotations

import zipfile
from pathlib import Path


def makeWheel(folder: Path, name: str, version: str, needs: str = "") -> Path:
    """Writes a package that holds its version and nothing else.

    Args:
        folder: where the file goes.
        name, version: of the package.
        needs: another package that it asks for.
    """
    information = f"{name}-{version}.dist-info"
    description = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents = {
        f"{name}/__init__.py": f"__version__ = {version!r}\n",
        f"{information}/METADATA": description + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/RECORD": "",
    }
    file = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for path, text in contents.items():
            wheel.writestr(path, text)
    return file


def putInstalled(wheel: Path, folder: Path) -> None:
    """Unpacks a wheel among packages, with the list of files by which pip removes it again."""
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder)
        names = content.namelist()
    record = next(name for name in names if name.endswith("/RECORD"))
    (folder / record).write_text("".join(f"{name},,\n" for name in names), encoding="utf-8")
