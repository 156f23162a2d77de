"""A segmentation lies where the organ lies in the patient, on the scan's own grid; little memory is enough."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from skcdf import networks
from skcdf.device import Device
from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map, write_image, write_label_map
from skcdf.inference import Predictor, memory_ladder
from skcdf.labels import LabelSet
from skcdf.networks.vnet import VNet
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress

AIR, BODY, ORGAN = -1000, 0, 200
PLAN = PreprocessingPlan(Intensity("window", -200, 300, 0, 100), spacing=(3.0, 3.0, 3.0), body_threshold=-500)
PLAIN = PreprocessingPlan(Intensity("window", -200, 300, 0, 100), spacing=(2.0, 2.0, 2.0))
ONE_ORGAN = LabelSet.from_names("one", ["organ"])
angles = st.floats(-25, 25)
spacings = st.floats(1.5, 4.5)
in_turn = settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Threshold(nn.Module):
    """Two classes: above a normalised intensity (1 is 100 HU after `PLAN`), and not. It is in the weights."""

    def __init__(self, intensity: float = 1.0) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, 2, 1)
        self.convolution.weight.data = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1, 1)
        self.convolution.bias.data = torch.tensor([intensity, -intensity])

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image)


class Short(Threshold):
    """`Threshold` on a machine whose memory fails the first few calls."""

    failures: tuple[BaseException, ...] = ()

    def forward(self, image: Tensor) -> Tensor:
        failures = type(self).failures
        if failures:
            type(self).failures = failures[1:]
            raise failures[0]
        return super().forward(image)


class PretendGpu(Device):
    """Climbs down the ladder of a GPU, on the CPU."""

    def autocast(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "threshold", Threshold)
    monkeypatch.setitem(networks.NETWORKS, "short", Short)
    monkeypatch.setattr(Short, "failures", ())


@pytest.fixture
def make_predictor(save_model, device) -> Callable[..., Predictor]:
    def make(
        plan: PreprocessingPlan = PLAN,
        network: str = "threshold",
        on: Device = device,
        intensity: float = 1.0,
        memory_limit: int = 2 << 30,
        **options: object,
    ) -> Predictor:
        bundle = save_model(Threshold(intensity), network, {}, plan, ONE_ORGAN, **options)
        return Predictor(bundle, on, memory_limit)

    return make


@pytest.fixture
def scan(oblique, ball) -> Callable[..., tuple[Image, np.ndarray]]:
    """Makes a scan with an organ off the body's middle, and the organ's true mask."""

    def make(shape=(30, 32, 36), spacing=(3.0, 3.0, 3.0), degrees=(0, 0, 0), order=None):
        geometry = oblique(shape, spacing, degrees)
        middle = geometry.position((np.array(geometry.size) - 1) / 2)
        reach = min(n * s for n, s in zip(shape, spacing, strict=True)) / 2
        organ = ball(geometry, middle + np.array([0.3, -0.2, 0.25]) * reach, 0.4 * reach)
        array = np.where(ball(geometry, middle, 0.95 * reach), BODY, AIR).astype(np.int16)
        array[organ] = ORGAN
        if order is not None:
            array, organ = order.apply(array), order.apply(organ)
            geometry = order.apply_to_geometry(geometry)
        return Image(array, geometry), organ

    return make


def centroid(mask: np.ndarray, geometry) -> np.ndarray:
    return geometry.position(np.argwhere(mask)[:, ::-1].mean(0))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@given(degrees=st.tuples(angles, angles, angles), spacing=st.tuples(spacings, spacings, spacings))
@in_turn
def test_an_organ_is_found_where_it_lies_in_the_patient(
    degrees, spacing, axis_order, make_predictor, scan, tmp_path
):
    plain, plain_organ = scan(spacing=spacing, degrees=degrees)
    truth = centroid(plain_organ, plain.geometry)
    image, organ = scan(spacing=spacing, degrees=degrees, order=axis_order)
    write_image(tmp_path / "scan.nii.gz", image)
    label_map = make_predictor().segment(read_image(tmp_path / "scan.nii.gz")).label_map
    write_label_map(tmp_path / "labels.nrrd", label_map.array, label_map.geometry)
    found = read_label_map(tmp_path / "labels.nrrd")
    assert found.geometry.same_grid(image.geometry)
    shift = np.abs(centroid(found.array > 0, found.geometry) - truth)
    assert shift.max() < 0.5 * min(spacing)
    assert dice(found.array > 0, organ) > 0.85


@given(degrees=st.tuples(angles, angles, angles))
@in_turn
def test_at_the_models_own_spacing_every_voxel_is_right(degrees, axis_order, make_predictor, scan):
    image, organ = scan(spacing=(3.0, 3.0, 3.0), degrees=degrees, order=axis_order)
    label_map = make_predictor().segment(image).label_map
    assert label_map.geometry == image.geometry
    assert np.array_equal(label_map.array, organ.astype(np.uint8))


@pytest.mark.parametrize("shape", [(5, 70, 33), (32, 32, 32), (64, 31, 3)])
def test_scans_of_any_size_keep_their_grid(shape, make_predictor):
    array = np.where(np.arange(np.prod(shape)).reshape(shape) % 7 == 0, ORGAN, BODY).astype(np.int16)
    image = Image(array, Geometry(shape[::-1], (2.0, 2.0, 2.0)))
    label_map = make_predictor(PLAIN).segment(image).label_map
    assert np.array_equal(label_map.array, array == ORGAN)


@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (5.0, 2.0, 2.5)])
@pytest.mark.parametrize("memory_limit", [1, 100_000])
def test_little_memory_gives_the_same_labels(spacing, memory_limit, make_predictor, scan):
    image, _ = scan(spacing=spacing)
    plenty = make_predictor().segment(image)
    little = make_predictor(memory_limit=memory_limit).segment(image)
    assert little.windows > plenty.windows
    assert np.array_equal(little.label_map.array, plenty.label_map.array)


def test_the_published_protocol_finds_the_organ_too(make_predictor, scan):
    plan = PreprocessingPlan(Intensity("window_min_max", -75, 275), shape=(40, 48, 48))
    image, organ = scan(degrees=(5, -10, 15), spacing=(4, 2, 3))
    predictor = make_predictor(plan, intensity=0.5)
    assert dice(predictor.segment(image).label_map.array > 0, organ) > 0.9


def test_air_is_skipped_where_the_model_says_so(make_predictor, scan):
    image, organ = scan(shape=(32, 40, 120), spacing=(2, 2, 2))
    everything = make_predictor(PLAIN).segment(image)
    skipping = make_predictor(PLAIN, air_threshold_hu=-500.0).segment(image)
    assert skipping.windows < 0.8 * everything.windows
    assert np.array_equal(skipping.label_map.array, everything.label_map.array)
    assert np.array_equal(skipping.label_map.array, organ)


@pytest.mark.parametrize("memory_limit", [1, 2 << 30])
@pytest.mark.parametrize("content", ["organ", "air", "air above"])
def test_progress_ends_at_its_total(content, memory_limit, make_predictor, scan):
    image, _ = scan(shape=(30, 60, 30))
    if content != "organ":
        image.array[:, 30 if content == "air above" else 0 :] = AIR
    reports: list[Progress] = []
    predictor = make_predictor(PLAIN, air_threshold_hu=-500.0, memory_limit=memory_limit)
    result = predictor.segment(image, progress=reports.append)
    assert reports[-1].done == reports[-1].total
    fractions = [report.done / report.total for report in reports]
    assert fractions == sorted(fractions)
    assert (result.windows == 0) == (content == "air")


def test_a_cancelled_segmentation_stops_within_a_window(make_predictor, scan):
    token, reports = CancelToken(), []

    def stop(report: Progress) -> None:
        reports.append(report)
        token.cancel()

    image, organ = scan(shape=(60, 60, 60))
    predictor = make_predictor(PLAIN)
    with pytest.raises(Cancelled):
        predictor.segment(image, progress=stop, cancel=token)
    assert len(reports) == 1
    assert np.array_equal(predictor.segment(image).label_map.array, organ)  # ready for the next scan


out_of_memory = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
of_the_cpu = RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
of_apple = RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)")


@pytest.mark.parametrize("failure", [out_of_memory, of_the_cpu, of_apple, MemoryError()])
def test_a_cpu_short_of_memory_takes_smaller_tiles_and_says_so(failure, make_predictor, scan):
    image, organ = scan()
    Short.failures = (failure,)
    result = make_predictor(network="short").segment(image)
    assert len(result.notes) == 1
    assert "smaller pieces" in result.notes[0]
    assert np.array_equal(result.label_map.array, organ)


@pytest.mark.parametrize("failures", [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4))])
def test_a_gpu_short_of_memory_climbs_down_step_by_step(failures, make_predictor, scan, monkeypatch, device):
    monkeypatch.setattr(memory_ladder, "choose_device", lambda name: device)
    image, organ = scan()
    Short.failures = (out_of_memory,) * failures
    gpu = PretendGpu("cpu:0", torch.float32, "pretended GPU")
    result = make_predictor(network="short", on=gpu).segment(image)
    expected = ["one piece", "put together", "the processor computed", "smaller pieces"][:failures]
    assert [words for words, note in zip(expected, result.notes, strict=True) if words in note] == expected
    assert np.array_equal(result.label_map.array, organ)


@pytest.mark.slow
@pytest.mark.parametrize(("on_gpu", "rungs"), [(False, 2), (True, 5)])
def test_when_nothing_helps_the_user_is_told(on_gpu, rungs, make_predictor, scan, device):
    image, organ = scan()
    Short.failures = (out_of_memory,) * rungs
    gpu = PretendGpu("cpu:0", torch.float32, "pretended GPU")
    predictor = make_predictor(network="short", on=gpu if on_gpu else device)
    with pytest.raises(SkcdfError, match="too little memory"):
        predictor.segment(image)
    assert np.array_equal(predictor.segment(image).label_map.array, organ)  # the next scan gets its chance


def test_a_failure_that_is_not_memory_is_not_hidden(make_predictor, scan):
    Short.failures = (RuntimeError("shape mismatch"),)
    predictor = make_predictor(network="short")
    with pytest.raises(RuntimeError, match=r"^shape mismatch$"):
        predictor.segment(scan()[0])


def test_weights_of_another_network_are_refused_by_name(save_model, device):
    arguments = {"channels": 1, "classes": 2, "filters": 2}
    bundle = save_model(VNet(channels=1, classes=3, filters=2), "vnet", arguments, PLAN, ONE_ORGAN)
    with pytest.raises(SkcdfError, match=r"toy: the weights do not fit the network .*size mismatch"):
        Predictor(bundle, device)


@pytest.mark.parametrize(
    ("name", "arguments"), [("unet", {}), ("vnet", {"depth": 9}), ("vnet", {"filters": 0})]
)
def test_a_network_that_cannot_be_built_is_refused(name, arguments, save_model, device):
    bundle = save_model(Threshold(), name, arguments, PLAN, ONE_ORGAN)
    with pytest.raises(SkcdfError, match="network"):
        Predictor(bundle, device)


def test_a_damaged_preprocessing_plan_is_refused(save_model, device):
    bundle = save_model(Threshold(), "threshold", {}, PLAN, ONE_ORGAN)
    bundle.preprocessing["spacing"] = [0, 1, 1]
    with pytest.raises(SkcdfError, match=r"preprocessing plan is not valid.*positive"):
        Predictor(bundle, device)


def test_a_real_network_segments_in_windows_as_in_one_piece(save_model, device, label_set, scan):
    torch.manual_seed(0)
    arguments = {"channels": 1, "classes": 4, "filters": 2}
    network = VNet(**arguments).eval()
    bundle = save_model(network, "vnet", arguments, PLAIN, label_set, patch=(48, 48, 48))
    image, _ = scan(shape=(48, 48, 48), spacing=(2, 2, 2))
    result = Predictor(bundle, device).segment(image)
    with torch.inference_mode():
        scores = network(torch.from_numpy(PLAIN.apply(image)[0])[None, None])[0]
    clear = np.diff(scores.topk(2, 0).values.flip(0), axis=0)[0] > 1e-3
    assert clear.mean() > 0.5
    assert np.array_equal(result.label_map.array[clear], scores.argmax(0).numpy()[clear])
