"""Does the review list point at the cases a model gets wrong, and does it learn more from them? On OpenKBP.

    python benchmarks/review.py DATA WORK --run base            # train on the 8 labelled cases, both methods
    python benchmarks/review.py DATA WORK --run correlation     # score against Dice, candidates and test cases
    python benchmarks/review.py DATA WORK --run learning        # five more cases: the first picks, any five
    python benchmarks/review.py --table                         # the tables of docs/review.md, from the records

DATA holds the folder ``openkbp``; WORK gets pool, models and caches. Every finished step is a small JSON in
``benchmarks/runs`` and is not computed again. The candidates are the 34 unlabelled cases in which six of the seven
organs were contoured (none has all seven); what was not contoured is unknown in training and not counted in Dice.
The form of the score was chosen on them; the 22 ``development_test`` cases chose nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from program import run
from skcdf.cases import Case
from skcdf.device import choose_device
from skcdf.files import write_json
from skcdf.image import read_image, read_label_map
from skcdf.inference import Predictor
from skcdf.labels import LabelSet
from skcdf.metrics import dice
from skcdf.models import ModelBundle, save_bundle
from skcdf.review import CaseFigures, rank_cases
from skcdf.trainer import Trainer, TrainingConfig, load_volume

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "benchmarks" / "runs"
LABELS = LabelSet.load("openkbp7")
COMMON = "--filters 8 --patch-size 32 32 32 --spacing 5 5 5 --mirror --validations 0 --seed 0"
BASES = {"supervised": "--iterations 800", "skcdf": "--iterations 400"}
PICKS = 5
DRAWS = 3
CHOICES = ("picks", "none", *(f"random{draw}" for draw in range(DRAWS)))
OVERLAP = 0.25
"""Of windows, here: half as long as with the usual 0.5."""
FURTHER = {"iterations": 100, "learning_rate": 0.02, "seed": 1}
"""Of every training on 8 + 5 cases; it starts from the model of the 8."""
PARTS = ("score", "entropy", "doubt", "disagreement", "missing")


def main() -> int:
    """Runs the steps that were asked for, or tabulates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("--run", nargs="+", choices=("base", "correlation", "learning"), default=[])
    parser.add_argument("--methods", nargs="+", choices=sorted(BASES), default=sorted(BASES, reverse=True))
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=CHOICES, help="of learning")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.run and not (options.data and options.work):
        parser.error("give DATA and WORK, or --table")
    for step in options.run:
        for method in ("supervised",) if step == "learning" else options.methods:
            if step == "learning":
                learn(options.choices, options.data, options.work)
            else:
                {"base": train_base, "correlation": correlate}[step](method, options.data, options.work)
    if options.table or not options.run:
        print(tables())
    return 0


def train_base(method: str, data: Path, work: Path) -> None:
    """The model of the 8 labelled cases, with the commands that a user would type."""
    if not (work / "openkbp" / "pool").exists():
        python(str(ROOT / "training" / "prepare_openkbp.py"), str(data / "openkbp"), str(work / "openkbp"))
    run = work / "runs" / method
    if not (run / "model").exists():
        settings = f"--name {method} --method {method} {BASES[method]} {COMMON}".split()
        python("-m", "skcdf", "train", str(work / "openkbp" / "pool"), str(run), *settings)


def python(*arguments: str) -> None:
    """Runs Python; an error ends the benchmark."""
    print("+ python", *arguments, flush=True)
    subprocess.run([sys.executable, *arguments], check=True)


def base(method: str, work: Path) -> ModelBundle:
    """The model that `train_base` made."""
    model = ModelBundle.load(work / "runs" / method / "model")
    return replace(model, inference=replace(model.inference, overlap=OVERLAP))


@cache
def cases(data: Path, part: str) -> tuple[Case, ...]:
    """Cases of a list of ``splits.json`` with the organs that were contoured; ``candidates``: see the file's head."""
    folder = data / "openkbp"
    lists = json.loads((folder / "splits.json").read_text())
    with (folder / "cases.csv").open() as stream:
        rows = {row["pt"]: row for row in csv.DictReader(stream)}
    columns = list(lists["labels"].values())
    found = []
    for name in sorted(lists["unlabelled" if part == "candidates" else part]):
        known = [
            organ for organ, column in zip(LABELS.names, columns, strict=True) if rows[name][column] != "-1"
        ]
        if part != "candidates" or len(known) == len(columns) - 1:
            image, label = (folder / kind / f"{name}.nii.gz" for kind in ("images", "labels"))
            found.append(Case(name, image, label, frozenset(known), name))
    return tuple(found)


def correlate(method: str, data: Path, work: Path) -> None:
    """Figures of the review list and Dice, case by case."""
    for part in ("candidates", "development_test"):
        file = RECORDS / f"review-{method}-{part}.json"
        if file.exists():
            continue
        predictor = Predictor(base(method, work), choose_device(), views=True)
        rows = []
        for index, case in enumerate(cases(data, part)):
            rows.append(measure(predictor, case))
            print(f"{method} {part} {index + 1}/{len(cases(data, part))}", flush=True)
        write_json(file, {"method": method, "cases": part, **machine(), "rows": rows})


