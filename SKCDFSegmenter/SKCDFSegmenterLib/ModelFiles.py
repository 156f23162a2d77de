"""Models as single files: out of the program to a colleague, and from one into the project's store."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from skcdf.errors import SkcdfError
from skcdf.models import MODEL_FILE, ModelBundle
from skcdf.project import Project

from .ModelCatalogue import ModelChoice
from .Texts import _

ENDING = ".zip"
_LARGEST_DESCRIPTION = 4 << 20  # bytes; a shipped one has some thousand


def exportArguments(choice: ModelChoice, file: Path | str) -> list[str]:
    """The command that writes a model to one file.

    Raises:
        SkcdfError: the model has no folder.
    """
    if choice.bundle.folder is None:
        raise SkcdfError(_("{name} has no files.").format(name=choice.title), _("Choose another model."))
    return ["model", "export", str(choice.bundle.folder), str(file)]


def importArguments(project: Project, file: Path | str, line: str) -> list[str]:
    """The command that takes a model from a file into a project's store, checked, as a candidate.

    Args:
        project: gets it.
        file: the ``.zip`` file.
        line: its name in the store.
    """
    return ["model", "add", str(project.store().root), line, str(file)]


def modelInFile(file: Path | str) -> ModelBundle:
    """What a file says of its model; the weights are not read, and nothing is unpacked.

    Raises:
        SkcdfError: the file holds no model, or cannot be read.
    """
    path = Path(file)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.split("/")[-1] == MODEL_FILE]
            if not names or archive.getinfo(names[0]).file_size > _LARGEST_DESCRIPTION:
                raise _isNone(path)
            with archive.open(names[0]) as member:
                content = json.loads(member.read(_LARGEST_DESCRIPTION))
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as error:
        raise _isNone(path) from error
    return ModelBundle.from_json(content, str(path))


def proposedName(choice: ModelChoice) -> str:
    """The name of the file for a model."""
    return f"{choice.bundle.name}_{choice.bundle.version}".replace(" ", "_") + ENDING


def _isNone(path: Path) -> SkcdfError:
    return SkcdfError(
        _("{path}: this is no file with a model.").format(path=path),
        _("Choose a .zip file that was written by Export model."),
    )
