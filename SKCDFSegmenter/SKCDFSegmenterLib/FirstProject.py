"""The project that the first added case needs: one that is there, or a new one with the organs of a model."""

from __future__ import annotations

from pathlib import Path

from skcdf.errors import SkcdfError
from skcdf.project import PROJECT_FILE

from .ModelCatalogue import ModelChoice, findChoice
from .Texts import _
from .Workspace import Workspace


def organsFrom(workspace: Workspace, modelReference: str) -> ModelChoice | None:
    """The model whose organs a new project would have: the chosen one, else the one in use."""
    return findChoice(workspace.models(), modelReference)


def openOrCreateProject(workspace: Workspace, folder: Path | str, modelReference: str) -> None:
    """Opens the project in a folder, or makes one there with the organs of a model.

    Raises:
        SkcdfError: the folder holds something else, cannot be written, or there is no model that names organs.
    """
    if (Path(folder) / PROJECT_FILE).is_file():
        workspace.openProject(folder)
        return
    choice = organsFrom(workspace, modelReference)
    if choice is None:
        raise SkcdfError(
            _("{folder}: there is no model that says which organs a new project has.").format(folder=folder),
            _("Make the project at the top of the panel, where organs can be chosen."),
        )
    bundle = choice.bundle
    workspace.createProject(
        folder, bundle.label_set, bundle.expects.modality, synthetic=bundle.training.synthetic
    )
