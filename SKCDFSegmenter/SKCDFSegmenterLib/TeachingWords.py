"""Sentences of the section *Teach*: what is in the pool, what would be stored, how far something is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skcdf.labels import LabelSet
from skcdf.project import PoolCounts

from .CaseContribution import CaseContent
from .Texts import _, plural

MANY = 6
"""Organs that a sentence names at most."""


def countsWords(counts: PoolCounts) -> str:
    """How many cases of which state the pool has, every state named."""
    return _(
        "In the pool: {labelled} labelled, {partly} partly annotated, {validation} for validation, "
        "{unlabelled} without labels, {withdrawn} withdrawn."
    ).format(
        labelled=counts.labelled,
        partly=counts.partly,
        validation=counts.validation,
        unlabelled=counts.unlabelled,
        withdrawn=counts.withdrawn,
    )


def previewWords(preview: Mapping[str, Any], labelSet: LabelSet) -> str:
    """What adding the case would store: new or revised, for what and why, volumes, warnings."""
    lines = [_actionWords(preview), splitWords(preview)]
    if preview.get("volumes_ml"):
        lines.append(_volumeWords(preview["volumes_ml"], labelSet))
    agreement = _agreementWords(preview.get("proposal_dice") or {}, labelSet)
    lines += [agreement] if agreement else []
    lines += [_("Please check: {warning}").format(warning=warning) for warning in preview.get("warnings", ())]
    return "\n".join(lines)


def leftOutWords(content: CaseContent, labelSet: LabelSet) -> str:
    """What of the segmentation the pool does not get: segments that are no organ of it, voxels of two organs."""
    lines = []
    if content.foreign:
        names = ", ".join(content.foreign)
        lines.append(_("Left out, since the pool has no such organ: {names}.").format(names=names))
    titles = titlesOf(labelSet)
    lines += [
        _("{voxels} voxels of {lost} lie in {kept}, too: {kept}, the smaller one, gets them.").format(
            voxels=overlap.voxels, lost=titles[overlap.lost], kept=titles[overlap.kept]
        )
        for overlap in content.overlaps
    ]
    return "\n".join(lines)


def splitWords(answer: Mapping[str, Any]) -> str:
    """Whether the case trains or validates, and why."""
    validates = answer["split"] == "validation"
    if answer["action"] == "revise":
        return (
            _("It stays for validation: a case never changes sides.")
            if validates
            else _("It stays for training: a case never changes sides.")
        )
    related = answer.get("split_reason") == "subject"
    if validates:
        return (
            _("For validation, like the other scans of this person.")
            if related
            else _(
                "For validation: the third person, and then every fifth, measures models and is never trained on."
            )
        )
    return (
        _("For training, like the other scans of this person.")
        if related
        else _("For training. The third person, and then every fifth, is kept for validation.")
    )


def storedWords(answer: Mapping[str, Any], training: bool) -> str:
    """What was stored.

    Args:
        answer: of ``pool_add``.
        training: whether a training runs, which does not see it.
    """
    if answer.get("unchanged"):
        return _("{case} has exactly these organs already: nothing was stored.").format(case=answer["case"])
    text = (
        _("Stored as a new version of {case}.").format(case=answer["case"])
        if answer["action"] == "revise"
        else _("Added as {case}.").format(case=answer["case"])
    )
    return f"{text} {splitWords(answer)}" + (f" {countsForNext()}" if training else "")


def countsForNext() -> str:
    """What becomes of cases that are added while a training runs."""
    return _("The training that is running does not see it: it counts for the next one.")


def unlabelledWords(answer: Mapping[str, Any]) -> str:
    """What became of scans that were to be added without labels."""
    added, present, refused = (answer.get(key) or () for key in ("added", "present", "refused"))
    lines = [plural(_("{n} scan was added."), _("{n} scans were added."), len(added)).format(n=len(added))]
    if present:
        lines.append(
            plural(
                _("{n} was in the pool already."), _("{n} were in the pool already."), len(present)
            ).format(n=len(present))
        )
    lines += [
        _("Not added: {image}: {reason}").format(image=fileName(each["image"]), reason=each["reason"])
        for each in refused[:MANY]
    ]
    if len(refused) > MANY:
        more = len(refused) - MANY
        lines.append(
            plural(_("… and {n} more was not added."), _("… and {n} more were not added."), more).format(
                n=more
            )
        )
    return "\n".join(lines)


def progressWords(event: Mapping[str, Any]) -> str:
    """Phase, share and time left of a ``progress`` event."""
    parts = [f"{phaseWords(event['phase'])}: {100 * event['fraction']:.0f} %"]
    if event.get("eta_s") is not None and event["fraction"] < 1:
        parts.append(timeLeftWords(event["eta_s"]))
    if event.get("note"):
        parts.append(str(event["note"]))
    return ", ".join(parts)


def phaseWords(phase: str) -> str:
    """What is being done; a phase that is not known keeps the engine's word."""
    known = {
        "model": _("Loading the model"),
        "read": _("Reading"),
        "look at scans": _("Looking at the scans"),
        "survey": _("Measuring the cases"),
        "load labelled cases": _("Loading labelled cases"),
        "load unlabelled cases": _("Loading unlabelled cases"),
        "load validation cases": _("Loading validation cases"),
        "plan": _("Planning the training"),
        "measure speed": _("Measuring how fast this computer trains"),
        "validate the start": _("Looking how good the start is"),
        "the parent's findings": _("Old model looks at the cases"),
        "train": _("Training"),
        "validate": _("Validating"),
        "segment": _("Segmenting"),
        "compare": _("Comparing old and new"),
        "review": _("Looking at unlabelled scans"),
        "compare scans": _("Comparing scans"),
    }
    return known.get(phase, phase[:1].upper() + phase[1:])


