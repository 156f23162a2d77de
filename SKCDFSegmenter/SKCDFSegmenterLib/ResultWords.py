"""What the panel says of a run, in sentences that a clinician reads: before it, during it, and after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skcdf.errors import SkcdfError

from .Texts import _, plural

# How much of the bar belongs to each phase of a run, in the order in which they come.
_PHASES = {
    "send": (0, 2),
    "start": (2, 3),
    "model": (3, 8),
    "read": (8, 12),
    "segment": (12, 97),
    "write": (97, 100),
}
_NAMES_SHOWN = 6


def durationWords(seconds: float) -> str:
    """A time that was estimated, not more exact than it is."""
    if seconds < 10:
        return _("a few seconds")
    if seconds < 90:
        return _("about {n} s").format(n=5 * round(seconds / 5))
    if seconds < 90 * 60:
        return _("about {n} min").format(n=round(seconds / 60))
    return _("about {n} h").format(n=round(seconds / 3600))


def memoryWords(mebibytes: float) -> str:
    """An amount of memory."""
    if mebibytes < 1000:
        return _("{n} MB").format(n=max(10, 10 * round(mebibytes / 10)))
    return _("{n} GB").format(n=f"{mebibytes / 1024:.1f}")


def errorWords(error: SkcdfError) -> str:
    """What went wrong and what to do: in one line, unless what went wrong has several."""
    between = "\n" if "\n" in error.message else " "
    return f"{error.message}{between}{error.hint}".strip()


def deviceName(description: str) -> str:
    """The processor's name alone, of the worker's line on it: ``CPU, 7 threads, because … (float32)``."""
    name = description.rsplit(" (", 1)[0] if description.endswith(")") else description
    return name.split(",")[0]


def namesWords(names: Iterable[str]) -> str:
    """Names in a row; many are cut short with their number."""
    names = list(names)
    if len(names) <= _NAMES_SHOWN + 1:
        return ", ".join(names)
    return _("{names} and {n} more").format(
        names=", ".join(names[:_NAMES_SHOWN]), n=len(names) - _NAMES_SHOWN
    )


def estimateWords(seconds: float | None, memoryMiB: float | None, device: str) -> str:
    """What a run will take; empty where nothing is known."""
    parts = []
    if seconds is not None:
        parts.append(durationWords(seconds))
    if memoryMiB is not None:
        parts.append(_("{memory} of memory").format(memory=memoryWords(memoryMiB)))
    if not parts:
        return ""
    what = _(" and ").join(parts)
    text = _("{what} on {device}.").format(what=what, device=deviceName(device)) if device else f"{what}."
    return text[0].upper() + text[1:]


def phaseWords(event: Mapping[str, Any]) -> str:
    """What is being done, and how long it still takes."""
    names = {
        "start": _("Getting ready"),
        "send": _("Handing over the scan"),
        "model": _("Loading the model"),
        "read": _("Reading the scan"),
        "segment": _("Segmenting"),
        "write": _("Writing the result"),
    }
    phase = event.get("phase", "")
    text = names.get(phase) or str(phase).capitalize()
    eta = event.get("eta_s")
    if phase == "segment" and eta is not None:
        text = _("{phase}, {duration} left").format(phase=text, duration=durationWords(eta))
    return text


def progressShare(event: Mapping[str, Any]) -> int | None:
    """How much of the whole run is done, in percent; ``None`` where a phase is not known."""
    if event.get("phase") not in _PHASES:
        return None
    low, high = _PHASES[event["phase"]]
    return round(low + (high - low) * min(1.0, max(0.0, event.get("fraction") or 0.0)))


def foundWords(found: Sequence[str], notFound: Sequence[str], kept: Sequence[str]) -> list[str]:
    """What a run put into the scene, a sentence each; titles of organs."""
    n = len(found)
    if not found:
        sentences = [_("No organ was found.")]
    else:
        sentences = [plural(_("{n} organ found."), _("{n} organs found."), n).format(n=n)]
    if notFound and found:
        sentences.append(_("Not found: {names}.").format(names=namesWords(notFound)))
    if kept:
        names = namesWords(kept)
        sentences.append(_("Left as they were, because edited or completed: {names}.").format(names=names))
    return sentences


def placesWords(n: int) -> str:
    """How many places the user is sent to."""
    if not n:
        return _("The model names no place that it is unsure of.")
    text = plural(
        _("There is {n} place to look at first: see 2. Correct."),
        _("There are {n} places to look at first: see 2. Correct."),
        n,
    )
    return text.format(n=n)


def stateWords(state: str) -> str:
    """A segment's state."""
    names = {
        "proposed": _("proposed"),
        "edited": _("edited"),
        "completed": _("completed"),
        "foreign": _("drawn by hand"),
    }
    return names.get(state, state)


def queueWords(done: int, total: int, name: str) -> str:
    """Which of several scans is being segmented."""
    return _("Scan {k} of {n}: {name}").format(k=done + 1, n=total, name=name)
