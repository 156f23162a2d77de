"""What a training tells while it runs, seen by whoever listens."""

from __future__ import annotations

import pytest
import toy_fine_tuning
from toy_fine_tuning import LABELS, SIDE, Member, make_pool, tuned

from skcdf.errors import Cancelled
from skcdf.progress import CancelToken
from skcdf.trainer import trainer as trainer_module
from skcdf.training_figures import ClassBalance, CurvePoint

cases, quick = toy_fine_tuning.cases, toy_fine_tuning.quick
SETTINGS = {
    "iterations": 4,
    "validations": 2,
    "batch_size": 1,
    "unlabelled_batch_size": 1,
    "filters": 2,
    "patch_size": (32, 32, 32),
    "spacing": (2.0, 2.0, 2.0),
}


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A point of the curve every second step, not every twentieth."""
    monkeypatch.setattr(trainer_module, "HISTORY_STEP", 2)


@pytest.fixture
def pool(tmp_path, cases):
    members = [Member(cases[0]), Member(cases[1], annotated=None), Member(cases[2], "validation")]
    return make_pool(tmp_path / "pool", members)


def listen(pool, run, **more):
    """The figures of one training, and those of its sessions apart."""
    figures = []
    tuned(pool, run, settings=SETTINGS, observe=figures.append, **more)
    return figures


def points(figures):
    return [each for each in figures if isinstance(each, CurvePoint)]


@pytest.mark.parametrize("method", ["supervised", pytest.param("skcdf", marks=pytest.mark.slow)])
def test_curves_have_losses_that_are_the_sum_of_their_parts_and_validations_with_every_organ(
    pool, tmp_path, method
):
    found = points(listen(pool, tmp_path / "run", method=method))
    losses = [point for point in found if point.loss is not None]
    validations = [point for point in found if point.dice is not None]
    assert [point.iteration for point in losses] == [2, 4]
    assert all(point.loss == pytest.approx(sum(point.parts.values())) for point in losses)
    assert [point.iteration for point in validations][-1] == 4
    assert all(set(point.organs) == set(LABELS.names) for point in validations)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "power"), [("supervised", 0.5), ("skcdf", 1.0)])
def test_the_balance_says_what_a_voxel_of_each_organ_counts_against_background(pool, tmp_path, method, power):
    figures = listen(pool, tmp_path / "run", method=method)
    (balance,) = (each for each in figures if isinstance(each, ClassBalance))
    background = SIDE**3 - sum(balance.voxels)
    assert tuple(balance.names) == LABELS.names
    assert balance.weights == pytest.approx([(background / voxels) ** power for voxels in balance.voxels])


@pytest.mark.slow
def test_a_resumed_training_tells_its_earlier_points_first_and_none_twice(pool, tmp_path):
    token, heard = CancelToken(), []

    def stop_after_two(figures):
        heard.append(figures)
        if isinstance(figures, CurvePoint) and figures.iteration == 2 and figures.loss is not None:
            token.cancel()

    with pytest.raises(Cancelled):
        tuned(
            pool,
            tmp_path / "run",
            method="supervised",
            settings=SETTINGS,
            observe=stop_after_two,
            cancel=token,
        )
    again = points(listen(pool, tmp_path / "run", method="supervised", resume=True))
    before = points(heard)
    assert again[: len(before)] == before
    told = [(point.iteration, point.loss is None) for point in again]
    assert len(told) == len(set(told))