def measure(predictor: Predictor, case: Case) -> dict[str, Any]:
    """Dice and the parts of the score, means over the organs that were contoured."""
    image = read_image(case.image)
    result = predictor.segment(image, places=1)
    other = predictor.examine(image).disagreement if predictor.has_views else ()
    score = CaseFigures(result.organs, other, result.windows).unsureness(whole=True)
    accuracy = organ_dice(result.label_map.array, case)
    organs = [organ for organ in result.organs if organ.organ in accuracy]
    differ = dict(zip(LABELS.names, other, strict=False))
    row: dict[str, Any] = {"case": case.name, "dice": mean(accuracy.values())}
    row["score"] = mean(score[organ.organ] for organ in organs if organ.organ in score)
    row["entropy"] = mean(organ.mean_entropy for organ in organs)
    row["doubt"] = mean(organ.doubt for organ in organs)
    row["missing"] = sum(not organ.found for organ in organs)
    if differ:
        row["disagreement"] = mean(
            1.0 if (value := differ[organ.organ]) is None else value for organ in organs
        )
    row["organs"] = " ".join(
        f"{name}={value:.3f}/{score.get(name, 0):.3f}" for name, value in accuracy.items()
    )
    return row


def organ_dice(found: np.ndarray, case: Case) -> dict[str, float]:
    """Dice of every contoured organ that is in one of the two label maps."""
    assert case.label is not None
    truth = read_label_map(case.label).array
    values = {}
    for label in LABELS.labels:
        one, other = found == label.value, truth == label.value
        if label.name in case.annotated and (one.any() or other.any()):
            values[label.name] = dice(one, other)
    return values


def mean(values: Any) -> float:
    """Rounded mean."""
    return round(float(np.mean(list(values))), 4)


def learn(choices: Sequence[str], data: Path, work: Path) -> None:
    """Further training with five more cases: the first five of the review list, or any five."""
    model = base("supervised", work)
    by_name = {case.name: case for case in cases(data, "candidates")}
    for choice in choices:
        file = RECORDS / f"review-learning-{choice}.json"
        if file.exists():
            continue
        names: list[str] = []
        if choice == "picks":
            hidden = [replace(case, label=None, annotated=frozenset()) for case in by_name.values()]
            names = [item.case for item in rank_cases(hidden, model, cache_folder=work / "cache")[:PICKS]]
        elif choice.startswith("random"):
            draw = np.random.default_rng(int(choice.removeprefix("random")))
            names = [str(name) for name in draw.choice(sorted(by_name), PICKS, replace=False)]
        print(f"{choice}: {' '.join(names)}", flush=True)
        outcome = train_further(model, data, [by_name[name] for name in names], work / choice)
        write_json(file, {"choice": choice, "added": names, **machine(), **outcome})


def train_further(model: ModelBundle, data: Path, more: Sequence[Case], folder: Path) -> dict[str, Any]:
    """Trains the model of the 8 on with 8 + ``more`` cases and returns its Dice on the test cases."""
    settings = json.loads((model.folder.parent / "settings.json").read_text())  # type: ignore[union-attr]
    config = replace(TrainingConfig.from_json(settings, "settings"), **FURTHER)
    volumes = [
        load_volume(case, LABELS, config.preprocessing, config.seed)
        for case in (*cases(data, "labelled"), *more)
    ]
    trainer = Trainer(config, LABELS, volumes, [], folder, choose_device())
    trainer.method.network.load_state_dict(model.load_weights(inference_only=True))
    trainer.run()
    bundle = save_bundle(folder / "model", model, trainer.weights())
    predictor = Predictor(bundle, choose_device())
    rows = {
        case.name: organ_dice(predictor.segment(read_image(case.image)).label_map.array, case)
        for case in cases(data, "development_test")
    }
    organs = {
        organ: mean(row[organ] for row in rows.values() if organ in row)
        for organ in LABELS.names
        if any(organ in row for row in rows.values())
    }
    return {
        "contoured": sorted(organ for case in more for organ in case.annotated),
        "dice": mean(organs.values()),
        "organs": organs,
        "cases": {name: mean(row.values()) for name, row in rows.items()},
    }


def machine() -> dict[str, Any]:
    """Where a figure was measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return {"commit": commit, "torch": torch.__version__}


def tables() -> str:
    """Markdown of all records."""
    lines = [
        f"| model | cases | {' | '.join(PARTS)} |",
        f"| --- | ---: | {' | '.join('---:' for _ in PARTS)} |",
    ]
    for file in sorted(RECORDS.glob("review-*-candidates.json")) + sorted(
        RECORDS.glob("review-*-development_test.json")
    ):
        record = json.loads(file.read_text())
        rows = record["rows"]
        cells = [spearman(rows, part) for part in PARTS]
        lines.append(
            f"| {record['method']} | {len(rows)} {record['cases'].replace('_', ' ')} | {' | '.join(cells)} |"
        )
    lines += ["", "| added | Dice of 22 | by organ |", "| --- | ---: | --- |"]
    for file in sorted(RECORDS.glob("review-learning-*.json")):
        record = json.loads(file.read_text())
        organs = ", ".join(f"{name} {value:.3f}" for name, value in record["organs"].items())
        lines.append(f"| {record['choice']} | {record['dice']:.4f} | {organs} |")
    return "\n".join(lines)


def spearman(rows: list[dict[str, Any]], part: str) -> str:
    """Correlation of a part with 1 − Dice over the cases; - where it does not vary."""
    values = [row.get(part) for row in rows]
    if None in values or len(set(values)) < 2:
        return "-"
    result = spearmanr(values, [1 - row["dice"] for row in rows])
    return f"{result.statistic:.2f}"


if __name__ == "__main__":
    run(main)
