"""What couch, head-rest and air noise do to a model's accuracy: the same scans without and with them.

    python benchmarks/surroundings.py TEST MODEL [--labels openkbp7]

TEST has ``images/`` and ``labels/`` (``training/prepare_openkbp.py`` makes it), with CT scans that hold one value
outside the body. Into every scan a couch or head-rest and noise are painted as trainings with ``--surroundings`` do,
with scenes that no training drew; labels stay. Scans that show real air are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from program import run
from skcdf.image import Image, read_image, read_label_map
from skcdf.inference import Predictor
from skcdf.labels import LabelSet
from skcdf.metrics import OrganScore, evaluate_case, summarize
from skcdf.models import find_model
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer.surroundings import Scene, draw_scene, surroundings_of

SEED = 20_000
"""Trainings draw their scenes by case and step from seeds of their own."""
HOUNSFIELD = Intensity("window", -1100.0, 4000.0, 0.0, 1.0)
"""Leaves HU as they are, so that a scan is painted on its own grid."""


def main() -> None:
    """Prints mean Dice of every organ without and with surroundings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("test", type=Path, metavar="TEST")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--labels", default="openkbp7")
    options = parser.parse_args()
    label_set, predictor = LabelSet.load(options.labels), Predictor(find_model(options.model))
    bare: list[tuple[OrganScore, ...]] = []
    painted: list[tuple[OrganScore, ...]] = []
    for index, file in enumerate(sorted((options.test / "images").iterdir())):
        scan, truth = read_image(file), read_label_map(options.test / "labels" / file.name)
        around = with_surroundings(scan, scene_with_support(SEED + index))
        if around is None:
            print(f"{file.name}: shows real air, left out", flush=True)
            continue
        for each, scores in ((scan, bare), (around, painted)):
            found = predictor.segment(each).label_map.array
            scores.append(evaluate_case(found, truth.array, label_set, truth.geometry.array_spacing))
        print(f"{file.name}: {mean_dice(bare[-1]):.3f} {mean_dice(painted[-1]):.3f}", flush=True)
    print(f"{len(bare)} cases, mean Dice without and with surroundings")
    for without, beside in zip(summarize(bare), summarize(painted), strict=True):
        print(f"{without.organ:24} {without.dice.mean:.3f} {beside.dice.mean:.3f}")


def scene_with_support(seed: int) -> Scene:
    """The first scene of a seed that holds a couch or a head-rest."""
    rng = np.random.default_rng(seed)
    while not (scene := draw_scene(rng)).supports:
        pass
    return scene


def with_surroundings(scan: Image, scene: Scene) -> Image | None:
    """``scan`` with a scene painted into its air; ``None`` where that is real air."""
    spacing = scan.geometry.array_spacing
    plan = PreprocessingPlan(HOUNSFIELD, spacing=spacing)
    placement = plan.placement(scan)
    if not placement.model_geometry.same_grid(scan.geometry):
        raise SystemExit(f"{scan.source}: only scans whose axes are those of the patient are painted here")
    raw = plan.resample(scan, placement)
    around = surroundings_of(scan, placement, raw, None, HOUNSFIELD)
    if around is None:
        return None
    around.paint(raw, (0, 0, 0), scene)
    return Image(raw.astype(scan.array.dtype), scan.geometry, scan.source)


def mean_dice(scores: tuple[OrganScore, ...]) -> float:
    """Over the organs that count."""
    return float(np.nanmean([score.dice for score in scores]))


if __name__ == "__main__":
    run(main)
