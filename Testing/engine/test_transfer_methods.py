"""A model of any method starts a training of any other: encoder and decoder carry over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toy_bundles import described, segmenting

from skcdf.labels import LabelSet
from skcdf.methods import METHODS, Method, Moment, Problem, build_method
from skcdf.models import ModelBundle, save_bundle
from skcdf.networks import build_network
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer.transfer import COUNTERS, Transfer, transferred_weights

PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
PATCH = (32, 32, 32)
LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAIN = ("supervised", "mean_teacher", "pseudo_label")
"""One V-Net segments."""
KINDS = {**dict.fromkeys(PLAIN, "vnet"), "cps": "vnet_pair", "skcdf": "skcdf"}


def fresh(name: str, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    return build_method(name, Problem(1, LABELS.number_of_classes, 2, PATCH))


def noise() -> Iterator[Tensor]:
    yield torch.randn((2, 1, *PATCH), generator=torch.Generator().manual_seed(3))


def parent_of(name: str, folder: Path) -> ModelBundle:
    """A model as a training with that method leaves it: every tensor is its own, running statistics included."""
    method = fresh(name, seed=7)
    generator = torch.Generator().manual_seed(1)
    for module in method.network.modules():
        if isinstance(module, nn.BatchNorm3d):
            for buffer, low in ((module.running_mean, -0.5), (module.running_var, 0.5)):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + low)
    method.network.requires_grad_(False)
    for parameter in method.network.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    bundle = described(*method.inference_network(), LABELS, PLAN, name)
    return save_bundle(folder, bundle, method.weights(noise), inference_keys=method.inference_keys())


@pytest.fixture(scope="module")
def parents(tmp_path_factory) -> dict[str, ModelBundle]:
    folder = tmp_path_factory.mktemp("parents")
    return {name: parent_of(name, folder / name) for name in METHODS}


def started(name: str, parent: ModelBundle) -> tuple[Method, Transfer]:
    method = fresh(name)
    transfer = transferred_weights(method.network, name, LABELS, parent)
    method.network.load_state_dict(transfer.weights)
    return method, transfer


def as_segmenter(method: Method) -> nn.Module:
    """What a validation before the first step would run."""
    network, weights = build_network(*method.inference_network()), method.network.state_dict()
    keys = method.inference_keys()
    network.load_state_dict(weights if keys == "all" else {key: weights[key] for key in keys})
    return network.eval()


PAIRS = [
    pytest.param(parent, name, marks=[] if "skcdf" in (parent, name) or parent == name else pytest.mark.slow)
    for parent in METHODS
    for name in METHODS
]


@pytest.mark.parametrize(("parent", "name"), PAIRS)
def test_the_start_finds_what_the_parent_finds_where_it_says_so(parent, name, parents):
    method, transfer = started(name, parents[parent])
    image = next(noise())
    with torch.inference_mode():
        same = torch.equal(as_segmenter(method)(image), segmenting(parents[parent])(image))
    assert same == transfer.faithful == (KINDS[parent] == KINDS[name])
    assert bool(transfer.notes) == (not transfer.faithful)
    assert {*transfer.carried, *transfer.fresh} == transfer.weights.keys() - set(COUNTERS)


def parts_of(network: nn.Module, decoder: str = "decoder") -> dict[str, Tensor]:
    """Encoder and one decoder's main path, by a V-Net's names."""
    state = network.state_dict()
    names = [each for each in state if each.startswith(("encoder.", f"{decoder}.")) and ".abc." not in each]
    return {each.replace(f"{decoder}.", "decoder.", 1): state[each] for each in names}


def segmenting_parts(bundle: ModelBundle) -> dict[str, Tensor]:
    """Encoder and decoder that segment; of a pair, its first network's."""
    network = segmenting(bundle)
    if bundle.network.name == "vnet_pair":
        return parts_of(network.first)
    return parts_of(network, "decoder_u" if bundle.network.name == "skcdf" else "decoder")


def equal(one: dict[str, Tensor], other: dict[str, Tensor], part: str = "") -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items() if name.startswith(part))


@pytest.mark.parametrize(("parent", "name"), PAIRS)
def test_encoder_and_decoder_carry_over(parent, name, parents):
    network, expected = started(name, parents[parent])[0].network, segmenting_parts(parents[parent])
    if name == "skcdf":
        assert equal(parts_of(network, "decoder_u"), expected)
    elif name == "cps":
        assert equal(parts_of(network.first), expected)
    else:
        assert equal(parts_of(network), expected)
    if name == "mean_teacher":
        assert equal(parts_of(network.student), expected)
    if name == "pseudo_label":
        assert equal(parts_of(network.labeller), expected)


class TestThePair:
    @pytest.mark.parametrize("parent", PLAIN)
    def test_from_one_network_the_second_begins_with_its_encoder_and_another_decoder(self, parent, parents):
        method, transfer = started("cps", parents[parent])
        second, expected = parts_of(method.network.second), segmenting_parts(parents[parent])
        assert equal(second, expected, "encoder.")
        assert equal(second, parts_of(fresh("cps").network.second), "decoder.")
        assert transfer.fresh == tuple(
            name for name in transfer.weights if name.startswith("second.decoder.")
        )
        assert "the second network has a fresh decoder" in transfer.parts and "untrained" in transfer.notes[0]

    def test_from_skcdf_the_second_has_the_other_decoder(self, parents):
        method, transfer = started("cps", parents["skcdf"])
        given = parents["skcdf"].load_weights()
        found = parts_of(method.network.second)
        assert all(
            torch.equal(tensor, given[name.replace("decoder.", "decoder_l.", 1)])
            for name, tensor in found.items()
        )
        assert transfer.fresh == ()
        assert "fresh decoder" not in transfer.parts and "untrained" not in transfer.notes[0]

    @pytest.mark.parametrize("name", [*PLAIN, "skcdf"])
    def test_to_one_network_the_first_is_taken_and_said_so(self, name, parents):
        transfer = started(name, parents["cps"])[1]
        assert f"from cps to {name}: what the first of its two networks knows" in transfer.notes[0]
        assert "of its two networks the first is taken" in transfer.parts


def test_the_first_step_of_a_teacher_leaves_it_what_the_parent_was(parents):
    method, _ = started("mean_teacher", parents["mean_teacher"])
    method.begin_step(Moment(0.0, 0.0))
    assert equal(parts_of(method.network), segmenting_parts(parents["mean_teacher"]))


@pytest.mark.parametrize(("name", "counter"), [("mean_teacher", "updates"), ("pseudo_label", "frozen")])
def test_how_far_a_method_had_come_does_not_carry_over(name, counter, parents):
    network = started(name, parents[name])[0].network
    assert int(network.state_dict()[counter]) == 0


@pytest.mark.parametrize("name", [*PLAIN, "cps"])
def test_a_model_holds_what_segments_and_no_more(name, parents):
    assert set(parents[name].load_weights()) == set(segmenting(parents[name]).state_dict())
