"""Everything for a computer without network in one folder: wheels, models, and the checksums of both.

``SHA256SUMS`` has the form that ``sha256sum -c`` reads, so that a hospital can check a bundle before any of it runs.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .disk_errors import disk_errors_told
from .droppings import is_dropping
from .errors import SkcdfError
from .files import remove, sha256, write_text
from .model_file import write_model_file
from .models import ModelBundle
from .package_states import REQUIRED

SUMS = "SHA256SUMS"
WHEELS, MODELS = "wheels", "models"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def requirements() -> tuple[str, ...]:
    """What pip has to collect, as it wants to be told."""
    return tuple(f"{name}>={'.'.join(map(str, oldest))}" for name, oldest in REQUIRED.items())


def make_bundle(folder: Path | str, models: Sequence[ModelBundle] = ()) -> Path:
    """Collects wheels for this Python by its own pip, which uses the network, and packs models beside them.

    A bundle that was begun and has no checksums yet is gone on with.

    Args:
        folder: new, empty, or a bundle.
        models: models that were loaded.

    Raises:
        SkcdfError: the folder holds something else, pip has failed, or the disk refuses. There are no checksums then.
    """
    folder = Path(folder)
    foreign = _foreign(folder)
    if foreign:
        raise SkcdfError(f"{folder}: holds something else: {foreign}.", "Give a new or an empty folder.")
    with disk_errors_told(folder):
        remove(folder / SUMS)
    wheels = folder / WHEELS
    command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--dest", str(wheels)]
    code = subprocess.run([*command, *requirements()], check=False).returncode
    if code != 0:
        raise SkcdfError(
            f"{wheels}: pip could not collect the packages (exit code {code}); its own words are above.",
            "Check the network connection and the proxy settings: skcdf doctor.",
        )
    for bundle in models:
        (folder / MODELS).mkdir(exist_ok=True)
        write_model_file(folder / MODELS / f"{bundle.name}.zip", bundle)
    seal_bundle(folder)
    return folder


def seal_bundle(folder: Path | str) -> int:
    """Writes the checksums of all that lies in a folder, and returns of how many files.

    Raises:
        SkcdfError: there is nothing, or a file has a name that no list of checksums can hold.
    """
    folder = Path(folder)
    with disk_errors_told(folder):
        sums = {name: sha256(folder / name) for name in _names(folder) if not is_dropping(folder / name)}
    if not sums:
        raise SkcdfError(
            f"{folder}: there is nothing to carry.", "Collect wheels there: docs/installation.md."
        )
    for name in sums:
        if re.search(r"[\n\r\\]", name):
            raise SkcdfError(f"{folder}: {name!r} cannot stand in a list of checksums.", "Rename it.")
    write_text(folder / SUMS, "".join(f"{value}  {name}\n" for name, value in sums.items()))
    return len(sums)


def check_bundle(folder: Path | str) -> list[str]:
    """What is wrong with a bundle, a line each; empty: it is as it was sealed.

    A file that is there and not listed is wrong, too: pip would take it. What file managers leave is not.

    Raises:
        SkcdfError: there are no checksums, or they cannot be read.
    """
    folder = Path(folder)
    noted = _sums(folder)
    with disk_errors_told(folder):
        present = {name: sha256(folder / name) for name in _names(folder)}
    foreign = [name for name in present if name not in noted and not is_dropping(folder / name)]
    problems = [f"{name}: is not in {SUMS}" for name in foreign]
    problems += [f"{name}: is missing" for name in noted if name not in present]
    changed = [name for name in noted if name in present and noted[name] != present[name]]
    return problems + [f"{name}: is not what was packed" for name in changed]


def wheels_of(folder: Path | str) -> Path:
    """Where the wheels lie: in the folder itself, or in the bundle that it is.

    Raises:
        SkcdfError: there are checksums, and what lies there does not agree with them.
    """
    folder = Path(folder)
    wheels = folder / WHEELS if (folder / WHEELS).is_dir() else folder
    root = wheels.parent if wheels.name == WHEELS and (wheels.parent / SUMS).is_file() else wheels
    problems = check_bundle(root) if (root / SUMS).is_file() else []
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise SkcdfError(
            f"{root}: {problems[0]}{more}.",
            "Nothing was installed. Copy the bundle again, from where it was made.",
        )
    return wheels


def _names(folder: Path) -> list[str]:
    """All files below a folder but the checksums, with forward slashes."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name != SUMS)


def _foreign(folder: Path) -> str:
    """Something that is no part of a bundle; empty: nothing is."""
    if folder.exists() and not folder.is_dir():
        return "it is a file"
    there = sorted(path.name for path in folder.iterdir() if not is_dropping(path)) if folder.exists() else []
    return next((name for name in there if name not in (SUMS, WHEELS, MODELS)), "")


def _sums(folder: Path) -> dict[str, str]:
    """The checksums by the file's name."""
    file = folder / SUMS
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise SkcdfError(
            f"{folder}: there is no {SUMS} in it.", "Choose the folder that skcdf bundle make has made."
        ) from error
    except (OSError, ValueError) as error:
        raise SkcdfError(f"{file}: cannot be read ({error}).", "Copy the bundle again.") from error
    matches = [_LINE.fullmatch(line) for line in lines if line.strip()]
    if None in matches:
        raise SkcdfError(f"{file}: is no list of checksums.", "Copy the bundle again.")
    return {match[2]: match[1] for match in matches if match is not None}
