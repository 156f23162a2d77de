"""Organs that were not annotated in a case are learnt from the others, and found in that case, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from skcdf.device import Device
from skcdf.labels import LabelSet
from skcdf.metrics import dice
from skcdf.networks import build_network
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import Trainer, TrainingConfig, TrainingVolume

LABELS = LabelSet.from_names("toy", ["spleen", "liver"])
CONFIG = TrainingConfig(
    PreprocessingPlan(Intensity("z_score"), spacing=(2.0, 2.0, 2.0)),
    patch_size=(32, 32, 32),
    filters=4,
    iterations=40,
    learning_rate=0.1,
    foreground_fraction=0.0,
    method_options={"gamma": 1.0},
    augmentation="none",
    validations=0,
)


def make_volume(scan: int, annotated: str = "") -> tuple[TrainingVolume, np.ndarray]:
    """A scan of a patch's size with a bright spleen and a dark liver, of which one or none is annotated; its truth."""
    rng = np.random.default_rng(scan)
    truth = np.zeros((32, 32, 32), np.uint8)
    for value, row in enumerate(rng.integers(1, 19, 2), 1):
        truth[row : row + 12, 4:28, 16 * value - 13 : 16 * value - 1] = value
    tissue = np.choose(truth, (0.0, 1.5, -1.5)) + (0.3, 0.0, 0.1, 0.2)[scan % 4]  # no two scanners are alike
    image = (tissue + rng.normal(0, 0.2, truth.shape)).astype(np.float16)
    known = np.array([True, annotated == "spleen", annotated == "liver"])
    labels = np.where(known[truth], truth, 0).astype(np.uint8)
    locations = tuple(np.argwhere(labels == value) for value in range(3))
    return TrainingVolume(f"case{scan}", f"hash{scan}", image, labels, known, locations), truth


def train(config: TrainingConfig, folder: Path, device: Device, handled: bool) -> tuple[Trainer, np.ndarray]:
    """Trains with the spleen annotated in the first scan alone and the liver in the second.

    Args:
        handled: whether the training knows what was annotated; else it takes unknown for background.

    Returns:
        The trainer, and Dice ``(scan, organ)``.
    """
    (first, *truths), (second, *more) = make_volume(0, "spleen"), make_volume(1, "liver")
    everything = np.ones(3, bool)
    volumes = [first, second] if handled else [replace(v, annotated=everything) for v in (first, second)]
    unlabelled = [replace(make_volume(scan)[0], labels=None, locations=()) for scan in range(2, 10)]
    trainer = Trainer(config, LABELS, volumes, unlabelled, folder, device)
    trainer.run()
    weights, keys = trainer.weights(), trainer.method.inference_keys()
    network = build_network(*trainer.method.inference_network()).eval()
    network.load_state_dict(weights if keys == "all" else {key: weights[key] for key in keys})
    rows = []
    for volume, truth in zip(volumes, [*truths, *more], strict=True):
        with torch.inference_mode():
            image = torch.from_numpy(volume.image.astype(np.float32))[None, None]
            found = network(image)[0].argmax(0).numpy()
        rows.append([dice(found == value, truth == value) for value in (1, 2)])
    return trainer, np.array(rows)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "skcdf"])
def test_an_organ_is_found_in_the_scan_that_did_not_annotate_it(method, device, tmp_path):
    """The spleen of the second scan and the liver of the first, which unknown taken for background loses."""
    config = CONFIG
    if method == "skcdf":
        options = {"gamma": 1.0, "ema": 0.9, "dropout": 0.0, "ramp_weight": 1.0}
        config = replace(CONFIG, method=method, iterations=50, method_options=options)
    trainer, right = train(config, tmp_path / "right", device, handled=True)
    _, wrong = train(config, tmp_path / "wrong", device, handled=False)
    annotated, unknown = ([0, 1], [0, 1]), ([0, 1], [1, 0])
    assert right[annotated].min() > 0.7
    # wide margins: over seeds SKCDF's short training reaches 0.55 to 0.97, wrong handling 0.02 to 0.47
    assert right[unknown].mean() > 0.4
    assert right[unknown].mean() - wrong[unknown].mean() > 0.2
    losses = [next(iter(parts.values())) for _, _, parts in trainer.state.history]  # the labelled main head's
    assert losses[-1] < 0.5 * losses[0]
