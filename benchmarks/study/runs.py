"""Carries out one run: train, and segment and evaluate the test cases where they are wanted; then its record."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import torch

from skcdf import __version__
from skcdf.errors import SkcdfError
from skcdf.files import read_json, write_text
from skcdf.lock import lock_owner
from skcdf.run_folder import LOCK_FILE
from skcdf.trainer.checkpoint import FILE_NAME, TrainingState, read_state

from .commands import CommandFailedError, Deadline, run_command, skcdf
from .matrix import Matrix, Run
from .records import Record, described, scores_of

ROOT = Path(__file__).resolve().parents[2]
BEGUN = "command.txt"
"""In a run's folder: the command that it was begun with."""


class Bench:
    """Where runs are carried out.

    Args:
        matrix: what is compared.
        data: holds a folder for each data set.
        work: gets pools, runs and predictions.
        deadline: when everything stops, to be gone on with later.
    """

    def __init__(self, matrix: Matrix, data: Path, work: Path, deadline: Deadline) -> None:
        self.matrix, self.data, self.work, self.deadline = matrix, data, work, deadline

    def prepared(self, dataset: str) -> Path:
        """Folder with the data set's ``pool`` and ``test``, made where it is missing.

        Raises:
            SkcdfError: it cannot be made.
        """
        folder, source = self.work / dataset, self.data / dataset
        if not (folder / "pool").exists():
            if not source.is_dir():
                raise SkcdfError(
                    f"{source}: there is no such folder.", "DATA must hold one for each data set."
                )
            try:
                run_command([ROOT / "training" / f"prepare_{dataset}.py", source, folder], Deadline())
            except CommandFailedError as error:
                raise SkcdfError(
                    f"{source}: cannot be prepared ({error}).", "See what is said above."
                ) from error
        return folder

    def carry_out(self, run: Run, iterations: int, test: bool) -> Record:
        """Trains and, with ``test``, segments and evaluates; whatever of it is done already is not done again.

        Raises:
            OutOfTimeError: the deadline came; call again.
            CommandFailedError: a command failed.
            SkcdfError: the run's folder holds another training, or another program trains in it.
        """
        prepared, folder = self.prepared(run.dataset), self.work / "runs" / run.name
        arguments = self.matrix.arguments(run, iterations)
        command = command_of(arguments)
        begin(folder, command)
        if not (folder / "trained").exists():
            self._skcdf(run, folder, "train", prepared / "pool", folder, "--name", run.name, *arguments)
            (folder / "trained").touch()
        record = self._record(run, folder, command)
        if test:
            record["test"] = self._test(run, prepared / "test", folder)
            record["testing"] = summed(parts_of(folder), "segment")
        return record

    def evaluation(self, dataset: str) -> tuple[object, ...]:
        """Arguments of ``skcdf evaluate`` for a data set."""
        content = self.matrix.datasets[dataset]
        return ("--labels", content["labels"], "--tolerance-mm", content["tolerance_mm"])

    def _test(self, run: Run, test: Path, folder: Path) -> Record:
        predictions, scores = folder / "predictions", folder / "scores.json"
        if not scores.exists():
            device = shlex.split(self.matrix.scales[run.scale]["arguments"])
            self._skcdf(
                run, folder, "segment", test / "images", predictions, "--model", folder / "model", *device
            )
            how = self.evaluation(run.dataset)
            self._skcdf(run, folder, "evaluate", predictions, test / "labels", *how, "--output", scores)
        return scores_of(json.loads(scores.read_text(encoding="utf-8")))

    def _skcdf(self, run: Run, folder: Path, *arguments: object) -> None:
        threads = self.matrix.scales[run.scale]["threads"]
        environment = {"OMP_NUM_THREADS": str(threads)} if threads else None
        skcdf(folder / "parts", arguments, self.deadline, environment)

    def _record(self, run: Run, folder: Path, command: str) -> Record:
        state = read_state(folder / FILE_NAME)
        return {
            **described(run),
            "command": command,
            **origin(),
            "iterations": state.iteration,
            "training": trained(summed(parts_of(folder), "train"), state.seconds),
            "validation": validation_of(state),
            "config": state.config,
        }


def command_of(arguments: list[str]) -> str:
    """The training as a user would type it."""
    return shlex.join(["skcdf", "train", "OUT/pool", "OUT/run", *arguments])


def begin(folder: Path, command: str) -> None:
    """Makes a run's folder, or sees to it that what lies there was begun with ``command`` and is not being trained.

    Raises:
        SkcdfError: it was not, or it is.
    """
    # asked before a command starts: one that is refused would add its seconds to the run's
    owner = lock_owner(folder / LOCK_FILE)
    if owner is not None and not owner.is_dead:
        raise SkcdfError(f"{folder}: is held by {owner}.", "Wait until it is done, or stop that program.")
    file = folder / BEGUN
    if not file.exists() and not (folder.is_dir() and any(folder.iterdir())):
        write_text(file, command + "\n")
        return
    begun = file.read_text(encoding="utf-8", errors="replace").strip() if file.exists() else "(not known)"
    if begun != command:
        raise SkcdfError(
            f"{folder}: holds a training of other settings: {begun}; wanted is {command}.",
            "Delete it or give another WORK.",
        )


def parts_of(folder: Path) -> list[dict[str, Any]]:
    """What the commands of a run took, in order."""
    return [read_json(file, "part of a run") for file in sorted((folder / "parts").glob("[0-9]*.json"))]


def summed(parts: list[dict[str, Any]], command: str) -> Record:
    """What all parts of one command took together: times are added, of memory the most counts."""
    own = [part for part in parts if part["command"] == command]
    loads = [load for part in own for load in part["load"] if load is not None]
    gpu = [part["gpu_gib"] for part in own if part["gpu_gib"]]
    return {
        "seconds": round(sum(part["seconds"] for part in own), 1),
        "cpu_seconds": round(sum(part["cpu_seconds"] for part in own), 1),
        "resident_gib": max(part["resident_gib"] or 0.0 for part in own),
        "gpu_gib": max(gpu) if gpu else None,
        "device": own[-1]["device"],
        "threads": own[-1]["threads"],
        "load": [min(loads), max(loads)] if loads else None,
        "parts": len(own),
    }


def trained(training: Record, loop_seconds: float) -> Record:
    """What a training took, with the time of its loop: validations included, loading and planning not.

    These come again with every part of an interrupted run, so the loop's time is what runs are compared by. Its CPU
    time is its share of that of all parts: at most 1, though a part that was ended by force lacks its last seconds.
    """
    share = min(1.0, loop_seconds / training["seconds"]) if training["seconds"] else 0.0
    loop = {
        "loop_seconds": round(min(loop_seconds, training["seconds"]), 1),
        "loop_cpu_seconds": round(training["cpu_seconds"] * share, 1),
    }
    return {**training, **loop}


def validation_of(state: TrainingState) -> Record:
    """The ``validation`` part of a record: the curve, and the best one, whose weights were kept."""
    best = state.best
    if best is None:
        raise ValueError("the run has no validation")
    organs = {organ: None if dice is None else round(dice, 4) for organ, dice in best[2].items()}
    return {
        "best": {"iteration": best[0], "dice": round(best[1], 4), "organs": organs},
        "curve": [[iteration, round(dice, 4)] for iteration, dice, _ in state.validations],
    }


def origin() -> Record:
    """Where and when a figure was measured."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "date": date.today().isoformat(),
        "commit": commit,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "skcdf": __version__,
    }
