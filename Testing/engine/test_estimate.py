"""What is said of a run before it is begun: the windows exactly, time and memory roughly, and better after a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf.device import OutOfMemory
from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.inference import Choices, Pace, Predictor
from skcdf.models import ModelBundle
from skcdf.networks.vnet import VNet
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken

PLAN = PreprocessingPlan(Intensity("window", -200, 300, 0, 100), spacing=(3.0, 3.0, 3.0), body_threshold=-500)
ARGUMENTS = {"channels": 1, "classes": 4, "filters": 2, "dropout": 0.0}
some = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def predictor(save_model: Callable[..., ModelBundle], label_set, device) -> Predictor:
    torch.manual_seed(0)
    bundle = save_model(VNet(**ARGUMENTS), "vnet", ARGUMENTS, PLAN, label_set, air_threshold_hu=-500.0)
    return Predictor(bundle, device)


def scan(shape: tuple[int, int, int] = (40, 60, 60), spacing: float = 3.0) -> Image:
    """A body in air, which leaves some windows empty."""
    array = np.full(shape, -1000, np.int16)
    z, y, x = (slice(n // 8, n - n // 8) for n in shape)
    array[z, y, x] = 50
    array[:2, :2, :2] = 50
    return Image(array, Geometry(shape[::-1], (spacing,) * 3))


class TestWindows:
    @pytest.mark.slow
    @given(
        shape=st.tuples(*[st.integers(8, 70)] * 3),
        overlap=st.sampled_from([None, 0.0, 0.3, 0.6]),
        memory=st.sampled_from([None, 200_000, 2_000_000]),
        cut=st.integers(0, 5),
    )
    @some
    def test_they_are_counted_exactly(self, shape, overlap, memory, cut, predictor):
        region = ((cut, shape[0]), (0, shape[1] - cut), (cut, shape[2] - cut // 2)) if cut else None
        choices, image = Choices((), region, overlap, memory), scan(shape)
        said = Pace().estimate(predictor, image, choices)
        assert said.windows == predictor.segment(image, choices, unsure=True).windows


class TestSeconds:
    def test_a_run_makes_the_next_estimate_a_measured_one(self, predictor):
        pace, image = Pace(), scan()
        before = pace.estimate(predictor, image, Choices())
        result = predictor.segment(image, unsure=True)
        pace.learn(result)
        after = pace.estimate(predictor, image, Choices())
        assert (before.measured, after.measured) == (False, True)
        assert before.seconds > 0
        assert after.seconds == pytest.approx(result.seconds)

    def test_twice_the_windows_take_longer_but_less_than_four_times_as_long(self, predictor):
        pace = Pace()
        small, large = (pace.estimate(predictor, scan((n, 60, 60)), Choices()) for n in (32, 64))
        assert small.windows < large.windows
        assert small.seconds < large.seconds < 4 * small.seconds

    def test_runs_that_took_longer_than_said_make_the_next_estimate_longer(self, predictor):
        pace, image = Pace(), scan()
        first = pace.estimate(predictor, image, Choices())
        pace.learn(replace(predictor.segment(image), seconds=10 * first.seconds))
        assert pace.estimate(predictor, image, Choices()).seconds == pytest.approx(10 * first.seconds)

    def test_what_was_measured_on_less_than_a_window_is_not_kept(self, predictor, monkeypatch):
        timed, label = [], predictor.label

        def count(*arguments, **more):
            timed.append(1)
            return label(*arguments, **more)

        monkeypatch.setattr(predictor, "label", count)
        pace = Pace()
        for shape, calls in (((40, 60, 8), 3), ((40, 60, 60), 6), ((50, 60, 60), 6)):
            pace.estimate(predictor, scan(shape), Choices())
            assert len(timed) == calls


class TestMemory:
    def test_a_larger_scan_needs_more_and_smaller_tiles_need_less(self, predictor):
        pace = Pace()
        small, large = (
            pace.estimate(predictor, scan(shape), Choices()) for shape in ((40,) * 3, (40, 99, 99))
        )
        tiled = pace.estimate(predictor, scan((40, 99, 99)), Choices(memory_limit=1_000_000))
        if large.memory_bytes is None:
            pytest.skip("this system does not tell how much memory was held")
        assert small.memory_bytes < large.memory_bytes
        assert tiled.memory_bytes < large.memory_bytes

    def test_too_little_for_a_single_window_is_said(self, predictor, monkeypatch):
        def short(*_arguments, **_more):
            raise OutOfMemory("CUDA out of memory")

        monkeypatch.setattr(predictor, "label", short)
        with pytest.raises(SkcdfError, match="too little memory"):
            Pace().estimate(predictor, scan(), Choices())


class TestLimits:
    def test_it_leaves_nothing_to_do_when_cancelled(self, predictor):
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            Pace().estimate(predictor, scan(), Choices(), token)

    def test_a_scan_of_air_takes_no_window(self, predictor):
        air = Image(np.full((40, 40, 40), -1000, np.int16), Geometry((40, 40, 40), (3.0, 3.0, 3.0)))
        assert Pace().estimate(predictor, air, Choices()).windows == 0

    def test_an_organ_that_the_model_does_not_find_is_refused(self, predictor):
        with pytest.raises(SkcdfError, match="no organ called lever"):
            Pace().estimate(predictor, scan(), Choices(organs=("lever",)))
