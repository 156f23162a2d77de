"""A plan suits the scans, keeps to memory and time, and says why."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf import plan as plan_module
from skcdf.cases import Case, Dataset
from skcdf.device import Device, OutOfMemory
from skcdf.errors import SkcdfError
from skcdf.geometry import AxisOrder, Geometry
from skcdf.image import Image, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.methods import METHODS
from skcdf.methods.supervised import Supervised
from skcdf.plan import PRESETS, Budget, TrainingPlan, make_plan, measure_iteration, with_preset
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.recipes import published_recipe
from skcdf.survey import Survey, survey_dataset
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
    device=st.sampled_from([CPU, GPU]),
)
@examples
def test_any_plan_keeps_to_memory_and_time_and_fits_the_network(
    modality, spacing, extent, minutes, memory, device
):
    budget = Budget(memory, minutes)
    config = make_plan(survey(modality, spacing, extent), LABELS, device, budget).config
    assert all(side >= 32 and side % 32 == 0 for side in config.patch_size)
    if config.patch_size != (32, 32, 32):  # the smallest there is
        assert seconds(config) * PRESETS["standard"] <= minutes * 60 * 1.001
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
    assert by_plan["patch"] == "the smallest: none fits 6 GiB and 0.1 min"
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


@pytest.fixture
def write_case(tmp_path):
    """Writes a labelled scan on a grid and gives its case."""

    def write(name: str, geometry: Geometry, value: int = 50, label: bool = True, organ: int = 1) -> Case:
        scan, labels = np.full(geometry.shape, -1000, np.int16), np.zeros(geometry.shape, np.uint8)
        scan[:, 1:, 1:], labels[1:3, 2:4, 2:4] = value, organ
        write_image(tmp_path / f"{name}.nii.gz", Image(scan, geometry))
        file: Path | None = tmp_path / f"{name}_label.nii.gz" if label else None
        if file:
            write_label_map(file, labels, geometry)
        return Case(name, tmp_path / f"{name}.nii.gz", file, frozenset(LABELS.names if label else ()), name)

    return write


def dataset(root: Path, *cases: Case) -> Dataset:
    return Dataset(root, "toy", LABELS, "CT", cases)


def test_a_survey_sees_spacing_and_extent_in_patient_axes(write_case, tmp_path):
    axial = Geometry((6, 8, 10), (1.0, 2.0, 3.0))
    sagittal = AxisOrder((2, 0, 1), (True, False, True)).apply_to_geometry(axial)
    unlabelled = Geometry((5, 5, 5), (2.0, 2.0, 2.0))
    cases = (write_case("a", axial), write_case("b", sagittal, 150), write_case("c", unlabelled, label=False))
    found = survey_dataset(dataset(tmp_path, *cases))
    assert found.spacings.tolist() == [[3, 2, 1], [3, 2, 1], [2, 2, 2]]
    assert found.extents.tolist() == [[30, 16, 6], [30, 16, 6], [10, 10, 10]]
    assert found.median_spacing == (3.0, 2.0, 1.0)
    assert found.intensity_range == (-1000, 150)
    assert sorted(set(found.foreground)) == [50, 150]
    assert (found.labelled, found.unlabelled) == (2, 1)


def test_a_survey_measures_organs_that_are_whole_and_annotated(write_case, tmp_path):
    grid = Geometry((6, 6, 6), (10.0, 10.0, 10.0))
    whole, cut = write_case("a", grid), write_case("b", grid)
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2:4] = 1
    write_label_map(whole.label, labels, grid)
    labels[0] = 1
    write_label_map(cut.label, labels, grid)
    (usual,) = survey_dataset(dataset(tmp_path, whole, cut)).usual
    assert (usual.volume_ml, usual.pieces, usual.n) == ((8.0, 8.0), 1, 1)
    assert survey_dataset(dataset(tmp_path, replace(whole, annotated=frozenset()), cut)).usual == ()


def test_a_survey_tells_its_progress(write_case, tmp_path):
    grid, reports = Geometry((6, 6, 6), (1.0, 1.0, 1.0)), []
    survey_dataset(dataset(tmp_path, write_case("a", grid), write_case("b", grid)), reports.append)
    assert [(report.done, report.total) for report in reports] == [(1, 2), (2, 2)]


def test_a_survey_without_annotation_is_refused(write_case, tmp_path):
    grid = Geometry((6, 6, 6), (1.0, 1.0, 1.0))
    with pytest.raises(SkcdfError, match="no labelled training case"):
        survey_dataset(dataset(tmp_path, write_case("a", grid, label=False)))
    with pytest.raises(SkcdfError, match="no label map has a labelled voxel"):
        survey_dataset(dataset(tmp_path, write_case("b", grid, organ=0)))


def test_a_survey_refuses_labels_off_the_scans_grid(write_case, tmp_path):
    case = write_case("a", Geometry((6, 6, 6), (1.0, 1.0, 1.0)))
    write_label_map(case.label, np.zeros((6, 6, 7), np.uint8), Geometry((7, 6, 6), (1.0, 1.0, 1.0)))
    with pytest.raises(SkcdfError, match=r"a_label\.nii\.gz: .*grid of .*a\.nii\.gz"):
        survey_dataset(dataset(tmp_path, case))


def test_a_survey_refuses_scans_of_one_value(write_case, tmp_path):
    case = write_case("a", grid := Geometry((6, 6, 6), (1.0, 1.0, 1.0)))
    write_image(case.image, Image(np.full((6, 6, 6), 7, np.int16), grid))
    with pytest.raises(SkcdfError, match=f"{tmp_path.name}.*every voxel of every labelled scan is 7"):
        survey_dataset(dataset(tmp_path, case))


@pytest.mark.parametrize("value", [0.0, -5.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["memory_gib", "minutes"])
def test_a_budget_that_is_none_is_refused(field, value):
    with pytest.raises(SkcdfError, match="is none"):
        Budget(**{field: value})
