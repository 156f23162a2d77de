"""What a user may choose for a run does what it says: organs, a region, the overlap of windows, memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf.errors import SkcdfError
from skcdf.geometry import AxisOrder
from skcdf.image import Image
from skcdf.inference import Choices, Predictor
from skcdf.labels import LabelSet
from skcdf.models import ModelBundle
from skcdf.networks.vnet import VNet
from skcdf.organ_rows import organ_rows
from skcdf.organ_shapes import organ_shapes
from skcdf.preprocessing import Intensity, PreprocessingPlan

PLAN = PreprocessingPlan(Intensity("window", -200, 300, 0, 100), spacing=(3.0, 3.0, 3.0), body_threshold=-500)
ARGUMENTS = {"channels": 1, "classes": 4, "filters": 2, "dropout": 0.0}
ORGANS = ("spleen", "right_kidney", "left_kidney")
SHAPE = (24, 30, 36)
orders = st.builds(
    AxisOrder, st.permutations((0, 1, 2)).map(tuple), st.tuples(st.booleans(), st.booleans(), st.booleans())
)
some = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def predictor(save_model: Callable[..., ModelBundle], label_set: LabelSet, device) -> Predictor:
    """A network with random weights, which every voxel's surroundings sway."""
    torch.manual_seed(3)
    network = VNet(**ARGUMENTS).eval()
    with torch.no_grad():  # every class has its share
        *_, last = (each for each in network.modules() if getattr(each, "out_channels", 0) == 4)
        last.bias -= network(torch.randn(1, 1, 32, 32, 32)).mean((0, 2, 3, 4))
    bundle = save_model(network, "vnet", ARGUMENTS, PLAN, label_set, air_threshold_hu=-500.0)
    return Predictor(bundle, device)


@pytest.fixture
def scan(oblique) -> Callable[..., Image]:
    def make(order: AxisOrder | None = None, degrees=(5, -8, 12)) -> Image:
        geometry = oblique(SHAPE, (4.0, 3.0, 2.5), degrees)
        array = np.random.default_rng(0).normal(50, 100, SHAPE).astype(np.int16)
        array[:, :5] = -1000
        if order is not None:
            array, geometry = order.apply(array), order.apply_to_geometry(geometry)
        return Image(array, geometry, "scan.nii.gz")

    return make


@st.composite
def regions(draw: st.DrawFn, shape: tuple[int, int, int]) -> tuple[tuple[int, int], ...]:
    sides = []
    for n in shape:
        low = draw(st.integers(0, n - 1))
        sides.append((low, draw(st.integers(low + 1, n))))
    return tuple(sides)


class TestRegion:
    @pytest.mark.slow
    @given(data=st.data(), axis_order=orders)
    @settings(some, max_examples=20)
    def test_inside_it_is_the_same_as_cropping_the_scan_to_it(self, data, axis_order, predictor, scan):
        image = scan(axis_order)
        region = data.draw(regions(image.array.shape))
        (z, a), (y, b), (x, c) = region
        result = predictor.segment(image, Choices(region=region), places=3)
        cropped = Image(image.array[z:a, y:b, x:c], image.geometry.crop((z, y, x), (a - z, b - y, c - x)))
        alone = predictor.segment(cropped, places=3)
        assert result.label_map.geometry == image.geometry
        assert np.array_equal(result.label_map.array[z:a, y:b, x:c], alone.label_map.array)
        assert (result.windows, result.places, result.unsure) == (alone.windows, alone.places, alone.unsure)
        outside = np.ones(image.array.shape, bool)
        outside[z:a, y:b, x:c] = False
        assert not result.label_map.array[outside].any()

    def test_the_whole_scan_is_a_region_like_any_other(self, predictor, scan):
        image = scan()
        whole = predictor.segment(image, Choices(region=tuple((0, n) for n in SHAPE)))
        assert np.array_equal(whole.label_map.array, predictor.segment(image).label_map.array)

    def test_one_that_reaches_beyond_the_scan_is_refused_with_both_sizes(self, predictor, scan):
        with pytest.raises(SkcdfError, match=r"scan.nii.gz: the region 0-24 x 0-30 x 4-37 .* 24 x 30 x 36"):
            predictor.segment(scan(), Choices(region=((0, 24), (0, 30), (4, 37))))

    @pytest.mark.parametrize("side", [(3, 3), (5, 2), (-1, 4)])
    def test_one_that_is_empty_or_negative_is_refused(self, side):
        with pytest.raises(SkcdfError, match="rising ranges"):
            Choices(region=((0, 5), side, (0, 5)))

    def test_an_organ_that_the_region_cuts_is_incomplete(self, predictor, scan):
        image, region = scan(), ((6, 18), (8, 24), (8, 30))
        choices = Choices(region=region)
        result = predictor.segment(image, choices, places=1)
        rows = organ_rows(image, result, predictor.bundle, choices)
        whole_scan = organ_rows(image, result, predictor.bundle, Choices())
        assert [row.volume_ml for row in rows] == [row.volume_ml for row in whole_scan]
        inside = organ_shapes(result.label_map.array[6:18, 8:24, 8:30], predictor.bundle.label_set)
        assert {row.organ for row in rows if "incomplete" in row.flags} == {
            shape.label.name for shape in inside if shape.at_edge
        }
        assert any("incomplete" in row.flags for row in rows)


