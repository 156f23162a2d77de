"""The SKCDF network has the published size and initial weights, and takes any patch, batch and number of classes."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from skcdf.errors import SkcdfError
from skcdf.networks import build_network
from skcdf.networks.decoupled import SKCDF, DecoupledVNet

PUBLISHED_PATCH = (64, 128, 128)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


class TestSize:
    def test_the_published_parameters_but_for_those_that_nothing_uses(self):
        with torch.device("meta"):
            network = SKCDF(channels=1, classes=14, patch_size=PUBLISHED_PATCH, filters=32)
        dead_local, dead_global = 8 * 8 + 8, 256 * 256 + 256
        assert dead_local + dead_global == 65_864
        assert parameters(network.encoder) == 29_495_296
        assert parameters(network.decoder_l) == parameters(network.decoder_u) == 8_283_292
        assert parameters(network.local_knowledge) == 2_362_000 - dead_local
        assert parameters(network.global_knowledge) == 2_493_440 - dead_global
        assert parameters(network) == 50_917_320 - 65_864

    def test_inference_needs_neither_the_labelled_decoder_nor_auxiliary_heads(self):
        with torch.device("meta"):
            whole = SKCDF(1, 14, PUBLISHED_PATCH, 32)
            part = DecoupledVNet(1, 14, PUBLISHED_PATCH, 32)
        assert set(whole.inference_keys()) == part.state_dict().keys()
        assert parameters(part) == parameters(whole) - 8_283_292 - 14 * 33


@pytest.fixture(scope="module")
def network() -> SKCDF:
    torch.manual_seed(0)
    return SKCDF(channels=1, classes=14, patch_size=(64, 64, 128), filters=8).requires_grad_(False)


class TestInitialWeights:
    def test_linear_maps_of_attention_are_xavier_uniform(self, network):
        for block in (network.local_knowledge, network.global_knowledge):
            for linear in (block.query, block.key, block.value, block.projection):
                bound = math.sqrt(6 / (linear.in_features + linear.out_features))
                assert 0.99 * bound < float(linear.weight.abs().max()) <= bound
                assert float(linear.weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
                assert linear.bias is None

    @pytest.mark.parametrize(("name", "positions"), [("local", 8), ("global", 128)])
    def test_tokens_are_xavier_normal_as_the_convolution_that_they_are(self, network, name, positions):
        tokens = getattr(network, f"{name}_knowledge").tokens
        convolution = nn.Conv3d(1, positions, {8: (2, 2, 2), 128: (4, 4, 8)}[positions])
        assert tokens.weight.shape == convolution.weight.flatten(1).shape
        deviation = math.sqrt(2 / (positions * (1 + positions)))
        assert float(tokens.weight.std()) == pytest.approx(deviation, rel={8: 0.25, 128: 0.03}[positions])
        assert float(tokens.bias.abs().max()) <= 1 / math.sqrt(positions)

    def test_the_way_out_is_xavier_normal_with_torchs_bias(self, network):
        for block in (network.local_knowledge, network.global_knowledge):
            weight, bias = block.map_out.weight, block.map_out.bias
            assert float(weight.std()) == pytest.approx(math.sqrt(2 / sum(weight.shape)), rel=0.03)
            assert float(weight.abs().max()) > 3 * float(weight.std())  # normal, not uniform
            assert 0 < float(bias.abs().max()) <= 1 / math.sqrt(weight.shape[1])

    def test_convolutions_of_both_decoders_are_xavier_normal_and_transposed_ones_torchs(self, network):
        for decoder in (network.decoder_l, network.decoder_u):
            weight = decoder.convolutions[0][0].weight
            assert float(weight.std()) == pytest.approx(math.sqrt(2 / (2 * 64 * 27)), rel=0.03)
            transposed = decoder.ups[0][0]
            bound = 1 / math.sqrt(transposed.out_channels * 8)
            assert 0.99 * bound < float(transposed.weight.abs().max()) <= bound
        heads = torch.stack(
            [head.weight for d in (network.decoder_l, network.decoder_u) for head in d.heads.values()]
        )
        assert float(heads.std()) == pytest.approx(math.sqrt(2 / (8 + 14)), rel=0.15)

    def test_norms_are_the_identity(self, network):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d | nn.LayerNorm):
                assert (module.weight == 1).all() and (module.bias == 0).all()


class TestAnySize:
    @pytest.mark.parametrize("batch", [(1, 2), (3, 1)])
    @pytest.mark.parametrize(
        "patch", [(32, 32, 32), (32, 64, 32), pytest.param((96, 64, 32), marks=pytest.mark.slow)]
    )
    def test_forward_and_backward_in_both_modes(self, patch, batch):
        torch.manual_seed(0)
        labelled, unlabelled = batch
        network = SKCDF(1, 2, patch, filters=3)
        images = torch.randn(labelled + unlabelled, 1, *patch)
        known = network.labelled_path(images, labelled).logits
        unknown = network.unlabelled_path(images[labelled:]).logits
        assert list(known) == list(unknown) == ["main", "abc"]
        for logits, count in ((known, sum(batch)), (unknown, unlabelled)):
            assert all(each.shape == (count, 2, *patch) and each.isfinite().all() for each in logits.values())
        outputs = [each[:labelled] for each in known.values()] + list(unknown.values())
        torch.stack([each.square().mean() for each in outputs]).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    def test_one_image_in_unlabelled_mode(self):
        network = SKCDF(2, 5, (32, 32, 64), filters=1)
        for training in (True, False):
            logits = network.train(training).unlabelled_path(torch.randn(1, 2, 32, 32, 64)).logits
            assert logits["main"].shape == (1, 5, 32, 32, 64)

    @pytest.mark.parametrize("patch", [(16, 32, 32), (32, 48, 32), (32, 32), (0, 32, 32)])
    def test_a_patch_that_the_local_block_cannot_halve_is_refused(self, patch):
        with pytest.raises(ValueError, match="patch sides must be multiples of 32"):
            SKCDF(1, 2, patch)
        with pytest.raises(SkcdfError, match=r"m\.json: network skcdf cannot be built"):
            build_network("skcdf", {"channels": 1, "classes": 2, "patch_size": list(patch)}, "m.json")

    @pytest.mark.parametrize("sizes", [(0, 2, 1), (1, 0, 1), (1, 2, 0)])
    def test_nothing_is_refused_as_a_size(self, sizes):
        channels, classes, filters = sizes
        with pytest.raises(ValueError, match="must be at least 1"):
            SKCDF(channels, classes, (32, 32, 32), filters)

    def test_an_image_of_another_size_than_the_patch_is_refused(self):
        with pytest.raises(ValueError, match="do not divide into cells"):
            SKCDF(1, 2, (32, 32, 64), 1)(torch.zeros(1, 1, 32, 32, 32))


class TestPaths:
    def test_inference_is_the_unlabelled_path_and_its_main_head(self):
        torch.manual_seed(0)
        whole = SKCDF(1, 3, (32, 32, 32), 2, consistent_heads=False).eval()
        part = DecoupledVNet(1, 3, (32, 32, 32), 2, consistent_heads=False).eval()
        state = whole.state_dict()
        part.load_state_dict({name: state[name] for name in whole.inference_keys()})
        image = torch.randn(2, 1, 32, 32, 32)
        with torch.no_grad():
            assert torch.equal(part(image), whole.unlabelled_path(image).logits["main"])
            assert torch.equal(whole(image), part(image))

    def test_each_path_teaches_its_own_decoder_only(self):
        network = SKCDF(1, 2, (32, 32, 32), 2)
        sum(
            each.sum() for each in network.labelled_path(torch.randn(2, 1, 32, 32, 32), 1).logits.values()
        ).backward()
        assert all(p.grad is None for p in network.decoder_u.parameters())
        assert all(p.grad is not None for p in network.decoder_l.parameters())

    def test_consistent_heads_change_the_global_block_in_unlabelled_mode_only(self):
        torch.manual_seed(0)
        consistent, published = (
            SKCDF(1, 2, (32, 32, 32), 2, consistent_heads=h).eval() for h in (True, False)
        )
        published.load_state_dict(consistent.state_dict())
        images = torch.randn(2, 1, 32, 32, 32)
        with torch.no_grad():
            labelled = [
                network.labelled_path(images, 1).logits["main"] for network in (consistent, published)
            ]
            unlabelled = [network(images) for network in (consistent, published)]
        assert torch.equal(*labelled)
        assert not torch.allclose(*unlabelled, atol=1e-6)


class TestCopies:
    def test_three_copies_in_order_and_no_running_statistics(self):
        torch.manual_seed(0)
        network = SKCDF(1, 2, (32, 32, 32), 2)
        network.labelled_path(torch.randn(2, 1, 32, 32, 32), 1)  # so that statistics differ between decoders
        before = copy.deepcopy(network.state_dict())
        network.complement_decoders(0.9)
        after = network.state_dict()

        def mixed(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
            return 0.9 * target + 0.1 * source

        for name in before:
            part, _, rest = name.partition(".")
            expected = before[name]
            if part == "decoder_l" and rest.startswith("heads.main"):
                expected = mixed(before[name], before[name.replace("main", "abc")])
            elif part == "decoder_u" and "running" not in rest and "tracked" not in rest:
                expected = mixed(before[name], after[f"decoder_l.{rest}"])
                if rest.startswith("heads.main"):
                    expected = mixed(expected, after[name.replace("main", "abc")])
            torch.testing.assert_close(after[name], expected, msg=lambda text, n=name: f"{n}: {text}")
