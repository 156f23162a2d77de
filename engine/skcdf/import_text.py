"""An import in words: what becomes of every label and of every case; for people, before and after it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .label_mapping import UNDECIDED
from .pool_import import ImportEntry, ImportPlan
from .text_table import cases, table

_COUNTED = {
    "add": ("added", "to add"),
    "revise": ("revised", "to revise"),
    "there": ("there already", "there already"),
    "differs": ("with another label map", "with another label map"),
    "refuse": ("refused", "refused"),
}


def mapping_rows(plan: ImportPlan) -> list[tuple[str, str | None, str]]:
    """For every label of the source its name, the pool's label and what decided; each row once.

    The pool's label is ``None`` where it is left out and `UNDECIDED` where nobody has decided.
    """
    rows = [(each.source.name, each.target, each.by) for each in plan.mapping.mapped]
    rows += [(label.name, UNDECIDED, "") for label in plan.mapping.unmapped]
    return list(dict.fromkeys(rows))


def mapping_text(plan: ImportPlan) -> str:
    """The same as a table; empty where the source names no label."""
    rows = [[name, target or "(left out)", by or "-"] for name, target, by in mapping_rows(plan)]
    return table([["label", "becomes", "by"], *rows]) if rows else ""


def entry_text(entry: ImportEntry, planned: bool) -> str:
    """What becomes, or became, of a case, in a line."""
    if entry.action == "refuse":
        return f"{entry.name}: {entry.reason}"
    if entry.action in ("there", "differs"):
        return f"{entry.name}: is there already. {entry.reason}".rstrip()
    return f"{entry.name}: {_deed(entry, planned)}"


def volumes_text(
    names: Sequence[str], annotated: Sequence[str], volumes_ml: Mapping[str, float], voxels: Mapping[str, int]
) -> str:
    """The annotated labels with their volumes, or as absent, and which of ``names`` are unknown."""
    rows = [
        [
            f"  {name}",
            *([f"{volumes_ml[name]:.2f} mL", f"{voxels[name]} voxels"] if voxels[name] else ["absent", ""]),
        ]
        for name in annotated
    ]
    unknown = [name for name in names if name not in annotated]
    return table(rows) + (f"\n  unknown: {', '.join(unknown)}" if unknown else "")


def counts_text(entries: Sequence[ImportEntry], planned: bool) -> str:
    """How many cases come to what, in a line."""
    actions = [entry.action for entry in entries]
    parts = [f"{actions.count(each)} {_COUNTED[each][planned]}" for each in _COUNTED if each in actions]
    return ", ".join(parts) or "no cases"


def import_text(plan: ImportPlan, entries: Sequence[ImportEntry], planned: bool) -> str:
    """Everything that a person should read of an import, many lines.

    Args:
        plan: the plan.
        entries: its own, or as they came out.
        planned: whether nothing was written.
    """
    lines = [
        f"{plan.source.root}: {plan.source.kind} with {cases(len(plan.source.cases))}",
        mapping_text(plan),
    ]
    lines += [f"warning: {warning}" for warning in plan.warnings]
    lines += [f"error: {blocker}" for blocker in plan.blockers]
    for entry in entries:
        lines.append(("error: " if entry.action == "refuse" else "") + entry_text(entry, planned))
        lines += [f"  warning: {warning}" for warning in entry.warnings]
        if entry.annotated and planned:
            names = plan.pool.label_set.names
            lines.append(volumes_text(names, entry.annotated, entry.volumes_ml, entry.voxels))
    if not plan.blockers:
        lines.append(("dry run, nothing was written: " if planned else "") + counts_text(entries, planned))
    return "\n".join(line for line in lines if line)


def _deed(entry: ImportEntry, planned: bool) -> str:
    be = "would be " if planned else ""
    if entry.action == "revise":
        return f"{be}revised, {entry.split}, {len(entry.annotated)} labels annotated"
    if not entry.annotated:
        return f"{be}added, unlabelled"
    return f"{be}added for {entry.split}, {len(entry.annotated)} labels annotated"