class TestOrgans:
    @given(chosen=st.sets(st.sampled_from(ORGANS), min_size=1))
    @some
    def test_chosen_ones_are_as_among_all_and_the_others_background(self, chosen, predictor, scan, label_set):
        image = scan()
        everything, some_organs = (
            predictor.segment(image, Choices(organs=each), places=20) for each in ((), tuple(chosen))
        )
        kept = [label_set.value_of(name) for name in chosen]
        expected = np.where(np.isin(everything.label_map.array, kept), everything.label_map.array, 0)
        assert np.array_equal(some_organs.label_map.array, expected)
        assert {place.organ for place in some_organs.places} <= chosen
        rows = organ_rows(image, some_organs, predictor.bundle, Choices(organs=tuple(chosen)))
        of_all = organ_rows(image, everything, predictor.bundle, Choices())
        assert rows == [row for row in of_all if row.organ in chosen]

    def test_one_that_the_model_does_not_find_is_refused_before_the_work(self, predictor, scan):
        with pytest.raises(SkcdfError, match="no organ called lever") as caught:
            predictor.segment(scan(), Choices(organs=("spleen", "lever")))
        assert "left_kidney" in caught.value.hint


class TestUnsure:
    def test_it_is_the_share_of_an_organs_voxels_with_much_entropy(self, predictor, scan):
        result = predictor.segment(scan(), unsure=True)
        assert len(result.unsure) == 3 and result.places == ()
        assert all(share is None or 0 <= share <= 1 for share in result.unsure)
        assert any(share for share in result.unsure)

    def test_a_model_that_is_sure_of_all_is_unsure_of_nothing(self, model, ball, scan, device):
        sure = Predictor(model("sure", thresholds=(-1e4, 1e4, 1e4)), device)  # all of it is spleen
        result = sure.segment(scan(), unsure=True)
        assert result.unsure == (0.0, None, None)

    def test_it_is_not_told_unasked(self, predictor, scan):
        image = scan()
        result = predictor.segment(image)
        assert result.unsure == ()
        assert {row.unsure for row in organ_rows(image, result, predictor.bundle, Choices())} == {None}


class TestOverlapAndMemory:
    def test_more_overlap_is_more_windows(self, predictor, scan):
        image = replace(scan(), array=np.repeat(scan().array, 2, 0))
        image = replace(image, geometry=replace(image.geometry, size=image.array.shape[::-1]))
        counts = [predictor.segment(image, Choices(overlap=overlap)).windows for overlap in (0.0, 0.5, 0.75)]
        assert counts == sorted(set(counts))
        assert predictor.segment(image, Choices(overlap=0.5)).windows == predictor.segment(image).windows

    def test_less_memory_is_more_windows_and_the_same_labels(self, predictor, scan):
        plenty, little = (predictor.segment(scan(), Choices(memory_limit=limit)) for limit in (None, 100_000))
        assert little.windows > plenty.windows
        assert np.array_equal(little.label_map.array, plenty.label_map.array)

    @pytest.mark.parametrize("wrong", [{"overlap": 1.0}, {"overlap": -0.1}, {"memory_limit": 0}])
    def test_what_cannot_be_is_refused_by_name(self, wrong):
        with pytest.raises(SkcdfError, match=f"Field {next(iter(wrong))}"):
            Choices(**wrong)
