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
FURTHER = {"iterations": 150, "learning_rate": 0.02, "seed": 1}
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
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.run and not (options.data and options.work):
        parser.error("give DATA and WORK, or --table")
    for step in options.run:
        for method in ("supervised",) if step == "learning" else options.methods:
            {"base": train_base, "correlation": correlate, "learning": learn}[step](
                method, options.data, options.work
            )
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
    return ModelBundle.load(work / "runs" / method / "model")


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
    examined = predictor.examine(image)
    figures = CaseFigures(examined.organs, examined.disagreement, examined.windows)
    accuracy = organ_dice(predictor, case)
    score = figures.unsureness(examined.whole)
    organs = [organ for organ in examined.organs if organ.organ in accuracy]
    differ = dict(zip(LABELS.names, examined.disagreement, strict=False))
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


def organ_dice(predictor: Predictor, case: Case) -> dict[str, float]:
    """Dice of every contoured organ that is in one of the two label maps."""
    assert case.label is not None
    truth = read_label_map(case.label).array
    found = predictor.segment(read_image(case.image)).label_map.array
    values = {}
    for label in LABELS.labels:
        one, other = found == label.value, truth == label.value
        if label.name in case.annotated and (one.any() or other.any()):
            values[label.name] = dice(one, other)
    return values


def mean(values: Any) -> float:
    """Rounded mean."""
    return round(float(np.mean(list(values))), 4)


def learn(method: str, data: Path, work: Path) -> None:
    """Further training with five more cases: the first five of the review list, and any five."""
    model = base(method, work)
    candidates = cases(data, "candidates")
    hidden = [replace(case, label=None, annotated=frozenset()) for case in candidates]
    items = rank_cases(hidden, model, cache_folder=work / "cache")
    by_name = {case.name: case for case in candidates}
    choices = {"picks": [item.case for item in items[:PICKS]], "none": []}
    for draw in range(DRAWS):
        chosen = np.random.default_rng(draw).choice(sorted(by_name), PICKS, replace=False)
        choices[f"random{draw}"] = [str(name) for name in chosen]
    for name, names in choices.items():
        file = RECORDS / f"review-{method}-learning-{name}.json"
        if not file.exists():
            print(f"{method} {name}: {' '.join(names)}", flush=True)
            trained = train_further(method, model, data, [by_name[each] for each in names], work / name)
            write_json(file, {"method": method, "choice": name, "added": names, **machine(), **trained})


def train_further(
    method: str, model: ModelBundle, data: Path, more: Sequence[Case], folder: Path
) -> dict[str, Any]:
    """Trains the model of the 8 on with 8 + ``more`` cases and returns its Dice on the test cases."""
    settings = json.loads((model.folder.parent / "settings.json").read_text())  # type: ignore[union-attr]
    config = replace(TrainingConfig.from_json(settings, "settings"), method="supervised", **FURTHER)
    config = replace(config, method_options={})
    volumes = [
        load_volume(case, LABELS, config.preprocessing, config.seed)
        for case in (*cases(data, "labelled"), *more)
    ]
    trainer = Trainer(config, LABELS, volumes, [], folder / method, choose_device())
    trainer.method.network.load_state_dict(model.load_weights(inference_only=True))
    trainer.run()
    overlap = replace(model.inference, overlap=0.25)
    bundle = save_bundle(folder / method / "model", replace(model, inference=overlap), trainer.weights())
    predictor = Predictor(bundle, choose_device())
    rows = {case.name: organ_dice(predictor, case) for case in cases(data, "development_test")}
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
    lines += ["", "| model | added | Dice of 22 | by organ |", "| --- | --- | ---: | --- |"]
    for file in sorted(RECORDS.glob("review-*-learning-*.json")):
        record = json.loads(file.read_text())
        organs = ", ".join(f"{name} {value:.3f}" for name, value in record["organs"].items())
        lines.append(f"| {record['method']} | {record['choice']} | {record['dice']:.4f} | {organs} |")
    return "\n".join(lines)


def spearman(rows: list[dict[str, Any]], part: str) -> str:
    """Correlation of a part with 1 − Dice over the cases; - where it does not vary."""
    values = [row.get(part) for row in rows]
    if None in values or len(set(values)) < 2:
        return "-"
    result = spearmanr(values, [1 - row["dice"] for row in rows])
    return f"{result.statistic:.2f}"


if __name__ == "__main__":
    sys.exit(main())
