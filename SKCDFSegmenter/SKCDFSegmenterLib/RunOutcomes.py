"""What trainings have left in the project's folder of runs: their comparison, their report, and what was decided.

A training may end at night and Slicer be closed in the morning: what it brought is found again from its files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skcdf import files
from skcdf.comparison import Comparison
from skcdf.errors import SkcdfError
from skcdf.project import Project
from skcdf.run_folder import RUN_FILE

COMPARISON_FILE = "comparison.json"
REPORT_FILE = "report.html"
DECISION_FILE = "decision.json"
"""In a run's folder: the user keeps the old model, and is not asked again."""


@dataclass(frozen=True)
class RunOutcome:
    """What a training that has ended brought: a new model, or nothing that is better than its start.

    Attributes:
        folder: of the run.
        line, version: its model's place in the store; version empty: the start was kept, which is no new model.
        kept: ``training``, or ``start`` or ``converted start`` where nothing was gained (`skcdf.fine_tune_kept`).
    """

    folder: Path
    line: str
    version: str
    kept: str = "training"

    @property
    def gained(self) -> bool:
        """Whether its model holds any training."""
        return self.kept == "training"

    @property
    def report(self) -> Path | None:
        """Its report; ``None`` where it is not there any more."""
        path = self.folder / REPORT_FILE
        return path if path.is_file() else None

    @property
    def comparison(self) -> Comparison | None:
        """Before and after; ``None`` where it is missing or damaged."""
        path = self.folder / COMPARISON_FILE
        try:
            return Comparison.from_json(files.read_json(path, "comparison"), str(path))
        except SkcdfError:
            return None

    @property
    def isDecided(self) -> bool:
        """Whether the user has said what is to become of it."""
        return (self.folder / DECISION_FILE).is_file()

    def keepOld(self) -> None:
        """Writes down that the old model is kept, so that it is not asked again.

        Raises:
            SkcdfError: the file cannot be written.
        """
        files.write_json(
            self.folder / DECISION_FILE, {"decision": "keep the old model", "when": files.utc_now()}
        )


def runOutcomes(project: Project) -> tuple[RunOutcome, ...]:
    """The project's trainings that came to their end, newest first. What cannot be read is none."""
    found = []
    for path in project.runs_folder.glob(f"*/{RUN_FILE}"):
        try:
            content = files.read_json(path, "run")
            begun = path.stat().st_mtime
        except (SkcdfError, OSError):
            continue
        outcome = runOutcome(path.parent, content)
        if outcome is not None:
            found.append((begun, outcome))
    return tuple(outcome for _begun, outcome in sorted(found, key=lambda each: each[0], reverse=True))


def runOutcome(folder: Path, content: Any) -> RunOutcome | None:
    """What a run's file, or the engine's ``result``, says of its outcome; ``None``: it has not come to its end.

    Args:
        folder: of the run.
        content: has ``name``, ``version`` and ``kept``.
    """
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        return None
    version, kept = content.get("version"), content.get("kept", "training")
    if isinstance(version, str):
        return RunOutcome(folder, content["name"], version, str(kept))
    return RunOutcome(folder, content["name"], "", kept) if kept == "start" else None


def runOfVersion(project: Project, line: str, version: str) -> RunOutcome | None:
    """The training that brought a version; ``None`` for one that came from elsewhere, or whose run was deleted."""
    named = (each for each in runOutcomes(project) if (each.line, each.version) == (line, version))
    return next(named, None)


def undecidedOutcome(project: Project) -> RunOutcome | None:
    """The newest training, if nobody has decided on it yet: its model is a candidate, or it has made none."""
    newest = next(iter(runOutcomes(project)), None)
    if newest is None or newest.isDecided:
        return None
    if not newest.version:
        return newest
    try:
        versions = project.store().versions(newest.line)
    except SkcdfError:
        return None
    state = next((each.state for each in versions if each.version == newest.version), None)
    return newest if state == "candidate" else None
