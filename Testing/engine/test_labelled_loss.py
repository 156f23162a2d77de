"""`--loss` chooses the loss of labelled patches for every method, and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from skcdf.cli import main
from skcdf.errors import SkcdfError
from skcdf.ga_losses import ga_loss
from skcdf.losses import cross_entropy_and_dice
from skcdf.methods import METHODS, Batch, Method, Moment, Problem, build_method
from skcdf.methods.labelled_loss import LabelledLoss
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import TrainingConfig

SIZE = (32, 32, 32)
COUNTS = np.array([[9e4, 900.0, 100.0], [9e4, 1100.0, np.nan]])
CONFIG = TrainingConfig(PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1)))
LABELLED = {"supervised", "labelled", "labelled_second"}


def made(method: str, loss: str) -> Method:
    torch.manual_seed(0)
    return build_method(method, Problem(1, 3, 2, SIZE, ("background", "a", "b"), COUNTS, loss))


def losses(method: str, loss: str) -> dict[str, float]:
    """Of one step; all random draws are the same every time."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(3, 1, *SIZE, generator=generator)
    labels = torch.randint(2, (2, *SIZE), generator=generator).to(torch.uint8)
    annotated = torch.tensor([[True, True, True], [True, True, False]])
    chosen = made(method, loss)
    torch.manual_seed(1)
    groups = chosen.losses(Batch(images[:2], labels, annotated, images[2:]), Moment(0.7, 0.7))
    return {name: float(value.detach()) for group in groups for name, value in group.items()}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_it_for_its_labelled_patches_alone(method):
    plain, aware = losses(method, "ce_dice"), losses(method, "ga")
    assert plain.keys() == aware.keys()
    changed = {name for name in plain if plain[name] != aware[name]}
    assert changed == LABELLED & plain.keys() != set()


def test_its_names_stand_for_these_functions():
    logits = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    labels, annotated = torch.arange(128).view(2, 4, 4, 4) % 3, torch.ones(2, 3, dtype=torch.bool)
    plain, aware = (LabelledLoss(name, 0.3)(logits, labels, annotated) for name in ("ce_dice", "ga"))
    assert torch.equal(plain, cross_entropy_and_dice(logits, labels, annotated, 0.3))
    assert torch.equal(aware, ga_loss(logits, labels, annotated))


def test_what_a_voxel_counts_follows_its_own_balance():
    assert LabelledLoss("ce_dice", 0.0).voxel_weights(COUNTS) == pytest.approx((1, 90, 900))
    assert LabelledLoss("ga", 0.0).voxel_weights(COUNTS) == pytest.approx((1, 90**0.5, 900**0.5))
    assert LabelledLoss("ga", 0.0).voxel_weights(np.empty((0, 0))) == ()


def test_a_loss_that_does_not_exist_is_refused():
    with pytest.raises(SkcdfError, match="no loss called focal") as refused:
        replace(CONFIG, loss="focal")
    assert "ce_dice, ga" in refused.value.hint


def test_settings_of_before_the_choice_mean_the_plain_loss():
    stored = CONFIG.to_json()
    del stored["loss"]
    assert TrainingConfig.from_json(stored, "settings.json") == CONFIG


@pytest.mark.slow
def test_the_command_keeps_it_in_the_settings_of_the_run(tmp_path, capsys):
    sizes = ["--shape", "40", "40", "48", "--spacing", "7", "9", "9"]
    assert main(["phantom", str(tmp_path / "pool"), "--labelled", "1", "--validation", "0", *sizes]) == 0
    small = "--iterations 2 --filters 2 --patch-size 32 32 32 --spacing 7 9 9 --minutes 0.1 --batch-size 1"
    command = ["train", str(tmp_path / "pool"), str(tmp_path / "run"), "--loss", "ga", *small.split()]
    assert main(command) == 0
    assert '"loss": "ga"' in (tmp_path / "run" / "settings.json").read_text("utf-8")
    assert main([*command, "--loss", "ce_dice"]) == 1
    assert "other settings" in capsys.readouterr().err
