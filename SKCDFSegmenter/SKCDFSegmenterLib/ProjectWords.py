"""What the panel says of a project, in words."""

from __future__ import annotations

from skcdf.errors import SkcdfError
from skcdf.project import PoolCounts, Project

from .NewProject import cloudWarning
from .Texts import _, plural


def projectTitle(project: Project) -> str:
    """The project's name, what it is for, and whether its scans are phantoms."""
    try:
        pool = project.pool()
    except SkcdfError as error:
        return f"{project.name}: {error.message} {error.hint}"
    n = len(pool.label_set.labels)
    organs = plural(_("{n} organ"), _("{n} organs"), n).format(n=n)
    kind = _("phantoms, no scans of people") if pool.description.synthetic else ""
    return ", ".join(filter(None, (f"{project.name}: {pool.description.modality}", organs, kind)))


def countsInWords(counts: PoolCounts) -> str:
    """How many cases of which kind; kinds of which there are none are left out."""
    parts = [
        (counts.labelled, plural(_("{n} labelled"), _("{n} labelled"), counts.labelled)),
        (counts.partly, plural(_("{n} partly labelled"), _("{n} partly labelled"), counts.partly)),
        (counts.validation, plural(_("{n} for validation"), _("{n} for validation"), counts.validation)),
        (counts.unlabelled, plural(_("{n} without labels"), _("{n} without labels"), counts.unlabelled)),
        (counts.withdrawn, plural(_("{n} withdrawn"), _("{n} withdrawn"), counts.withdrawn)),
    ]
    named = [text.format(n=n) for n, text in parts if n]
    if not named:
        return _(
            "No cases yet. Import annotated ones, or segment a scan, correct it, and add it under Teach."
        )
    total = sum(n for n, _text in parts)
    return plural(_("{n} case: {kinds}"), _("{n} cases: {kinds}"), total).format(
        n=total, kinds=", ".join(named)
    )


def projectCounts(project: Project) -> str:
    """The project's cases in words, or what is wrong with its pool."""
    try:
        return countsInWords(project.counts())
    except SkcdfError as error:
        return f"{error.message} {error.hint}"


def projectWarning(project: Project) -> str:
    """What is wrong with the project's place; empty: nothing."""
    return cloudWarning(project.root)


def sizeInWords(size: float) -> str:
    """Bytes as people say them."""
    for unit, factor in ((_("GB"), 1e9), (_("MB"), 1e6), (_("kB"), 1e3)):
        if size >= factor:
            value = size / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return _("{n} bytes").format(n=int(size))


def breakable(text: str) -> str:
    """A text with paths that a narrow label can wrap: a zero-width space follows every separator."""
    return text.replace("/", "/\u200b").replace("\\", "\\\u200b")
