"""What a network sees lies where the scan's voxels lie, and goes back exactly."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.preprocessing import Intensity, PreprocessingPlan

WINDOW = Intensity("window", -200.0, 300.0, 40.0, 80.0)
PLAN = PreprocessingPlan(WINDOW, spacing=(3.0, 2.5, 2.0), body_threshold=-500.0)
PLANS = [
    PLAN,
    PreprocessingPlan(Intensity("z_score"), spacing=(1.0, 1.0, 1.0)),
    PreprocessingPlan.published(),
]
angles = st.floats(-25, 25)
spacings = st.floats(0.7, 5)
in_turn = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def noise(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


def weighted_centroid(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    total, index = array.sum(), np.indices(array.shape)[::-1]
    return geometry.position([(axis * array).sum() / total for axis in index])


@given(degrees=st.tuples(angles, angles, angles), spacing=st.tuples(spacings, spacings, spacings))
@in_turn
def test_a_blob_stays_where_it_is_in_the_patient(degrees, spacing, axis_order, oblique):
    geometry = axis_order.apply_to_geometry(oblique((40, 44, 48), spacing, degrees))
    blob = np.zeros(geometry.shape, np.float32)
    blob[tuple(np.array(geometry.shape) * (5, 6, 4) // 10)] = 1
    blob = ndimage.gaussian_filter(blob, [6 / s for s in geometry.array_spacing])
    placement = PLAN.placement(Image((1000 * blob / blob.max() - 500.001).astype(np.float32), geometry))
    resampled = PLAN.resample(Image(blob, geometry), placement)
    before = weighted_centroid(np.where(blob > blob.max() / 50, blob, 0), geometry)
    after = weighted_centroid(np.where(resampled > blob.max() / 50, resampled, 0), placement.model_geometry)
    assert resampled.shape == placement.model_geometry.shape
    assert np.abs(after - before).max() < 0.5 * min(PLAN.spacing)


@given(spacing=st.tuples(spacings, spacings, spacings))
@in_turn
def test_the_models_grid_has_the_models_spacing_in_lps_order(spacing, axis_order, oblique):
    geometry = axis_order.apply_to_geometry(oblique((40, 44, 48), spacing, (10, -5, 8)))
    grid = PLAN.placement(Image(np.zeros(geometry.shape, np.int16), geometry)).model_geometry
    for chosen, wanted, n in zip(grid.array_spacing, PLAN.spacing, grid.shape, strict=True):
        assert abs(chosen - wanted) <= wanted * 0.5 / (n - 0.5)  # half a voxel over the whole axis
    assert (np.diag(np.reshape(grid.direction, (3, 3))) > 0.9).all()


@given(shape=st.tuples(*[st.integers(1, 12)] * 3), degrees=st.tuples(angles, angles, angles))
@in_turn
def test_at_the_scans_own_spacing_nothing_is_interpolated_and_paste_undoes_it(
    shape, degrees, axis_order, oblique
):
    spacing = (2.0, 1.5, 1.0)
    geometry = oblique(shape, spacing, degrees)
    array = noise(shape)
    scan = Image(axis_order.apply(array), axis_order.apply_to_geometry(geometry))
    plan = replace(PLAN, spacing=spacing, body_threshold=None)
    placement = plan.placement(scan)
    assert np.array_equal(plan.resample(scan, placement), array)
    assert placement.model_geometry.same_grid(geometry)
    assert np.array_equal(placement.paste(plan.resample_labels(scan, placement)), scan.array)


def test_paste_fills_what_was_cropped_away(axis_order):
    array = np.full((30, 31, 32), -1000, np.int16)
    array[12:18, 11:20, 10:22] = 50
    scan = Image(axis_order.apply(array), axis_order.apply_to_geometry(Geometry((32, 31, 30), (4, 4, 4))))
    placement = PLAN.placement(scan)
    assert np.prod(placement.crop_shape) < array.size / 2
    pasted = placement.paste(np.ones(placement.crop_shape, np.uint8), fill=7)
    assert pasted.shape == scan.array.shape
    assert (pasted[scan.array > -500] == 1).all()
    assert (pasted == 1).sum() == np.prod(placement.crop_shape)
    assert set(np.unique(pasted)) == {1, 7}


@pytest.mark.slow
@given(
    spacing=st.tuples(spacings, spacings, spacings),
    where=st.tuples(*[st.floats(0.3, 0.7)] * 3),
    radius=st.floats(20, 45),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_crop_keeps_the_whole_body_beside_a_couch(spacing, where, radius, oblique, ball):
    geometry = oblique(tuple(int(130 / s) for s in spacing), spacing, (0, 0, 0))
    body = ball(geometry, geometry.position(np.array(where) * geometry.size), radius)
    scan = np.where(body, 30, -1000).astype(np.int16)
    scan[:4, -1] = -300  # brighter than air and touching nothing
    placement = PLAN.placement(Image(scan, geometry))
    box = tuple(slice(a, a + n) for a, n in zip(placement.crop_start, placement.crop_shape, strict=True))
    assert body[box].sum() == body.sum()
    assert np.prod(placement.crop_shape) < scan.size or radius > 40


@pytest.mark.parametrize("value", [-1000, -500])
def test_a_scan_without_a_body_is_kept_whole(value):
    placement = PLAN.placement(Image(np.full((9, 8, 7), value, np.int16), Geometry((7, 8, 9), (3, 3, 3))))
    assert placement.crop_start == (0, 0, 0)
    assert placement.crop_shape == (9, 8, 7)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 1), (2, 3, 60)])
@pytest.mark.parametrize("value", [-1000, 0, 700])
def test_flat_and_constant_scans_give_finite_input(plan, shape, value):
    array, placement = plan.apply(Image(np.full(shape, value, np.int16), Geometry(shape[::-1], (2, 2, 2))))
    assert array.shape == placement.shape
    assert array.dtype == np.float32
    assert np.isfinite(array).all()


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("plan", PLANS)
def test_every_voxel_type_becomes_float32(kind, plan):
    image = Image(np.abs(noise((8, 9, 10))).astype(kind), Geometry((10, 9, 8), (2, 2, 2)))
    assert plan.apply(image)[0].dtype == np.float32


def test_a_window_clips_then_shifts_and_scales():
    raw = np.array([[[-2000, -200, 40, 300, 3000]]], np.int16)
    assert WINDOW.apply(raw) == pytest.approx(np.array([[[-3, -3, 0, 3.25, 3.25]]]))
    assert raw.min() == -2000


@pytest.mark.parametrize("scale", [1e-3, 1.0, 4000.0])
def test_a_z_score_has_mean_0_and_deviation_1_whatever_the_scale(scale):
    raw = (np.random.default_rng(0).gamma(2, scale, (20, 20, 20))).astype(np.float32)
    array = Intensity("z_score").apply(raw)
    assert array.dtype == np.float32
    assert abs(array.mean()) < 1e-3
    assert array.std() == pytest.approx(1, abs=1e-3)
    assert np.allclose(array, Intensity("z_score").apply(raw * 7), atol=1e-4)


def test_one_hot_voxel_does_not_spoil_a_z_score():
    raw = np.random.default_rng(0).normal(100, 10, (30, 30, 30)).astype(np.float32)
    quiet = Intensity("z_score").apply(raw)
    raw[0, 0, 0] = 1e6
    assert np.abs(Intensity("z_score").apply(raw) - quiet)[1:].max() < 0.05


def test_the_published_plan_is_a_trilinear_resize_with_a_window_from_0_to_1():
    raw = ndimage.gaussian_filter(noise((50, 120, 130)).astype(np.float32), 2) * 5
    array, placement = PreprocessingPlan.published().apply(Image(raw, Geometry((130, 120, 50), (1, 1, 3))))
    assert array.shape == placement.shape == (80, 160, 160)
    resized = F.interpolate(torch.from_numpy(raw)[None, None], (80, 160, 160), mode="trilinear")[0, 0]
    clipped = resized.clamp(-75, 275)
    expected = (clipped - clipped.min()) / (clipped.max() - clipped.min())
    assert np.allclose(array, expected.numpy(), atol=1e-5)


def test_labels_are_never_mixed():
    labels = (noise((20, 21, 22)) % 3 * 5).astype(np.uint8)
    image = Image(labels, Geometry((22, 21, 20), (1.3, 0.8, 2.1)))
    plan = replace(PLAN, body_threshold=None)
    resampled = plan.resample_labels(image, plan.placement(image))
    assert resampled.dtype == np.uint8
    assert set(np.unique(resampled)) == {0, 5, 10}


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_survives_json(plan):
    assert PreprocessingPlan.from_json(json.loads(json.dumps(plan.to_json())), "m") == plan


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("spacing", [1.0, 2.0]),
        ("spacing", [1.0, 2.0, 0.0]),
        ("spacing", [1.0, 2.0, float("nan")]),
        ("spacing", "123"),
        ("spacing", None),
        ("shape", [80, 160, 160]),
        ("body_threshold", "air"),
        ("intensity", {"kind": "magic"}),
        ("intensity", {"kind": "window", "low": 5.0, "high": 5.0}),
        ("intensity", {"kind": "window", "low": 0.0, "high": 5.0, "std": 0.0}),
        ("intensity", {"kind": "window", "low": "0", "high": 5.0}),
        ("intensity", None),
        ("flip", True),
    ],
)
def test_a_wrong_plan_is_refused_with_the_fields_name(field, value):
    content = {**PLAN.to_json(), field: value}
    with pytest.raises(SkcdfError, match=rf"some.json: .*({field}|spacing)"):
        PreprocessingPlan.from_json(content, "some.json")


@pytest.mark.slow
@given(json_values | st.dictionaries(st.sampled_from(["intensity", "spacing", "shape", "kind"]), json_values))
def test_any_other_json_is_refused(content):
    with pytest.raises(SkcdfError, match=r"^some.json"):
        PreprocessingPlan.from_json(content, "some.json")
