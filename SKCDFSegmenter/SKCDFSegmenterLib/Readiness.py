"""What `skcdf doctor` has found out about the Python of the child processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skcdf.errors import SkcdfError

from .Texts import _

NEEDED = ("torch", "safetensors", "nibabel")
"""The packages that Slicer does not bring."""


@dataclass(frozen=True)
class PackageState:
    """One Python package.

    Attributes:
        state: ``ready``, ``missing``, ``half`` (its installation was interrupted) or ``broken`` (it does not work).
        version: empty where it is not known.
        detail: in words, for a tooltip.
    """

    state: str = "missing"
    version: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Readiness:
    """Whether segmenting and training can begin.

    Attributes:
        packages: state of each of `NEEDED`, by name.
        problems: what would be in the way, each with what to do.
        device: the doctor's line about the processor; empty where it is not known.
        python, platform, sitePackages: which Python it is, and where its packages lie.
        writable: whether packages can be installed there.
        freeBytes, neededBytes: of disk space; ``None`` where it is not known.
        report: all that the doctor said.
        error: why nothing is known.
    """

    packages: Mapping[str, PackageState] = field(default_factory=dict)
    problems: tuple[SkcdfError, ...] = ()
    device: str = ""
    python: str = ""
    platform: str = ""
    sitePackages: str = ""
    writable: bool = True
    freeBytes: int | None = None
    neededBytes: int | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    error: SkcdfError | None = None

    @property
    def ready(self) -> bool:
        """Whether all that is needed is there and works."""
        isThere = all(self.stateOf(name) == "ready" for name in NEEDED)
        return self.error is None and isThere and not self.problems

    @property
    def torchState(self) -> str:
        """State of PyTorch; ``unknown`` where nothing is known."""
        return "unknown" if self.error is not None else self.stateOf("torch")

    def stateOf(self, package: str) -> str:
        """State of a package."""
        return self.packages.get(package, PackageState()).state


def readinessFromDoctor(output: str, failure: str = "") -> Readiness:
    """Reads what the doctor has printed.

    Args:
        output: an object a line, of which the last counts; a damaged torch, which is imported after the first, may
            have ended it.
        failure: how the doctor ended where it has not ended well; empty: it has.
    """
    report: dict[str, Any] = {}
    for part in _objects(output):
        report.update(part)
    if not report:
        return Readiness(error=SkcdfError(failure or _("It could not be found out what is installed."), ""))
    packages = _packages(report.get("packages"))
    torch = packages.get("torch", PackageState("ready"))
    if failure and torch.state in ("ready", "broken"):  # it was there to be imported
        packages["torch"] = PackageState("broken", torch.version, failure)
    return Readiness(
        packages=packages,
        problems=tuple(_problems(report.get("problems"))),
        device=str(report.get("device") or ""),
        python=str(report.get("python") or ""),
        platform=str(report.get("platform") or ""),
        sitePackages=str(report.get("site_packages") or ""),
        writable=report.get("writable") is not False,
        freeBytes=_number(report.get("free_bytes")),
        neededBytes=_number(report.get("needed_bytes")),
        report=report,
    )


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The lines of a text that are JSON objects."""
    for line in text.splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            yield content


def _packages(content: Any) -> dict[str, PackageState]:
    if not isinstance(content, dict):
        return {}
    return {
        name: PackageState(
            str(each.get("state")), str(each.get("version") or ""), str(each.get("detail") or "")
        )
        for name, each in content.items()
        if isinstance(each, dict)
    }


def _problems(content: Any) -> Iterator[SkcdfError]:
    for each in content if isinstance(content, list) else []:
        if isinstance(each, dict):
            yield SkcdfError(str(each.get("message") or ""), str(each.get("hint") or ""))


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None
