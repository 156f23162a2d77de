"""Start weights from another model: organs keep their weights by identity, methods share encoder and decoders."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from toy_bundles import described

from skcdf.errors import SkcdfError
from skcdf.labels import Code, Label, LabelSet
from skcdf.methods import Problem, build_method
from skcdf.models import ModelBundle, save_bundle
from skcdf.networks import build_network
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import TrainingConfig
from skcdf.trainer.transfer import matched_values, start_of, transferred_weights

PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
PATCH = (32, 32, 32)
ORGANS = ("spleen", "right_kidney", "left_kidney", "liver")
PARENTS = LabelSet.from_names("parents", ORGANS)
CONFIG = TrainingConfig(PLAN, PATCH, filters=2, seed=3)


def fresh(method: str, labels: LabelSet = PARENTS, **options: object) -> nn.Module:
    problem = Problem(1, labels.number_of_classes, 2, PATCH)
    return build_method(method, problem, "corrected", options).network


def worked(network: nn.Module) -> nn.Module:
    """A network whose running statistics are those of some use, not the initial ones."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            for buffer, low in ((module.running_mean, -0.5), (module.running_var, 0.5)):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + low)
    return network.eval()


def bundle_of(folder: Path, method: str, weights: dict[str, Tensor], **arguments: object) -> ModelBundle:
    name = {"supervised": "vnet", "skcdf": "skcdf"}[method]
    values = {"channels": 1, "classes": len(ORGANS) + 1, "filters": 2, **arguments}
    bundle = described(name, values, PARENTS, PLAN, method, name="parent")
    return save_bundle(folder, bundle, weights)


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(7)
    return {method: worked(fresh(method)) for method in ("supervised", "skcdf")}


