"""A network whose batch norms are folded into its convolutions finds what it found before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skcdf.device import choose_device
from skcdf.inference import Predictor, predictor
from skcdf.models import default_model
from skcdf.networks import build_network, build_with_views, folded
from skcdf.networks.decoupled import SKCDF
from skcdf.networks.folded import FoldedConvolution, fold, library_works, set_library
from skcdf.networks.vnet import VNet
from skcdf.phantom import make_phantom

SIDE = 32
ARGUMENTS = {"channels": 1, "classes": 4, "filters": 4, "patch_size": [SIDE] * 3}
PRIOR = {"name": "scdl", "filters": 4, "classes": 4, "zero_start": False}
NETWORKS = {
    "vnet": ("vnet", {"channels": 1, "classes": 4, "filters": 4}),
    "pair": ("vnet_pair", {"channels": 1, "classes": 4, "filters": 4}),
    "skcdf": ("skcdf", ARGUMENTS),
    "skcdf and prior": ("skcdf", {**ARGUMENTS, "companion": PRIOR}),
    "prior at the stages": ("skcdf", {**ARGUMENTS, "companion": {**PRIOR, "inject": "stages"}}),
}


def trained(network: nn.Module) -> nn.Module:
    """Batch norms that do something, as after a training."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.3, 3)
            module.weight.data.uniform_(-1.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return network.eval()


def image(batch: int = 1) -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(batch, 1, SIDE, SIDE, SIDE).to(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("library", [None, torch.float32])
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_scores_stay_the_same_to_rounding(name, library):
    network = trained(build_network(*NETWORKS[name]))
    before = network(image(2))
    fold(network)
    assert not [each for each in network.modules() if isinstance(each, nn.BatchNorm3d)]
    choose_device("cpu", "fp32").place(network)
    set_library(network, library)
    for batch in (2, 1):  # what was laid out for two windows serves one as well
        assert torch.allclose(
            network(image(2)[:batch]), before[:batch], atol=1e-5 * float(before.abs().max())
        )


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_scores_in_16_bit_are_as_near_as_those_of_autocast(name):
    network = trained(build_network(*NETWORKS[name]))
    exact = network(image(2))
    fold(network)
    device = choose_device("cpu", "bf16")
    device.place(network)
    errors = []
    for library in (None, device.precision):
        set_library(network, library)
        with device.autocast():
            errors.append(float((network(image(2)) - exact).abs().mean()))
    assert 0 < errors[1] < 1.2 * errors[0]


def test_no_organ_shrinks_in_16_bit_for_being_the_last():
    """Two classes whose scores differ by less than bfloat16 can tell: rounded, they are equal, and the first wins."""
    network = build_network("vnet", {"channels": 1, "classes": 3, "filters": 4}).eval()
    with torch.no_grad():
        network.decoder.main_head.weight.zero_()
        network.decoder.main_head.bias.copy_(torch.tensor([8.0, 8.0, 8.01]))
    for precision in ("fp32", "bf16"):
        device = choose_device("cpu", precision)
        with torch.inference_mode(), device.autocast():
            features, head = network.unclassified(image())
            assert (network(image()).argmax(1) == 2).all()
            assert (head.scores(features.movedim(1, -1)).argmax(-1) == 2).all()


class Inverted(VNet):
    """A network that makes its scores otherwise."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return -super().forward(image)


@torch.inference_mode()
def test_a_network_with_a_forward_of_its_own_is_asked_for_its_scores():
    assert VNet(1, 3, 4).eval().unclassified(image()) is not None
    assert Inverted(1, 3, 4).eval().unclassified(image()) is None


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_the_head_of_the_last_features(name):
    network = build_network(*NETWORKS[name]).eval()
    with torch.inference_mode():
        found = network.unclassified(image()) if hasattr(network, "unclassified") else None
        if found is None:
            assert name in ("pair", "skcdf and prior", "prior at the stages")
        else:
            features, head = found
            assert torch.equal(head.scores(features.movedim(1, -1)).movedim(-1, 1), network(image()))


@pytest.mark.parametrize("name", NETWORKS)
def test_using_up_features_leaves_the_scores_as_they_are(name):
    network = trained(build_network(*NETWORKS[name]))
    with_gradients = network(image())
    with torch.no_grad():
        assert torch.equal(network(image()), with_gradients)


@torch.inference_mode()
def test_every_view_of_skcdf_stays_the_same():
    whole = build_with_views("skcdf", ARGUMENTS, SKCDF(**ARGUMENTS).state_dict())
    assert whole is not None
    before = list(trained(whole).views(image()))
    fold(whole)
    set_library(whole, torch.float32)
    after = list(whole.views(image()))
    assert len(before) == len(after) == 4
    for old, new in zip(before, after, strict=True):
        assert torch.allclose(new, old, atol=1e-5 * float(old.abs().max()))


@pytest.mark.parametrize("error", [RuntimeError("no oneDNN"), AttributeError("another name")])
def test_a_torch_without_the_library_computes_all_the_same(error, monkeypatch):
    def missing(*_: object) -> None:
        raise error

    library_works.cache_clear()
    monkeypatch.setattr(folded, "_library_convolution", missing)
    network = trained(build_network(*NETWORKS["vnet"]))
    fold(network)
    set_library(network, torch.float32)
    library_works.cache_clear()
    convolutions = [each for each in network.modules() if isinstance(each, FoldedConvolution)]
    assert convolutions
    assert not any(each.by_library for each in convolutions)
    assert network(image()).isfinite().all()


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4)),
        (nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.LeakyReLU()),
        (nn.Conv3d(1, 4, 3), nn.ReLU()),
        (nn.Conv3d(1, 4, 3),),
        (nn.Conv3d(1, 4, 3, dilation=2), nn.BatchNorm3d(4), nn.ReLU()),
        (nn.Conv3d(1, 4, 3, padding="same"), nn.BatchNorm3d(4), nn.ReLU()),
        (nn.Conv3d(1, 4, 3, bias=False), nn.BatchNorm3d(4), nn.ReLU()),
        (nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4, affine=False), nn.ReLU()),
        (nn.ConvTranspose3d(1, 4, 2, 2, output_padding=1), nn.BatchNorm3d(4), nn.ReLU()),
    ],
    ids=str,
)
@torch.inference_mode()
def test_layers_that_are_others_stay_as_they_are(layers):
    network = nn.Sequential(*layers, nn.Identity()).eval()
    before = network(image())
    fold(network)
    assert not [each for each in network if isinstance(each, FoldedConvolution)]
    assert torch.equal(network(image()), before)


@pytest.mark.slow
def test_the_shipped_model_labels_a_phantom_as_it_did_the_plain_way(monkeypatch):
    """Unfolded, and all scores interpolated; labels may differ only where the best two scores are within 1e-4."""
    scan, _ = make_phantom(1000, shape=(64, 96, 112), spacing=(3.5, 3.5, 3.5), cut_off_share=0)
    device = choose_device("cpu", "fp32")
    fast = Predictor(default_model(), device)
    monkeypatch.setattr(predictor, "fold", lambda network: None)
    plain = Predictor(default_model(), device)
    prepared, attempt = plain.prepare(scan), plain.ladder()[0]
    slabs = plain.window(attempt).scan(prepared.volume, plain.network_on(device), occupied=prepared.occupied)
    scores = torch.cat([each.clone() for _, each in slabs], 1)
    fine = F.interpolate(scores[None], prepared.placement.crop_shape, mode="trilinear")[0]
    labels, _, _ = fast.label(prepared, attempt, None, unsure=False)
    best = fine.topk(2, 0)
    differ = torch.from_numpy(labels) != best.indices[0]
    assert len(np.unique(labels)) > 8
    assert differ.float().mean() < 1e-4
    assert not differ[best.values[0] - best.values[1] > 1e-4].any()
