"""A plan suits the scans, keeps to memory and time, and says why."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf import plan as plan_module
from skcdf.cases import Dataset
from skcdf.device import Device, OutOfMemory
from skcdf.errors import SkcdfError
from skcdf.fine_tune_settings import settings_from_none
from skcdf.labels import LabelSet
from skcdf.methods import METHODS
from skcdf.methods.supervised import Supervised
from skcdf.plan import PRESETS, Budget, TrainingPlan, make_plan, measure_iteration, with_preset
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken
from skcdf.recipes import published_recipe
from skcdf.survey import Survey
from skcdf.trainer import TrainingConfig

CPU = Device("cpu", torch.float32, "CPU, 2 threads")
GPU = Device("cuda", torch.float32, "a pretended GPU")
LABELS = LabelSet.load("openkbp7")
SECONDS_PER_VOXEL = 4e-8  # and filter
examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def survey(modality="CT", spacing=(3.0, 1.0, 1.0), extent=(450.0, 500.0, 500.0), lowest_organ=30.0) -> Survey:
    return Survey(
        modality,
        np.array([spacing] * 3),
        np.array([extent] * 3),
        (-1024.0, 3000.0),
        np.random.default_rng(0).normal(60, 40, 5000),
        lowest_organ,
        2,
        1,
    )


def patches(config: TrainingConfig) -> int:
    return config.batch_size + config.unlabelled_batch_size * METHODS[config.method].uses_unlabelled


def seconds(config: TrainingConfig) -> float:
    voxels = config.accumulate * patches(config) * math.prod(config.patch_size)
    return SECONDS_PER_VOXEL * config.filters * voxels


def estimated_bytes(config: TrainingConfig) -> int:
    per_voxel = 20 * config.filters + 16 * LABELS.number_of_classes
    return per_voxel * patches(config) * math.prod(config.patch_size)


@pytest.fixture(autouse=True)
def stopwatch(monkeypatch):
    """Measures in no time, as on a machine that takes the same for every voxel and filter."""
    measured = []

    def measure(config, label_set, device, repeats=3, cancel=None):
        measured.append(config)
        return seconds(config)

    monkeypatch.setattr(plan_module, "measure_iteration", measure)
    return measured


@given(
    modality=st.sampled_from(["CT", "MR"]),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    extent=st.tuples(*[st.floats(20, 800)] * 3),
    minutes=st.floats(0.1, 2000),
    memory=st.floats(0.1, 64),
    iterations=st.sampled_from(sorted(PRESETS.values())),
    device=st.sampled_from([CPU, GPU]),
)
@examples
def test_any_plan_keeps_to_memory_and_time_and_fits_the_network(
    modality, spacing, extent, minutes, memory, iterations, device
):
    budget = Budget(memory, minutes, iterations)
    config = make_plan(survey(modality, spacing, extent), LABELS, device, budget).config
    assert all(side >= 32 and side % 32 == 0 for side in config.patch_size)
    if config.patch_size != (32, 32, 32):  # the smallest there is
        assert seconds(config) * iterations <= minutes * 60 * 1.001
        assert estimated_bytes(config) <= memory * 2**30
    voxels = [max(1, e / s) for e, s in zip(extent, config.preprocessing.spacing, strict=True)]
    assert all(side < n + 32 for side, n in zip(config.patch_size, voxels, strict=True))
    assert all(new >= old - 0.01 for new, old in zip(config.preprocessing.spacing, spacing, strict=True))


def test_more_time_and_memory_give_a_larger_patch():
    plans = [
        make_plan(survey(), LABELS, CPU, Budget(memory, minutes)) for memory, minutes in ((1, 10), (64, 900))
    ]
    small, large = (math.prod(each.config.patch_size) for each in plans)
    assert large > 4 * small
    finest = [min(each.config.preprocessing.spacing) for each in plans]
    assert finest[1] < finest[0]


def test_the_same_time_for_fewer_iterations_gives_a_larger_patch():
    plans = [make_plan(survey(), LABELS, CPU, Budget(minutes=40, iterations=n)) for n in (300, 5000)]
    few, many = (math.prod(plan.config.patch_size) for plan in plans)
    assert few > 4 * many
    why = {choice.what: choice.why for choice in plans[0].choices}
    assert why["patch"] == "multiples of 32 within 6 GiB and 40 min for 300 iterations"


@pytest.mark.parametrize(
    ("preset", "chosen", "iterations"),
    [("quick", {}, 300), ("standard", {}, 5000), ("standard", {"iterations": 1000}, 1000)],
)
def test_a_fine_tuning_from_none_plans_its_own_iterations_into_its_time(preset, chosen, iterations, tmp_path):
    planned = from_none(tmp_path, preset, chosen, minutes=30)
    assert planned.iterations == iterations
    expected = make_plan(survey(), LABELS, CPU, Budget(minutes=30, iterations=iterations)).config
    assert planned.patch_size == expected.patch_size
    assert planned.iterations * seconds(planned) <= 30 * 60


def test_a_fine_tuning_of_few_steps_does_not_spend_its_time_on_measuring(stopwatch, tmp_path):
    assert from_none(tmp_path, "quick", {"iterations": 5}, minutes=5).iterations == 5
    assert sum(map(seconds, stopwatch)) < 0.1 * 5 * 60


def test_a_fine_tuning_without_a_time_budget_plans_as_a_training(tmp_path):
    patches = [from_none(tmp_path, preset, {}, minutes=None).patch_size for preset in ("quick", "standard")]
    assert patches == [make_plan(survey(), LABELS, CPU, Budget()).config.patch_size] * 2


def from_none(folder: Path, preset: str, chosen: dict[str, object], minutes: float | None) -> TrainingConfig:
    data = Dataset(folder, "toy", LABELS, "CT", ())
    return settings_from_none(survey(), data, CPU, "supervised", preset, chosen, minutes, CancelToken())[0]


def test_the_patch_sees_a_fair_share_of_the_scan():
    config = make_plan(survey(), LABELS, CPU, Budget()).config
    shape = np.array([450, 500, 500]) / config.preprocessing.spacing
    assert np.prod(shape) <= 10 * np.prod(config.patch_size)
    assert config.preprocessing.spacing[0] >= config.preprocessing.spacing[1]


def test_scans_that_fit_into_a_patch_keep_their_spacing():
    config = make_plan(
        survey(spacing=(1.0, 0.8, 0.8), extent=(40, 40, 40)), LABELS, CPU, Budget(16, 500)
    ).config
    assert config.preprocessing.spacing == (1.0, 0.8, 0.8)
    assert config.patch_size == (64, 64, 64)


def test_a_ct_gets_a_window_of_soft_tissue_and_a_crop_to_the_body():
    preprocessing = make_plan(survey(), LABELS, CPU, Budget()).config.preprocessing
    intensity = preprocessing.intensity
    assert intensity.kind == "window"
    assert intensity.low <= -150
    assert 200 <= intensity.high <= 500
    assert intensity.mean == pytest.approx(60, abs=3)
    assert intensity.std == pytest.approx(40, abs=3)
    assert -900 < preprocessing.body_threshold < -200


def test_a_dark_organ_lies_inside_the_window():
    assert (
        make_plan(survey(lowest_organ=-800.0), LABELS, CPU, Budget()).config.preprocessing.intensity.low
        < -850
    )


def test_an_mr_is_normalised_by_its_own_intensities_and_not_cropped():
    preprocessing = make_plan(survey("MR"), LABELS, CPU, Budget()).config.preprocessing
    assert preprocessing.intensity.kind == "z_score"
    assert preprocessing.body_threshold is None


def test_a_gpu_gets_the_published_width():
    assert make_plan(survey(), LABELS, GPU, Budget(40, 900)).config.filters == 32
    assert make_plan(survey(), LABELS, CPU, Budget()).config.filters <= 16


def test_every_choice_has_a_reason_and_the_time_is_the_measured_one(stopwatch):
    plan = make_plan(survey(), LABELS, CPU, Budget())
    assert all(choice.what and choice.value and choice.why for choice in plan.choices)
    told = {choice.what: choice.value for choice in plan.choices}
    assert told["patch"] == "{} x {} x {} voxels".format(*plan.config.patch_size)
    assert told["filters"] == str(plan.config.filters)
    assert stopwatch[-1] == plan.config
    assert plan.seconds_per_iteration == seconds(plan.config)


def test_presets_differ_in_iterations_alone():
    plan: TrainingPlan = make_plan(survey(), LABELS, CPU, Budget())
    iterations = [with_preset(plan, preset).iterations for preset in ("quick", "standard", "thorough")]
    assert iterations == sorted(set(iterations))
    assert with_preset(plan, "standard") == plan.config
    assert plan.minutes("standard") == pytest.approx(plan.seconds_per_iteration * iterations[1] / 60)


@pytest.mark.parametrize("method", ["supervised", "skcdf"])
def test_an_iteration_is_really_run_and_timed(method, device):
    preprocessing = PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1))
    config = TrainingConfig(preprocessing, (32, 32, 32), method, filters=2, batch_size=1)
    once = measure_iteration(config, LABELS, device, repeats=1)
    assert 0.001 < once < 60


def test_accumulated_batches_are_timed_as_what_they_are(device, monkeypatch):
    calls = []
    original = Supervised.losses
    monkeypatch.setattr(Supervised, "losses", lambda *arguments: calls.append(1) or original(*arguments))
    preprocessing = PreprocessingPlan(Intensity("z_score"), spacing=(1, 1, 1))
    config = TrainingConfig(preprocessing, (32, 32, 32), filters=1, batch_size=1, accumulate=3)
    measure_iteration(config, LABELS, device, repeats=1)
    assert len(calls) == 2 * 3  # a warm-up and the measured step


def test_unlabelled_patches_take_memory_too():
    budgets = Budget(memory_gib=1.0, minutes=10_000)
    patches = [
        make_plan(survey(), LABELS, GPU, budgets, {"method": method}).config.patch_size
        for method in ("supervised", "skcdf")
    ]
    assert math.prod(patches[1]) < math.prod(patches[0])


@pytest.mark.parametrize(
    "chosen",
    [{"batch_size": 8}, {"accumulate": 8}, {"method": "skcdf", "unlabelled_batch_size": 8}],
    ids=lambda chosen: list(chosen)[-1],
)
@pytest.mark.parametrize("budget", [Budget(1.0, 10_000), Budget(1000, 150)], ids=["memory", "time"])
def test_the_batches_that_the_user_chose_keep_to_the_budget(chosen, budget):
    config = make_plan(survey(), LABELS, GPU, budget, {**chosen, "filters": 16}).config
    assert {name: getattr(config, name) for name in chosen} == chosen
    assert config.patch_size != (32, 32, 32)
    assert seconds(config) * PRESETS["standard"] <= budget.minutes * 60
    assert estimated_bytes(config) <= budget.memory_gib * 2**30


def whys(budget: Budget, chosen: dict[str, object]) -> dict[str, str]:
    return {each.what: each.why for each in make_plan(survey(), LABELS, CPU, budget, chosen).choices}


@pytest.mark.parametrize(
    ("what", "chosen"),
    [
        ("batch", {"batch_size": 3}),
        ("filters", {"filters": 8}),
        ("spacing", {"spacing": (6.0, 2.0, 2.0)}),
        ("patch", {"patch_size": (128, 128, 128)}),
    ],
)
def test_what_the_user_chose_is_not_explained_as_the_plans_choice(what, chosen):
    by_user = whys(Budget(0.1, 0.1), chosen)
    assert [each for each, why in by_user.items() if why == "chosen by you"] == [what]
    if what == "patch":
        assert not any("GiB" in why or " min" in why for why in by_user.values())


def test_a_recipe_that_resizes_scans_names_no_spacing():
    choices = make_plan(survey(), LABELS, CPU, Budget(), published_recipe(16)).choices
    told = {each.what: (each.value, each.why) for each in choices}
    assert told["spacing"] == ("another for every scan", "chosen by you")
    assert told["median scan"][0] == "80 x 160 x 160 voxels"


def test_a_budget_that_nothing_fits_is_not_said_to_be_kept():
    by_plan = whys(Budget(minutes=0.1), {"batch_size": 100})
    assert by_plan["patch"] == "the smallest: none fits 6 GiB and 0.1 min for 5000 iterations"
    assert "no patch fits" in by_plan["filters"]


@pytest.mark.parametrize(
    "shortage", [OutOfMemory(), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_patch_that_does_not_fit_the_device_is_not_planned(shortage, monkeypatch):
    def measure(config, label_set, device, repeats=3, cancel=None):
        if math.prod(config.patch_size) > 64**3:
            raise shortage
        return seconds(config)

    monkeypatch.setattr(plan_module, "measure_iteration", measure)
    config = make_plan(survey(), LABELS, GPU, Budget(memory_gib=1000, minutes=10_000)).config
    assert math.prod(config.patch_size) <= 64**3


def test_settings_that_do_not_fit_the_device_are_refused_with_what_needs_less(monkeypatch):
    def measure(config, label_set, device, repeats=3, cancel=None):
        raise OutOfMemory

    monkeypatch.setattr(plan_module, "measure_iteration", measure)
    chosen = {"method": "skcdf", "patch_size": (96, 96, 96), "batch_size": 6}
    with pytest.raises(SkcdfError, match="too little memory to train with 8 patches of 96 x 96 x 96") as told:
        make_plan(survey(), LABELS, GPU, Budget(), chosen)
    for way in ("--batch-size 1", "--unlabelled-batch-size 1", "a smaller --patch-size", "--device cpu"):
        assert f"take {way}" in told.value.hint


def test_a_fault_in_a_measured_step_is_not_taken_for_a_patch_that_does_not_fit(monkeypatch):
    def measure(config, label_set, device, repeats=3, cancel=None):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(plan_module, "measure_iteration", measure)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        make_plan(survey(), LABELS, CPU, Budget())


def test_the_published_recipe_passes_through_the_plan(stopwatch):
    recipe = published_recipe(16)
    config = make_plan(survey(), LABELS, CPU, Budget(), {**recipe, "filters": 2}).config
    for name, value in {**recipe, "filters": 2}.items():
        assert getattr(config, name) == value
    assert stopwatch == [config]


@pytest.mark.parametrize("value", [0.0, -5.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["memory_gib", "minutes", "iterations"])
def test_a_budget_that_is_none_is_refused(field, value):
    with pytest.raises(SkcdfError, match="is none"):
        Budget(**{field: value})
