"""The V-Net has the published sizes and initial weights, and takes any patch and any number of classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from skcdf.errors import SkcdfError
from skcdf.networks import build_network
from skcdf.networks.vnet import Decoder, Encoder, Head, VNet


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_are_the_published_ones():
    assert parameters(Encoder(channels=1, filters=32)) == 29_495_296
    assert parameters(Decoder(classes=14, filters=32, heads=("main", "abc"))) == 8_283_292
    one_head = 14 * (32 + 1)
    assert parameters(VNet(channels=1, classes=14, filters=32)) == 29_495_296 + 8_283_292 - one_head


@pytest.mark.parametrize("patch", [(16, 16, 16), (16, 48, 32), (64, 32, 16)])
@pytest.mark.parametrize(("channels", "classes", "filters"), [(1, 2, 1), (2, 5, 3), (1, 118, 2)])
def test_logits_have_the_images_size(patch, channels, classes, filters):
    network = VNet(channels, classes, filters).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, channels, *patch)).shape == (2, classes, *patch)


def test_the_encoder_halves_four_times_and_doubles_its_channels():
    features = Encoder(channels=1, filters=2).eval()(torch.zeros(1, 1, 32, 64, 48))
    assert [tuple(each.shape) for each in features] == [
        (1, 2 * 2**i, 32 // 2**i, 64 // 2**i, 48 // 2**i) for i in range(5)
    ]


def test_heads_share_one_feature_map_and_are_named():
    decoder = Decoder(classes=3, filters=2, heads=("main", "abc")).eval()
    features = Encoder(channels=1, filters=2).eval()(torch.randn(1, 1, 16, 16, 16))
    both, one = decoder(features), decoder(features, ["abc"])
    assert list(both) == ["main", "abc"]
    assert list(one) == ["abc"]
    assert torch.equal(both["abc"], one["abc"])
    assert not torch.equal(both["abc"], both["main"])


def test_convolutions_begin_xavier_normal_and_transposed_ones_as_torch_makes_them():
    torch.manual_seed(0)
    network = VNet(channels=1, classes=14, filters=8)
    for module in network.modules():
        if isinstance(module, nn.Conv3d) and module.weight.numel() > 5000:
            volume = math.prod(module.kernel_size)
            deviation = math.sqrt(2 / ((module.in_channels + module.out_channels) * volume))
            assert module.weight.std().item() == pytest.approx(deviation, rel=0.05)
            assert module.weight.abs().max().item() > 3 * deviation  # normal, not uniform
        elif isinstance(module, nn.ConvTranspose3d):
            bound = 1 / math.sqrt(module.out_channels * math.prod(module.kernel_size))
            assert 0.95 * bound < module.weight.abs().max().item() <= bound
        elif isinstance(module, nn.BatchNorm3d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    network, image = VNet(1, 2, 4), torch.randn(2, 1, 32, 32, 32)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_every_parameter_gets_a_gradient():
    network = VNet(1, 3, 2, dropout=0.0)
    network(torch.randn(2, 1, 32, 32, 32)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def accompanied(plugin: object, message: str, **more: object) -> tuple[str, dict[str, object], str]:
    """A case of the test below: a network with a companion that nobody can build."""
    return "vnet", {"channels": 1, "classes": 2, "companion": {"name": plugin, **more}}, message


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("unet", {}, r"m\.json: there is no network called unet.*vnet"),
        ("vnet", {"channels": 1}, r"m\.json: network vnet cannot be built"),
        ("vnet", {"channels": 1, "classes": 2, "filters": "four"}, "cannot be built"),
        ("vnet", {"channels": 1, "classes": 2, "filters": -1}, "cannot be built"),
        ("vnet", {"channels": 1, "classes": 2, "filters": 0}, "cannot be built"),
        accompanied(
            "other", r"m\.json: its network needs the plug-in other, which this version does not have"
        ),
        accompanied(["scdl"], "needs the plug-in"),
        accompanied("scdl", "must be a whole number of at least 1", filters=4, classes=2, stride=0),
        accompanied("scdl", "must be a whole number of at least 1", filters=4, classes=2, stride="8"),
        accompanied("scdl", "temperature must be above 0", filters=4, classes=2, temperature=-1),
        accompanied("scdl", "cannot be built", filters=4, classes=2, temperature="x"),
        accompanied("scdl", "cannot be built", filters=4, classes=2, speed=3),
        ("vnet", {"channels": 1, "classes": 2, "companion": "scdl"}, "cannot be built"),
        ("vnet", {"channels": 1, "classes": 2, "companion": {"filters": 4}}, "cannot be built"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_by_name(name, arguments, message):
    with pytest.raises(SkcdfError, match=message):
        build_network(name, arguments, "m.json")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_a_head_is_a_1x1x1_convolution_that_writes_classes_last(layout):
    torch.manual_seed(0)
    head = Head(3, 5).double()
    image = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    logits = head(image)
    expected = torch.nn.functional.conv3d(image, head.weight, head.bias)
    torch.testing.assert_close(logits, expected)
    assert logits.is_contiguous(memory_format=torch.channels_last_3d)
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * weights).sum(), [image, head.weight, head.bias])
    found = torch.autograd.grad((logits * weights).sum(), [image, head.weight, head.bias])
    for own, theirs in zip(found, gradients, strict=True):
        torch.testing.assert_close(own, theirs)
