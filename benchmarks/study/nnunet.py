"""The opponent: nnU-Net v2 on the labelled cases alone, with its own plan, for as many epochs as it is given.

Its plan sees the labelled cases and nothing else. The validation cases of the data set are its fold's validation
cases, so that its curve is over the same cases as ours; no gradient sees them.

Converged is what meets all of `RULE`; else the row says "not converged" and no claim is made against it.
``NNUNET_EPOCHS`` gives the epochs of its schedule (100); a schedule of half as many is run first, as the rule needs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from skcdf.datasets import open_dataset
from skcdf.errors import SkcdfError
from skcdf.files import atomic_write, write_json

from .commands import Deadline, run_command
from .matrix import Run
from .records import Record, Records, described, scores_of
from .runs import Bench, begin, origin

CHILD = Path(__file__).with_name("nnunet_child.py")
TOLERANCE = 0.005
RULE = (
    f"its schedule was run to the end; over the last fifth of it the moving mean of its validation Dice rose by less "
    f"than {TOLERANCE:g}; and a schedule of half as many epochs ended less than {TOLERANCE:g} below it"
)
NUMBER = {"openkbp": 801, "hippocampus": 802}
_EPOCH = re.compile(r"Epoch (\d+)\s*$")
_DICE = re.compile(r"Pseudo dice \[(.*)\]")
_FIGURE = re.compile(r"nan|\d+\.\d+")


def wanted_epochs() -> int:
    """Epochs of the whole schedule."""
    text = os.environ.get("NNUNET_EPOCHS", "100")
    if not text.isdecimal() or int(text) < 2:
        raise SkcdfError(
            f"NNUNET_EPOCHS: must be a whole number of at least 2, is {text}.", "Mend or unset it."
        )
    return int(text)


def version_in(python: str) -> str:
    """The version of ``nnunetv2`` that a Python has; `SkcdfError` where it has none, or is no Python."""
    script = "from importlib.metadata import version; print(version('nnunetv2'))"
    hint = "Give --nnunet the Python of an environment with nnunetv2."
    try:
        done = subprocess.run(
            [python, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise SkcdfError(f"{python}: cannot be run ({error.strerror}).", hint) from error
    if done.returncode or not done.stdout.strip():
        raise SkcdfError(f"{python}: has no nnunetv2.", hint)
    return done.stdout.strip()


class Opponent:
    """Runs nnU-Net.

    Args:
        bench: where.
        python: that of an environment with ``nnunetv2``.

    Raises:
        SkcdfError: it has none, or ``NNUNET_EPOCHS`` is no number of epochs.
    """

    def __init__(self, bench: Bench, python: str) -> None:
        self.bench, self.python = bench, python
        self.version, self.epochs = version_in(python), wanted_epochs()

    def is_done(self, run: Run, records: Records) -> bool:
        """Whether nothing would be gained: the schedule that is wanted is run."""
        record = records.of(run)
        return record is not None and record["epochs"]["scheduled"] >= self.epochs

    def carry_out(self, run: Run) -> Record:
        """Plans, trains both schedules, segments and evaluates; goes on where it was interrupted.

        Raises:
            OutOfTimeError: the deadline came; call again.
            CommandFailedError: a command failed.
        """
        epochs = self.epochs
        root = self.bench.work / "nnunet" / run.dataset
        self._prepare(run.dataset, root)
        curves = {each: self._train(run, root, each) for each in (epochs // 2, epochs)}
        return {
            **described(run),
            **origin(),
            "nnunetv2": self.version,
            "epochs": {"scheduled": epochs, "run": len(curves[epochs])},
            "status": "converged" if has_converged(curves, epochs) else "not converged",
            "rule": RULE,
            "curves": {str(each): curve for each, curve in curves.items()},
            "training": {"seconds": train_seconds(_fold(root, epochs)), "device": _device(run)},
            "test": self._test(run, root, epochs),
        }

    def _train(self, run: Run, root: Path, epochs: int) -> list[float]:
        """Trains to the end of a schedule, with a folder of results of its own; returns its curve."""
        where = ("nnUNetv2_train", NUMBER[run.dataset], "3d_fullres", 0, "-device", _device(run))
        steps = os.environ.get("NNUNET_STEPS", "as it comes")  # heard by the child
        begin(_results(root, epochs), f"{shlex.join(map(str, where))}, NNUNET_STEPS: {steps}")
        if not (_fold(root, epochs) / "checkpoint_final.pth").exists():
            self._child(root, epochs, *where, "--c")
        return read_curve(_fold(root, epochs))

    def _test(self, run: Run, root: Path, epochs: int) -> Record:
        test = self.bench.prepared(run.dataset) / "test"
        # beside the weights that they are of, to be deleted with them
        images, found = root / "images", _results(root, epochs) / "predictions"
        images.mkdir(exist_ok=True)
        for file in sorted((test / "images").iterdir()):
            target = images / file.name.replace(".nii.gz", "_0000.nii.gz")
            if not target.exists():
                copy_whole(file, target)
        scores = _results(root, epochs) / "scores.json"
        if not scores.exists():
            where = ("-d", NUMBER[run.dataset], "-c", "3d_fullres", "-f", 0, "-device", _device(run))
            self._child(root, epochs, "nnUNetv2_predict", "-i", images, "-o", found, *where)
            how = self.bench.evaluation(run.dataset)
            evaluate = ("-m", "skcdf", "evaluate", found, test / "labels", *how, "--output", scores)
            run_command(evaluate, self.bench.deadline)
        return scores_of(json.loads(scores.read_text(encoding="utf-8")))

    def _prepare(self, dataset: str, root: Path) -> None:
        """The plan of the labelled cases, then all cases preprocessed by it."""
        name = f"Dataset{NUMBER[dataset]}_{dataset}"
        raw, preprocessed = root / "raw" / name, root / "preprocessed" / name
        if (preprocessed / "splits_final.json").exists():
            return
        cases = open_dataset(self.bench.prepared(dataset) / "pool")
        labelled, validation = ([each.name for each in part] for part in (cases.labelled, cases.validation))
        copy_cases((*cases.labelled, *cases.validation), raw)
        description = json.loads((self.bench.prepared(dataset) / "pool" / "dataset.json").read_text())
        kept = {key: description[key] for key in ("channel_names", "labels", "file_ending")}
        write_json(raw / "dataset.json", {**kept, **members(labelled)})
        number = ("-d", NUMBER[dataset])
        self._child(root, 0, "nnUNetv2_extract_fingerprint", *number, "--verify_dataset_integrity", "-np", 2)
        self._child(root, 0, "nnUNetv2_plan_experiment", *number)
        for folder in (raw, preprocessed):
            write_json(folder / "dataset.json", {**kept, **members(labelled + validation)})
        self._child(root, 0, "nnUNetv2_preprocess", *number, "-c", "3d_fullres", "-np", 2)
        write_json(preprocessed / "splits_final.json", [{"train": labelled, "val": validation}])

    def _child(self, root: Path, epochs: int, *arguments: object) -> None:
        environment = {
            "nnUNet_raw": str(root / "raw"),
            "nnUNet_preprocessed": str(root / "preprocessed"),
            "nnUNet_results": str(_results(root, epochs)),
            "NNUNET_EPOCHS": str(epochs),
        }
        # what has no epochs is planning: a minute or two, half of which is of no use
        deadline = self.bench.deadline if epochs else Deadline()
        run_command([CHILD, *arguments], deadline, environment, self.python)


def _device(run: Run) -> str:
    return "cuda" if run.scale == "gpu" else "cpu"


def _results(root: Path, epochs: int) -> Path:
    """All that comes of a schedule."""
    return root / f"results_{epochs}"


def _fold(root: Path, epochs: int) -> Path:
    """Where nnU-Net keeps it."""
    found = sorted(_results(root, epochs).glob("*/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"))
    return found[0] if found else root / "none"


def copy_cases(cases: tuple[Any, ...], raw: Path) -> None:
    """Images and label maps under the names that nnU-Net expects."""
    for folder in ("images", "labels"):
        (raw / folder).mkdir(parents=True, exist_ok=True)
    for case in cases:
        copy_whole(case.image, raw / "images" / f"{case.name}_0000.nii.gz")
        copy_whole(case.label, raw / "labels" / f"{case.name}.nii.gz")


def copy_whole(source: Path, target: Path) -> None:
    """A copy that is there whole or not at all: one that is there is not made again."""
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def members(names: list[str]) -> Record:
    """The part of ``dataset.json`` that names the cases."""
    cases = {
        name: {"images": [f"images/{name}_0000.nii.gz"], "label": f"labels/{name}.nii.gz"} for name in names
    }
    return {"numTraining": len(names), "dataset": cases}


def read_curve(results: Path) -> list[float]:
    """Mean validation Dice of every epoch, from nnU-Net's own logs; a repeated epoch counts as it ran last."""
    epochs: dict[int, float] = {}
    for file in sorted(results.glob("training_log_*.txt"), key=lambda each: each.stat().st_mtime):
        epoch = -1
        for line in file.read_text(encoding="utf-8").splitlines():
            if found := _EPOCH.search(line):
                epoch = int(found[1])
            elif found := _DICE.search(line):
                figures = [float(each) for each in _FIGURE.findall(found[1]) if each != "nan"]
                epochs[epoch] = round(sum(figures) / len(figures), 4) if figures else 0.0
    return [epochs[epoch] for epoch in sorted(epochs)]


def train_seconds(results: Path) -> float:
    """Sum of the epochs' times in nnU-Net's logs."""
    pattern = re.compile(r"Epoch time: (\d+\.?\d*) s")
    logs = (file.read_text(encoding="utf-8") for file in results.glob("training_log_*.txt"))
    return round(sum(float(found) for log in logs for found in pattern.findall(log)), 1)


def moving_mean(curve: list[float], weight: float = 0.9) -> list[float]:
    """As nnU-Net smooths its validation Dice."""
    smooth: list[float] = []
    for value in curve:
        smooth.append(value if not smooth else weight * smooth[-1] + (1 - weight) * value)
    return smooth


def has_converged(curves: dict[int, list[float]], epochs: int) -> bool:
    """Whether the run of ``epochs`` meets `RULE`; ``curves`` holds it and that of half as many."""
    whole, half = moving_mean(curves[epochs]), moving_mean(curves[epochs // 2])
    if len(whole) < epochs or len(half) < epochs // 2 or epochs < 10:
        return False
    late = len(whole) - epochs // 5
    return max(whole[late:]) - max(whole[:late]) < TOLERANCE and whole[-1] - half[-1] < TOLERANCE
