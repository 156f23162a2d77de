"""What a user says of a project that is to be made, and what is wrong with it before anything is written."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from skcdf.cases import Modality
from skcdf.errors import SkcdfError
from skcdf.labels import BUILT_IN, LabelSet
from skcdf.organ_list import organs_from_text
from skcdf.project import PROJECT_FILE, cloud_service

from .Texts import _

PHANTOM_LABELS = "phantom13"
_OWN_SCHEME = "99SKCDF"  # of codes that the program makes for names it does not know
# Windows allows none of these in a folder's name, and a project may go to another computer.
_UNSUITABLE = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')


@dataclass(frozen=True)
class NewProject:
    """A project that can be made.

    Attributes:
        name: what people call it.
        folder: does not exist yet, or is empty.
        labelSet: its organs.
        modality: of its scans.
        warning: what the user should know before it is made; may be empty.
    """

    name: str
    folder: Path
    labelSet: LabelSet
    modality: Modality
    warning: str


def shippedLabelSets() -> tuple[LabelSet, ...]:
    """The label sets that come with the program, that of the phantom last."""
    return tuple(LabelSet.load(name) for name in BUILT_IN)


def ownLabelSet(text: str) -> LabelSet:
    """The label set of organs that are typed between commas or on lines of their own.

    Raises:
        SkcdfError: there is none, or one cannot be read; the message names it.
    """
    organs = [organ.strip() for organ in re.split(r"[,;\n]", text)]
    if not any(organs):
        raise SkcdfError(_("No organ is named."), _("Type the organs' names, separated by commas."))
    return organs_from_text(", ".join(organ for organ in organs if organ), "organs")


def organLines(labelSet: LabelSet) -> str:
    """The organs as a user should check them: which have a standard code, and which only a name."""
    coded = [label.title for label in labelSet.labels if label.code.scheme != _OWN_SCHEME]
    named = [label.title for label in labelSet.labels if label.code.scheme == _OWN_SCHEME]
    lines = []
    if coded:
        lines.append(_("{n} with standard codes: {organs}").format(n=len(coded), organs=", ".join(coded)))
    if named:
        text = _("{n} by name only, unknown to the program (check the spelling): {organs}")
        lines.append(text.format(n=len(named), organs=", ".join(named)))
    return "\n".join(lines)


def newProject(name: str, place: Path | str, labelSet: LabelSet, modality: Modality) -> NewProject:
    """Checks what the user has said; nothing is written.

    Args:
        name: of the project, and so of its folder.
        place: folder in which the project's folder is to be made.
        labelSet, modality: of its cases.

    Raises:
        SkcdfError: it cannot be made like that.
    """
    title = " ".join(name.split())
    if not title:
        raise SkcdfError(_("The project has no name."), _("Type one, for example: Abdomen CT."))
    if not str(place):
        raise SkcdfError(_("No folder is chosen."), _("Choose one."))
    folder = Path(place) / folderName(title)
    if (folder / PROJECT_FILE).is_file():
        raise SkcdfError(
            _("There is a project in {folder} already.").format(folder=folder),
            _("Open it, or give the new one another name."),
        )
    if not _isFree(folder):
        raise SkcdfError(
            _("{folder} is there already and is not empty.").format(folder=folder),
            _("Give the project another name, or choose another folder."),
        )
    existing = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise SkcdfError(
            _("You may not write into {folder}.").format(folder=existing), _("Choose another folder.")
        )
    return NewProject(title, folder, labelSet, modality, cloudWarning(folder))


def folderName(title: str) -> str:
    """A project's name as that of a folder on any system."""
    plain = _UNSUITABLE.sub("_", title).strip(" .")
    return plain or "project"


def cloudWarning(folder: Path | str) -> str:
    """What to say of a folder whose files leave this computer; empty: nothing."""
    service = cloud_service(folder)
    if service is None:
        return ""
    text = _(
        "Warning: this folder belongs to {service}, which copies its files to other computers. Scans of patients "
        "would leave this one. Choose a folder outside of it unless your institution allows it."
    )
    return text.format(service=service)


def phantomFolder(documents: Path | str, home: Path | str) -> Path:
    """Where the phantom's project is proposed: in the user's documents, unless these are copied elsewhere."""
    place = Path(documents) if str(documents) and cloud_service(documents) is None else Path(home)
    return place / "SKCDF phantom"


def _isFree(folder: Path) -> bool:
    try:
        return not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir()))
    except OSError:
        return False