@pytest.fixture(scope="module")
def parents(tmp_path_factory, networks) -> dict[str, ModelBundle]:
    """A model of each method with all weights, and one of skcdf that holds inference alone."""
    folder = tmp_path_factory.mktemp("parents")
    vnet, skcdf = networks["supervised"].state_dict(), networks["skcdf"].state_dict()
    needed = {key: skcdf[key] for key in networks["skcdf"].inference_keys()}
    return {
        "supervised": bundle_of(folder / "vnet", "supervised", vnet),
        "skcdf": bundle_of(folder / "skcdf", "skcdf", skcdf, patch_size=list(PATCH)),
        "inference": bundle_of(folder / "inference", "skcdf", needed, patch_size=list(PATCH)),
    }


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randn((1, 1, *PATCH), generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def expected(networks, image) -> Tensor:
    """What the parent finds."""
    with torch.inference_mode():
        return networks["supervised"](image)


def started(method: str, parent: ModelBundle, labels: LabelSet = PARENTS) -> nn.Module:
    network = fresh(method, labels)
    network.load_state_dict(transferred_weights(network, method, labels, parent).weights)
    return network.eval()


@st.composite
def label_sets(draw: st.DrawFn) -> LabelSet:
    """Some of the parent's organs in any order, one maybe under another name, among new ones."""
    kept = draw(st.lists(st.sampled_from(ORGANS), unique=True))
    new = draw(st.lists(st.sampled_from(["tumour", "stent", "shunt"]), unique=True, min_size=not kept))
    labels = LabelSet.from_names("new", draw(st.permutations([*kept, *new]))).labels
    renamed = draw(st.sampled_from([None, *kept]))
    return LabelSet(
        "new",
        "new",
        tuple(
            replace(each, name="renamed", partner=None)
            if each.name == renamed
            else replace(each, partner=None)
            for each in labels
        ),
    )


@settings(max_examples=20, deadline=None)
@given(labels=label_sets())
def test_kept_organs_keep_their_logits_wherever_the_new_label_set_puts_them(labels, parents, image, expected):
    with torch.inference_mode():
        found = started("supervised", parents["supervised"], labels)(image)
    codes = {(label.code, label.modifier): label.value for label in PARENTS.labels}
    same = partial(torch.allclose, rtol=0, atol=1e-5)  # another number of rows may round otherwise
    assert same(found[:, 0], expected[:, 0])
    for label in labels.labels:
        known = codes.get((label.code, label.modifier))
        if known is not None:
            assert same(found[:, label.value], expected[:, known]), label.name
        else:  # it claims no voxel before it has seen one of its own
            assert bool((found[:, label.value] < found[:, 0]).all())


class TestIdentity:
    def label(self, value: int, name: str, code: str, side: str | None = None) -> Label:
        modifier = Code("SCT", side, side) if side else None
        return Label(value, name, name, Code("SCT", code, name), (0, 0, 0), modifier)

    def made(self, *labels: tuple[str, ...]) -> LabelSet:
        return LabelSet("set", "set", tuple(self.label(i, *each) for i, each in enumerate(labels, 1)))

    def test_is_the_name_before_the_code(self):
        old = self.made(("liver", "1"), ("spleen", "2"))
        assert matched_values(self.made(("spleen", "1"), ("liver", "9")), old) == {1: 2, 2: 1}

    def test_is_code_and_side_under_another_name(self):
        old = self.made(("kidney_r", "7", "right"), ("kidney_l", "7", "left"))
        new = self.made(("left_kidney", "7", "left"), ("right_kidney", "7", "right"), ("third", "7"))
        assert matched_values(new, old) == {1: 2, 2: 1}

    def test_is_not_a_code_that_two_organs_share(self):
        old = self.made(("first", "7"), ("second", "7"))
        assert matched_values(self.made(("other", "7")), old) == {}

    def test_is_never_the_value(self):
        assert matched_values(self.made(("a", "1")), self.made(("b", "2"))) == {}


class TestMethodChange:
    def test_from_supervised_gives_every_decoder_and_head_what_the_v_net_knew(self, parents, image, expected):
        network = started("skcdf", parents["supervised"])
        with torch.inference_mode():
            features = network.encoder(image)
            for decoder in (network.decoder_l, network.decoder_u):
                assert all(torch.equal(logits, expected) for logits in decoder(features).values())

    def test_from_supervised_starts_skc_fresh_and_says_so(self, parents):
        transfer = transferred_weights(fresh("skcdf"), "skcdf", PARENTS, parents["supervised"])
        assert transfer.fresh and all("_knowledge." in name for name in transfer.fresh)
        assert {*transfer.carried, *transfer.fresh} == set(transfer.weights)
        assert not transfer.faithful
        assert "from supervised to skcdf" in transfer.notes[0] and "start untrained" in transfer.notes[0]
        assert "SKC" not in transfer.notes[0] and "the SKC blocks start fresh" in transfer.parts

    def test_to_supervised_takes_the_decoder_that_segments(self, parents, networks, image):
        network, skcdf = started("supervised", parents["skcdf"]), networks["skcdf"]
        with torch.inference_mode():
            found = network(image)
            assert torch.equal(found, skcdf.decoder_u(skcdf.encoder(image), ("main",))["main"])
        transfer = transferred_weights(fresh("supervised"), "supervised", PARENTS, parents["skcdf"])
        assert "worse than the old model" in transfer.notes[0]
        assert "the SKC blocks between them go" in transfer.parts

    def test_within_skcdf_carries_everything(self, parents, networks):
        transfer = transferred_weights(fresh("skcdf"), "skcdf", PARENTS, parents["skcdf"])
        own = networks["skcdf"].state_dict()
        assert all(torch.equal(tensor, own[name]) for name, tensor in transfer.weights.items())
        assert transfer.faithful and transfer.fresh == () and transfer.notes == ()

    def test_a_model_for_inference_alone_is_completed_from_its_decoder(self, parents, networks, image):
        network, skcdf = started("skcdf", parents["inference"]), networks["skcdf"]
        with torch.inference_mode():
            assert torch.equal(network(image), skcdf(image))
            features = network.encoder(image)
            logits = [*network.decoder_l(features).values(), *network.decoder_u(features).values()]
        assert len(logits) == 4 and all(torch.equal(each, logits[0]) for each in logits)


class TestRefusals:
    @pytest.mark.parametrize(("filters", "channels", "what"), [(3, 1, "2 filters"), (2, 2, "1 channels")])
    def test_of_another_network_size_say_which(self, filters, channels, what, parents):
        network = build_network("vnet", {"channels": channels, "classes": 5, "filters": filters})
        with pytest.raises(SkcdfError, match=f"Model parent has {what}"):
            transferred_weights(network, "supervised", PARENTS, parents["supervised"])

    def test_of_another_patch_size_for_skc_say_what_to_do(self, parents):
        network = build_method("skcdf", Problem(1, 5, 2, (32, 32, 64))).network
        with pytest.raises(SkcdfError, match="patches of 32 x 32 x 32 voxels") as refusal:
            transferred_weights(network, "skcdf", PARENTS, parents["skcdf"])
        assert "--method supervised" in refusal.value.hint

    def test_of_heads_in_another_order_say_which_option(self, parents):
        with pytest.raises(SkcdfError, match="another order") as refusal:
            transferred_weights(fresh("skcdf", heads="permuted"), "skcdf", PARENTS, parents["skcdf"])
        assert "heads to consistent" in refusal.value.hint


def test_the_digest_tells_start_weights_apart_and_depends_on_nothing_else(parents):
    config = replace(CONFIG, method="skcdf")
    one, same = (start_of(config, PARENTS, parents["supervised"]).digest for _ in range(2))
    other = start_of(config, PARENTS, parents["skcdf"]).digest
    fewer = start_of(config, LabelSet.from_names("fewer", ORGANS[1:]), parents["supervised"]).digest
    assert one == same and len({one, other, fewer}) == 3
