"""``skcdf evaluate``: compare label maps with references, organ by organ."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..errors import SkcdfError

if TYPE_CHECKING:
    from ..image import Image
    from ..metrics import OrganScore, Statistic

SUMMARY = "Compare label maps with reference label maps: Dice and surface distances of every organ."
EXAMPLE = """examples:
  skcdf evaluate organs.nii.gz truth.nii.gz --labels synapse13
  skcdf evaluate results/ references/ --labels openkbp7 --output scores.json
  skcdf evaluate test/predictions test/labels --protocol synapse-skcdf-20p
In folders, files with the same name belong together."""

LARGEST = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("prediction", type=Path, help="label map, or folder of label maps")
    parser.add_argument("reference", type=Path, help="reference label map, or folder of them")
    parser.add_argument(
        "--require", type=float, metavar="DICE", help="fail when the five largest organs do worse"
    )
    labels = parser.add_mutually_exclusive_group(required=True)
    labels.add_argument("--labels", help="name or .json file of the label set")
    labels.add_argument(
        "--protocol",
        metavar="ID",
        help="published protocol: counts in its own way, too; see docs/protocols.md",
    )
    parser.add_argument(
        "--tolerance-mm", type=float, default=3.0, help="of the normalized surface Dice (default 3)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="S.json", help="write the scores of every case and their summary"
    )


def run(options: argparse.Namespace) -> int:
    """Evaluates; see `SUMMARY`."""
    from ..files import write_json
    from ..labels import LabelSet
    from ..metrics import evaluate_case, summarize
    from ..progress import Progress
    from ..protocols import Protocol
    from .console import ConsoleProgress
    from .published_figures import PublishedFigures

    protocol = Protocol.load(options.protocol) if options.protocol else None
    label_set = LabelSet.load(protocol.label_set if protocol else options.labels)
    pairs = _pairs(options.prediction, options.reference)
    published = PublishedFigures(protocol, [prediction for prediction, _ in pairs]) if protocol else None
    progress = ConsoleProgress()
    scores = {}
    for index, (prediction, reference) in enumerate(pairs):
        maps = _read_pair(prediction, reference)
        spacing = maps[1].geometry.array_spacing
        arrays = maps[0].array, maps[1].array
        scores[prediction.name] = evaluate_case(
            *arrays, label_set, spacing, tolerance_mm=options.tolerance_mm
        )
        if published:
            published.add(*arrays)
        progress(Progress("evaluate", index + 1, len(pairs)))
    summary = summarize(list(scores.values()))
    if protocol:
        print(f"protocol {protocol.id}: {protocol.title}")
    print(f"{len(pairs)} cases, normalized surface Dice at {options.tolerance_mm:g} mm")
    print(organ_table(list(scores.values())))
    dice = largest_organs_dice(list(scores.values()))
    print(f"mean Dice of the {LARGEST} largest organs: {dice:.3f}")
    if published:
        print(published.text(summary))
    if options.output:
        cases = {name: [score.to_json() for score in case] for name, case in scores.items()}
        report: dict[str, Any] = {"summary": [organ.to_json() for organ in summary], "cases": cases}
        if published:
            report["protocol"] = published.to_json()
        write_json(options.output, report)
    if options.require is not None and not dice >= options.require:
        raise SkcdfError(
            f"{options.prediction}: mean Dice of the {LARGEST} largest organs is {dice:.3f}, "
            f"less than the required {options.require:g}.",
            "Look at the label map; train longer.",
        )
    return 0


def largest_organs_dice(cases: Sequence[Sequence[OrganScore]]) -> float:
    """Mean Dice over the organs with the largest mean volume in the references; nan where nothing counts."""
    volumes: dict[str, list[float]] = {}
    dice: dict[str, list[float]] = {}
    for score in (score for case in cases for score in case if not math.isnan(score.dice)):
        volumes.setdefault(score.organ, []).append(score.reference_ml)
        dice.setdefault(score.organ, []).append(score.dice)
    largest = sorted(volumes, key=lambda organ: fmean(volumes[organ]), reverse=True)[:LARGEST]
    return fmean(fmean(dice[organ]) for organ in largest) if largest else math.nan


def organ_table(cases: Sequence[Sequence[OrganScore]]) -> str:
    """Mean ± standard deviation over cases of every organ, and how many cases each figure is made from."""
    from ..metrics import summarize
    from ..text_table import table

    rows = [["organ", "Dice", "ASD mm", "HD95 mm", "NSD", "n", "missed", "spurious"]]
    organs = summarize(cases)
    for organ in organs:
        figures = [
            _figure(organ.dice, 3),
            _figure(organ.average_surface_distance_mm, 2),
            _figure(organ.hausdorff95_mm, 1),
            _figure(organ.normalized_surface_dice, 3),
        ]
        rows.append([organ.organ, *figures, str(organ.counted), str(organ.missed), str(organ.spurious)])
    counted = [organ.dice.mean for organ in organs if organ.dice.n]
    mean = (
        f"mean Dice of {len(counted)} organs: {sum(counted) / len(counted):.3f}"
        if counted
        else "nothing to count"
    )
    return f"{table(rows)}\n{mean}"


def _figure(statistic: Statistic, digits: int) -> str:
    if not statistic.n:
        return "-"
    spread = f" ± {statistic.sd:.{digits}f}" if statistic.n > 1 else ""
    return f"{statistic.mean:.{digits}f}{spread}"


def _pairs(prediction: Path, reference: Path) -> list[tuple[Path, Path]]:
    from ..image import is_image_file

    if not prediction.is_dir():
        return [(prediction, reference)]
    if not reference.is_dir():
        raise SkcdfError(f"{reference}: is no folder, but {prediction} is.", "Give two files or two folders.")
    files = sorted(path for path in prediction.iterdir() if is_image_file(path))
    lacking = [path.name for path in files if not (reference / path.name).is_file()]
    if not files:
        raise SkcdfError(f"{prediction}: there is no label map in this folder.", "Check the path.")
    if lacking:
        raise SkcdfError(
            f"{reference}: has no {lacking[0]} (and {len(lacking) - 1} more are missing).",
            "Every prediction needs a reference of the same name.",
        )
    predicted = {path.name for path in files}
    left_out = sorted(
        path.name for path in reference.iterdir() if is_image_file(path) and path.name not in predicted
    )
    if left_out:
        print(f"warning: {len(left_out)} references have no prediction, {left_out[0]} first", file=sys.stderr)
    return [(path, reference / path.name) for path in files]


def _read_pair(prediction: Path, reference: Path) -> tuple[Image, Image]:
    from ..image import read_label_map

    first, second = read_label_map(prediction), read_label_map(reference)
    if not first.geometry.same_grid(second.geometry):
        raise SkcdfError(
            f"{prediction}: does not lie on the grid of {reference}.", "Resample one to the other first."
        )
    return first, second
