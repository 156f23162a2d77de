"""What the panel says of what is missing on a computer, and of what would be installed."""

from __future__ import annotations

from collections.abc import Sequence

from .Installation import InstallPlan
from .ProjectWords import sizeInWords
from .Readiness import Readiness
from .Texts import _

_TITLES = {"torch": "PyTorch"}


def missingInWords(readiness: Readiness, plan: InstallPlan) -> str:
    """The one sentence that says why nothing can be computed; empty: it can."""
    if readiness.error is not None:
        return _("It could not be found out what is installed: {reason}").format(
            reason=" ".join(filter(None, (readiness.error.message, readiness.error.hint)))
        )
    sentences = []
    if plan.torch and plan.repair:
        text = {
            "half": _("PyTorch, which computes the models, is only half installed."),
            "broken": _("PyTorch, which computes the models, is installed but does not work."),
        }
        sentences.append(text[readiness.torchState])
    elif plan.torch:
        sentences.append(_("PyTorch, which computes the models, is not installed yet."))
    if plan.packages:
        isDamaged = any(readiness.stateOf(name) in ("half", "broken") for name in plan.packages)
        text = _("These packages are missing or damaged: {names}.") if isDamaged else ""
        text = text or _("These packages are missing: {names}.")
        sentences.append(text.format(names=", ".join(plan.packages)))
    return " ".join(sentences)


def neededFirst(readiness: Readiness | None, names: Sequence[str]) -> str:
    """What must be installed before something can begin, as a sentence; empty: nothing that is known of.

    Args:
        readiness: what was found; ``None``: nobody has looked, so it may be tried.
        names: the packages that it takes.
    """
    known = {} if readiness is None else readiness.packages
    lacking = [_TITLES.get(name, name) for name in names if name in known and known[name].state != "ready"]
    if not lacking:
        return ""
    return _("Needed first: {names}. Set it up at the top of this panel.").format(names=", ".join(lacking))


def versionsInWords(readiness: Readiness) -> str:
    """The packages that work, with their versions."""
    packages = [
        f"{_TITLES.get(name, name)} {package.version}".rstrip()
        for name, package in readiness.packages.items()
        if package.state == "ready"
    ]
    return _("Installed and working: {packages}.").format(packages=", ".join(packages)) if packages else ""


def findings(readiness: Readiness, plan: InstallPlan) -> list[str]:
    """What was looked at before anything is installed, a line each: disk, place, and what is in the way."""
    lines = [
        f"{name}: {package.detail}"
        for name, package in readiness.packages.items()
        if package.state in ("half", "broken") and package.detail
    ]
    needed, free = plan.neededBytes, plan.freeBytes
    if needed and free is not None:
        text = _("{needed} needed, {free} free on the disk.")
        lines.append(text.format(needed=sizeInWords(needed), free=sizeInWords(free)))
    if readiness.sitePackages:
        lines.append(_("Goes into {folder}").format(folder=readiness.sitePackages))
    lines += [" ".join(filter(None, (each.message, each.hint))) for each in plan.obstacles]
    return lines


def isHopeless(readiness: Readiness, plan: InstallPlan) -> bool:
    """Whether an installation would fail for certain: no right to write, or no room."""
    needed, free = plan.neededBytes, plan.freeBytes
    return not readiness.writable or (needed is not None and free is not None and free < needed)


def installText(plan: InstallPlan) -> str:
    """What the button says that installs it: with the size, since it is downloaded."""
    if not plan.torch:
        return _("Install {names}").format(names=", ".join(plan.packages))
    text = _("Repair PyTorch") if plan.repair else _("Set up PyTorch")
    return f"{text} ({sizeInWords(plan.neededBytes)})" if plan.neededBytes else text


def confirmation(plan: InstallPlan, *, getsExtension: bool) -> str:
    """The one question before anything is downloaded."""
    names = ", ".join(["PyTorch"] * plan.torch + list(plan.packages))
    lines = [_("Will be downloaded and installed into this Slicer: {names}.").format(names=names)]
    if plan.neededBytes:
        lines.append(_("It takes {size} on the disk.").format(size=sizeInWords(plan.neededBytes)))
    if plan.repair:
        lines.append(_("What is there of PyTorch is removed first."))
    if getsExtension:
        lines.append(
            _(
                "First Slicer gets its extension PyTorch, which chooses the right one for this computer. Then Slicer "
                "must be restarted, and you press the button once more."
            )
        )
    lines.append(
        _("It may take some minutes, in which Slicer answers only now and then. No scan leaves the computer.")
    )
    return "\n\n".join(lines)
