"""Where the model is unsure, and how much: figures, places in the patient, disagreement of decoders, memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from skcdf import networks
from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.inference import Predictor, UnsurePlace
from skcdf.inference import places as places_module
from skcdf.inference.places import find_places
from skcdf.inference.uncertainty import FULL, UncertaintyMap, should_hold_all
from skcdf.labels import LabelSet
from skcdf.networks.decoupled import SKCDF, DecoupledVNet
from skcdf.networks.vnet import Encoder
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import Progress

AIR, BODY, ORGAN, DOUBTFUL = -1000, 0, 150, 100
PLAN = PreprocessingPlan(Intensity("window", -200, 500, 0, 100), spacing=(4.0, 4.0, 4.0), body_threshold=-500)
PLAIN = PreprocessingPlan(Intensity("window", -200, 500, 0, 100), spacing=(2.0, 2.0, 2.0))
ONE = LabelSet.from_names("one", ["liver"])


class Levels(nn.Module):
    """Class k where the normalised intensity lies between k and k + 1; just at k it may as well be class k − 1."""

    def __init__(self, classes: int, gain: float = 12.0) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, classes, 1)
        k = torch.arange(classes, dtype=torch.float32)
        self.convolution.weight.data = gain * k.view(-1, 1, 1, 1, 1)
        self.convolution.bias.data = -gain * k * (k + 1) / 2

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "levels", Levels)


@pytest.fixture
def make_predictor(save_model, device) -> Callable[..., Predictor]:
    def make(plan=PLAN, labels=ONE, memory_limit=2 << 30, **options) -> Predictor:
        arguments = {"classes": labels.number_of_classes}
        bundle = save_model(Levels(**arguments), "levels", arguments, plan, labels, **options)
        return Predictor(bundle, device, memory_limit)

    return make


@pytest.fixture
def scan(oblique, ball) -> Callable[..., tuple[Image, np.ndarray]]:
    """A body with an organ, and on the organ a lump of which nobody can say whether it belongs; and where that is."""

    def make(shape=(30, 32, 36), spacing=(3.0, 3.0, 3.0), degrees=(0, 0, 0), order=None):
        geometry = oblique(shape, spacing, degrees)
        middle = geometry.position((np.array(geometry.size) - 1) / 2)
        lump = middle + np.array([14.0, -11.0, 9.0])
        array = np.where(ball(geometry, middle, 44), BODY, AIR).astype(np.int16)
        array[ball(geometry, middle - np.array([6.0, -4.0, 2.0]), 18)] = ORGAN
        array[ball(geometry, lump, 9)] = DOUBTFUL
        if order is not None:
            array, geometry = order.apply(array), order.apply_to_geometry(geometry)
        return Image(array, geometry), lump

    return make


def distances(places: tuple[UnsurePlace, ...]) -> list[float]:
    pairs = itertools.combinations((np.array(each.position) for each in places), 2)
    return [float(np.linalg.norm(a - b)) for a, b in pairs]


def test_the_first_place_lies_where_the_doubt_lies_in_the_patient(axis_order, make_predictor, scan):
    image, lump = scan(degrees=(10, -15, 20), order=axis_order)
    first = make_predictor().segment(image, places=3).places[0]
    assert np.linalg.norm(np.array(first.position) - lump) < 9
    assert first.organ == "liver"
    assert first.reason.startswith("outer border uncertain over")
    assert 0.3 < first.unsure <= 1
    assert 1 < first.volume_ml < 6  # the lump has 3 mL


@pytest.mark.parametrize(
    "memory_limit", [1, *(pytest.param(each, marks=pytest.mark.slow) for each in (40_000, 2 << 30))]
)
@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (9.0, 8.0, 2.5)])
def test_places_change_neither_labels_nor_windows_and_hold_in_little_memory(
    memory_limit, spacing, make_predictor, scan
):
    shape = tuple(int(90 / s) for s in spacing)
    image, _ = scan(shape, spacing)
    plenty = make_predictor(PLAIN).segment(image, places=5)
    predictor = make_predictor(PLAIN, memory_limit=memory_limit)
    plain, with_places = predictor.segment(image), predictor.segment(image, places=5)
    assert np.array_equal(plain.label_map.array, with_places.label_map.array)
    assert (plain.places, plain.organs) == ((), ())
    assert with_places.places == plenty.places
    assert [each.volume_ml for each in with_places.organs] == [each.volume_ml for each in plenty.organs]
    if memory_limit > 40_000:
        assert plain.windows == with_places.windows


def test_places_are_spread_few_sorted_and_the_same_every_time(make_predictor, scan, ball):
    image, lump = scan((40, 40, 40))
    rng = np.random.default_rng(0)
    for _ in range(30):
        image.array[ball(image.geometry, lump + rng.uniform(-25, 25, 3), 4)] = DOUBTFUL
    predictor = make_predictor()
    many, few = (predictor.segment(image, places=count).places for count in (40, 3))
    assert few == many[:3]
    assert len(few) == 3 < len(many)
    assert min(distances(many)) >= 11.9  # a tenth of the scan's 120 mm
    assert many == predictor.segment(image, places=40).places


def test_a_border_between_organs_names_the_other_and_a_mirror_partner_is_a_swapped_side(make_predictor, ball):
    labels = LabelSet.from_names("three", ["liver", "left_kidney", "right_kidney"])
    geometry = Geometry((40, 40, 40), (3.0, 3.0, 3.0))
    array = np.zeros(geometry.shape, np.int16)
    array[ball(geometry, (30, 60, 60), 25)] = 150
    array[ball(geometry, (30, 60, 60), 9)] = 200  # as much liver as left kidney
    array[ball(geometry, (90, 60, 60), 25)] = 250
    array[ball(geometry, (90, 60, 60), 9)] = 300  # as much left as right kidney
    array[ball(geometry, (90, 95, 60), 9)] = 350
    plan = PreprocessingPlan(PLAN.intensity, spacing=(3.0, 3.0, 3.0))
    places = make_predictor(plan, labels).segment(Image(array, geometry), places=2).places
    words = {(place.organ, place.reason.split(" uncertain over")[0].rstrip(",")) for place in places}
    liver = {("liver", "border to left kidney"), ("left_kidney", "border to liver")}
    sides = {
        ("left_kidney", "may be the right kidney instead"),
        ("right_kidney", "may be the left kidney instead"),
    }
    assert len(words) == 2
    assert words & liver and words & sides


def test_an_organ_in_two_pieces_is_a_place_at_the_smaller_one(make_predictor, ball):
    geometry = Geometry((40, 40, 40), (3.0, 3.0, 3.0))
    array = np.zeros(geometry.shape, np.int16)
    array[ball(geometry, (40, 60, 60), 20)] = ORGAN
    array[ball(geometry, (100, 60, 60), 7)] = ORGAN
    places = make_predictor().segment(Image(array, geometry), places=10).places
    (piece,) = [place for place in places if "two pieces" in place.reason]
    assert np.linalg.norm(np.array(piece.position) - (100, 60, 60)) < 4
    assert piece.unsure >= 0.5


def test_an_organ_that_was_not_found_is_looked_for_where_it_is_likeliest(make_predictor, ball):
    geometry = Geometry((40, 40, 40), (3.0, 3.0, 3.0))
    array = np.zeros(geometry.shape, np.int16)
    array[ball(geometry, (40, 60, 60), 12)] = 92
    first = make_predictor().segment(Image(array, geometry), places=10).places[0]
    assert first.reason.startswith("not found")
    assert first.unsure == 1
    assert np.linalg.norm(np.array(first.position) - (40, 60, 60)) < 12


def test_a_scan_without_a_doubt_has_no_places_and_count_may_exceed_them(make_predictor):
    image = Image(np.full((20, 20, 20), -150, np.int16), Geometry((20, 20, 20), (4.0, 4.0, 4.0)))
    result = make_predictor().segment(image, places=10)
    assert result.places == ()
    assert result.organs[0].doubt == 1  # not found


def test_figures_are_those_of_the_softmax():
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 2.5, (4, 5, 6, 7)).astype(np.float32)
    labels = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
    found = UncertaintyMap((5, 6, 7), 4)
    for z, (low, high) in itertools.product((0, 2, 4), ((0, 4), (4, 6))):
        found.add(z, low, torch.from_numpy(scores[:, z : z + 2, low:high]))
    p = np.exp(scores.astype(float)) / np.exp(scores.astype(float)).sum(0)
    entropy = np.minimum(1, -(p * np.log2(p)).sum(0))
    order = p.argsort(0)
    assert np.array_equal(found.labels, order[-1])
    assert np.array_equal(found.rivals, order[-2])
    assert np.abs(found.entropy / FULL - entropy).max() < 0.002
    geometry = Geometry((7, 6, 5), (10.0, 10.0, 10.0))
    for organ, value in zip(found.organs(labels, geometry), (1, 2, 3), strict=True):
        inside, outside = order[-1] == value, (order[-2] == value) & (entropy >= 0.1)
        mass = p[value][(order[-1] == value) | (order[-2] == value)].sum()
        assert organ.volume_ml == inside.sum()
        assert organ.mean_entropy == pytest.approx(entropy[inside | outside].mean(), abs=2e-3)
        assert organ.entropy_volume_ml == pytest.approx(entropy[inside | outside].sum(), rel=5e-3)
        assert organ.doubt == pytest.approx(1 - 2 * p[value][inside].sum() / (inside.sum() + mass), abs=1e-3)


def test_air_that_is_not_computed_is_no_doubt(make_predictor, scan):
    image, _ = scan((32, 40, 120), (2.0, 2.0, 2.0))
    everything = make_predictor(PLAIN).segment(image, places=4)
    skipping = make_predictor(PLAIN, air_threshold_hu=-500.0).segment(image, places=4)
    assert skipping.windows < everything.windows
    assert skipping.places == everything.places
    assert skipping.organs == everything.organs


def test_examining_gives_the_figures_of_segmenting(make_predictor, scan):
    image, _ = scan()
    predictor, reports = make_predictor(PLAIN), []
    examined = predictor.examine(image, progress=reports.append)
    result = predictor.segment(image, places=1)
    assert examined.organs == result.organs
    assert (examined.disagreement, examined.windows) == ((), result.windows)
    assert reports[-1] == Progress("segment", result.windows, result.windows)


def test_a_scan_smaller_than_those_trained_on_need_not_hold_every_organ(make_predictor, axis_order):
    expects = make_predictor().bundle.expects
    object.__setattr__(expects, "field_of_view_mm", ((90.0, 400.0), (30.0, 400.0), (30.0, 400.0)))
    tall, flat = (axis_order.apply_to_geometry(Geometry((10, 10, n), (4.0, 4.0, 4.0))) for n in (16, 14))
    assert should_hold_all(tall, expects)
    assert not should_hold_all(flat, expects)


class TestDecoders:
    ARGUMENTS = {"channels": 1, "classes": 4, "patch_size": [32, 32, 32], "filters": 2}  # noqa: RUF012

    @pytest.fixture
    def network(self) -> SKCDF:
        torch.manual_seed(1)
        return SKCDF(**self.ARGUMENTS).eval()

    @pytest.fixture
    def image(self) -> Image:
        array = np.random.default_rng(0).normal(100, 150, (32, 32, 32)).astype(np.int16)
        return Image(array, Geometry((32, 32, 32), (2.0, 2.0, 2.0)))

    @pytest.fixture
    def examine(self, save_model, device, label_set, image) -> Callable:
        def run(network: nn.Module, **options):
            bundle = save_model(network, "skcdf", self.ARGUMENTS, PLAIN, label_set, **options)
            return Predictor(bundle, device, views=True).examine(image)

        return run

    def test_disagreement_is_one_minus_dice_between_the_heads(self, examine, network, image):
        found = examine(network, blend="constant")
        patch = torch.from_numpy(PLAIN.apply(image)[0])[None, None]
        with torch.inference_mode():
            features = network.complemented(patch)
            main, *others = (
                scores.argmax(1).numpy()
                for decoder in (network.decoder_u, network.decoder_l)
                for scores in decoder(features).values()
            )
        assert len(others) == 3
        for value, disagreement in enumerate(found.disagreement, start=1):
            dice = [
                2
                * ((main == value) & (other == value)).sum()
                / ((main == value).sum() + (other == value).sum())
                for other in others
                if (main == value).any() or (other == value).any()
            ]
            assert disagreement == (pytest.approx(1 - np.mean(dice), abs=1e-4) if dice else None)
        assert any(each for each in found.disagreement)

    def test_decoders_that_are_alike_do_not_disagree(self, examine, network):
        network.decoder_l.load_state_dict(network.decoder_u.state_dict())
        for decoder in (network.decoder_l, network.decoder_u):
            decoder.heads["abc"].load_state_dict(decoder.heads["main"].state_dict())
        found = examine(network)
        assert set(found.disagreement) <= {0.0, None}
        assert 0.0 in found.disagreement

    def test_the_encoder_runs_once_a_window(self, examine, network, monkeypatch):
        calls = []
        forward = Encoder.forward
        monkeypatch.setattr(Encoder, "forward", lambda self, image: calls.append(1) or forward(self, image))
        assert len(calls) == 0
        assert examine(network).windows == len(calls) == 1

    def test_entropy_does_not_depend_on_the_other_heads(self, examine, network):
        alone = DecoupledVNet(**self.ARGUMENTS).eval()
        alone.load_state_dict({key: network.state_dict()[key] for key in network.inference_keys()})
        with_others, without = examine(network), examine(alone)
        assert without.disagreement == ()
        assert without.organs == with_others.organs


def everywhere_unsure(shape: tuple[int, int, int]) -> UncertaintyMap:
    found = UncertaintyMap(shape, 3)
    found.entropy[:], found.rivals[:] = 200, 1
    found.labels[:, : shape[1] // 2] = 2
    return found


def test_places_of_a_model_that_is_unsure_everywhere_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(places_module, "MOST_POINTS", 20_000)
    shape = (96, 128, 128)
    found, labels = everywhere_unsure(shape), LabelSet.from_names("two", ["liver", "spleen"])
    assert sum(each.nbytes for each in (found.entropy, found.labels, found.rivals)) == 3 * np.prod(shape)
    tracemalloc.start()
    places = find_places(found, labels, Geometry(shape[::-1], (2.0, 2.0, 2.0)), 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(places) == 10
    assert peak < 12 * np.prod(shape)  # pieces of an organ in 32 bit, and masks


@pytest.mark.slow
def test_gathering_takes_three_bytes_a_voxel_and_a_row_of_scores_on_top():
    """Scores of 40 classes on 24 × 160 × 160 voxels would take 98 MB; the grid itself is larger."""
    code = """
import torch
from skcdf.files import peak_resident_bytes
from skcdf.inference.uncertainty import UncertaintyMap
torch.set_num_threads(1)
slab = torch.randn(40, 4, 160, 160)
UncertaintyMap((4, 160, 160), 40).add(0, 0, slab)
before = peak_resident_bytes()
found = UncertaintyMap((400, 160, 160), 40)
for z in range(0, 24, 4):
    found.add(z, 0, slab)
print(peak_resident_bytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 3 * 400 * 160 * 160 + 25e6