def timeLeftWords(seconds: float) -> str:
    """Time left as a person would say it."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return _("less than a minute left")
    if minutes < 60:
        return _("about {minutes} min left").format(minutes=minutes)
    return _("about {hours} h {minutes} min left").format(hours=minutes // 60, minutes=minutes % 60)


def fileName(path: str) -> str:
    """The last part of a path of any system."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path


def organWords(names: Iterable[str], labelSet: LabelSet) -> str:
    """Organs by their titles, the first few of many."""
    titles = titlesOf(labelSet)
    found = [titles.get(name, name) for name in names]
    if len(found) > MANY:
        return _("{organs} and {n} more").format(organs=", ".join(found[:MANY]), n=len(found) - MANY)
    return ", ".join(found)


def _actionWords(preview: Mapping[str, Any]) -> str:
    if preview["action"] == "revise":
        return _("The pool has this scan: {case} gets a new version of its labels.").format(
            case=preview["case"]
        )
    return _("A new case for the pool: {case}.").format(case=preview["case"])


def _volumeWords(volumes: Mapping[str, float], labelSet: LabelSet) -> str:
    titles = titlesOf(labelSet)
    named = ", ".join(
        _("{organ} none").format(organ=titles.get(name, name))
        if not volume
        else _("{organ} {volume} mL").format(organ=titles.get(name, name), volume=_millilitres(volume))
        for name, volume in volumes.items()
    )
    return _("Volumes: {volumes}.").format(volumes=named)


def _agreementWords(dice: Mapping[str, float | None], labelSet: LabelSet) -> str:
    changed = {name: value for name, value in dice.items() if value is not None}
    if not changed:
        return ""
    mean = sum(changed.values()) / len(changed)
    worst = min(changed, key=lambda name: changed[name])
    if changed[worst] > 0.9995:
        return _("The model's proposal was accepted unchanged.")
    return _("The model's proposal agrees by {mean} on average, least for {organ} ({least}).").format(
        mean=f"{mean:.2f}", organ=titlesOf(labelSet).get(worst, worst), least=f"{changed[worst]:.2f}"
    )


def _millilitres(volume: float) -> str:
    return f"{volume:.0f}" if volume >= 10 else f"{volume:.1f}"


def titlesOf(labelSet: LabelSet | None) -> dict[str, str]:
    """How people call the organs, by name."""
    return {label.name: label.title for label in labelSet.labels} if labelSet is not None else {}
