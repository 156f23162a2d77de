"""The versions of the project's models as a list: state, date, parent, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from skcdf.errors import SkcdfError
from skcdf.model_version import ModelVersion
from skcdf.project import Project

from .Texts import _, plural
from .TrainingChoices import methodWords


@dataclass(frozen=True)
class VersionRow:
    """One version.

    Attributes:
        version: of the store.
        cells: name, state, date and parent, as text.
        details: a sentence or two: what was measured, the note.
    """

    version: ModelVersion
    cells: tuple[str, str, str, str]
    details: str


def versionHead() -> tuple[str, str, str, str]:
    """Names of the columns."""
    return _("Version"), _("State"), _("Made"), _("From")


def versionRows(project: Project) -> tuple[VersionRow, ...]:
    """Every version of every line, the project's own line first, newest first. Damaged lines are left out.

    Raises:
        SkcdfError: the store is damaged or cannot be read.
    """
    store, own, rows = project.store(), project.line(), []
    for line in sorted(store.lines(), key=lambda name: name != own):
        try:
            versions = store.versions(line)
        except SkcdfError:
            continue
        rows += [_row(version, version.name == own) for version in reversed(versions)]
    return tuple(rows)


def stateWords(state: str) -> str:
    """A version's state as the list shows it."""
    return {"promoted": _("in use"), "candidate": _("candidate"), "retired": _("retired")}[state]


def dayWords(utc: str) -> str:
    """A stored time as the user's own clock shows it: ``2026-11-26 09:30``."""
    try:
        return datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return utc


def _row(version: ModelVersion, own: bool) -> VersionRow:
    name = version.version if own else version.reference
    parent = version.parent or _("nothing")
    cells = (name, stateWords(version.state), dayWords(version.created), parent)
    details = []
    figures = [metric.mean for metric in version.metrics if metric.metric == "dice"]
    if figures:
        text = plural(
            _("Mean Dice of {n} organ when it was made: {mean}."),
            _("Mean Dice of {n} organs when it was made: {mean}."),
            len(figures),
        )
        details.append(text.format(n=len(figures), mean=f"{sum(figures) / len(figures):.3f}"))
    method = version.config.get("method")
    if method:
        words = methodWords(method, version.config.get("plugin") or "")
        details.append(_("Method: {method}.").format(method=words))
    if version.note:
        details.append(version.note)
    return VersionRow(version, cells, " ".join(details))
