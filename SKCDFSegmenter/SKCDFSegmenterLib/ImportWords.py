"""What the import says of cases and labels, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skcdf.label_mapping import UNDECIDED

from .Texts import _, plural

_LINES_SHOWN = 6


def actionWords(entry: Mapping[str, Any], *, isDone: bool) -> str:
    """What becomes of a case, or what became of it."""
    isLabelled = bool(entry.get("annotated"))
    validates = entry.get("split") == "validation"
    if entry["action"] == "add" and not isLabelled:
        return _("added, without labels") if isDone else _("will be added, without labels")
    if entry["action"] == "add":
        if validates:
            return _("added, for validation") if isDone else _("will be added, for validation")
        return _("added, for training") if isDone else _("will be added, for training")
    words = {
        "revise": _("organs replaced") if isDone else _("organs will be replaced"),
        "differs": _("is there already, with other organs: left alone"),
        "there": _("is there already: left alone"),
        "refuse": _("not added") if isDone else _("cannot be added"),
    }
    return words.get(str(entry["action"]), str(entry["action"]))


def organsWords(entry: Mapping[str, Any]) -> str:
    """How many organs a case has."""
    n = len(entry.get("annotated") or ())
    return plural(_("{n} organ"), _("{n} organs"), n).format(n=n) if n else _("none")


def volumesWords(entry: Mapping[str, Any]) -> str:
    """The organs of a case with their volumes, a line each, for a tooltip."""
    volumes = entry.get("volumes_ml") or {}
    lines = [
        _("{organ}: not there").format(organ=organ) if not millilitres else f"{organ}: {millilitres:.1f} mL"
        for organ, millilitres in volumes.items()
    ]
    return "\n".join(lines) or _("No organ is drawn in this case.")


def remarksWords(entry: Mapping[str, Any]) -> str:
    """Why a case is refused or left alone, and what to look at first."""
    reason = [entry["reason"]] if entry.get("reason") else []
    return "\n".join([*reason, *(entry.get("warnings") or ())])


def summaryWords(entries: Sequence[Mapping[str, Any]], *, isDone: bool) -> str:
    """One sentence on all cases."""
    counts = Counter(str(entry["action"]) for entry in entries)
    added, revised = counts["add"], counts["revise"]
    there, refused = counts["there"] + counts["differs"], counts["refuse"]
    if isDone:
        parts = [
            (added, plural(_("{n} case added"), _("{n} cases added"), added)),
            (revised, plural(_("organs of {n} case replaced"), _("organs of {n} cases replaced"), revised)),
        ]
    else:
        parts = [
            (added, plural(_("{n} case to add"), _("{n} cases to add"), added)),
            (
                revised,
                plural(_("organs of {n} case to replace"), _("organs of {n} cases to replace"), revised),
            ),
        ]
    parts += [
        (there, plural(_("{n} is there already"), _("{n} are there already"), there)),
        (refused, plural(_("{n} cannot be added"), _("{n} cannot be added"), refused)),
    ]
    said = ", ".join(text.format(n=n) for n, text in parts if n)
    return f"{said}." if said else _("There is nothing to import.")


def becauseWords(row: Mapping[str, Any]) -> str:
    """Why a label becomes what it becomes."""
    if row["target"] == UNDECIDED:
        return _("not clear: please choose")
    words = {
        "code": _("same standard code"),
        "name": _("same name"),
        "file": _("you said so"),
        "value": _("same value"),
    }
    reason = str(row.get("reason") or "")
    return words.get(reason, reason)


def blockerWords(result: Mapping[str, Any], shared: Sequence[str], titles: Mapping[str, str]) -> list[str]:
    """What must be decided before anything is imported, a line each.

    Args:
        result: of the check.
        shared: organs that several labels become, and that were not said to be joined.
        titles: of the organs, by their names.
    """
    lines, said = [], set()
    # The engine's own words for the two point to a file that users of the panel never see.
    if result["undecided"]:
        said.add("undecided")
        text = _("Choose in the table what becomes of: {labels}.")
        lines.append(text.format(labels=", ".join(result["undecided"])))
    if shared:
        said.add("shared")
        text = _("Several labels become {organs}. If that is meant, tick Join below the tables.")
        lines.append(text.format(organs=", ".join(titles.get(organ, organ) for organ in shared)))
    return [*lines, *(each["message"] for each in result["blockers"] if each["code"] not in said)]


def shortened(lines: Iterable[str]) -> str:
    """The first lines, and how many more there are."""
    lines = list(lines)
    if len(lines) <= _LINES_SHOWN + 1:
        return "\n".join(lines)
    rest = len(lines) - _LINES_SHOWN
    return "\n".join([*lines[:_LINES_SHOWN], _("… and {n} more").format(n=rest)])


def progressWords(event: Mapping[str, Any]) -> str:
    """What is being done, and with which case."""
    names = {
        "read labels": _("Reading the organs"),
        "read": _("Reading"),
        "compare scans": _("Comparing with the scans of the project"),
        "look at scans": _("Looking at the scans"),
        "import": _("Importing"),
    }
    phase = str(event.get("phase") or "")
    text, note = names.get(phase, phase.capitalize()), event.get("note")
    return f"{text}: {note}" if note else text
