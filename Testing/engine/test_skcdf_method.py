"""SKCDF takes its step as `docs/methods.md` says: copies, two data flows, four losses, a switch for each repair."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from skcdf.errors import SkcdfError
from skcdf.losses import cross_entropy_and_dice, loss_of_selected
from skcdf.methods import Batch, Moment, Problem, build_method, method_options
from skcdf.methods.skcdf import Skcdf, SkcdfOptions
from skcdf.networks import build_network

SIZE = (32, 32, 32)
COUNTS = np.array([[9e4, 900.0, 2e3]] * 4 + [[9e4, 9e3, 100.0]])
MOMENT = Moment(progress=0.5, lagging=0.4)
WEIGHT = 10 * math.exp(-5 * 0.6**2)


def make(patch: tuple[int, int, int] = SIZE, **options: Any) -> Skcdf:
    """The method for two organs and five labelled cases, in training mode; the same weights every time."""
    torch.manual_seed(0)
    problem = Problem(1, 3, 4, patch, ("background", "spleen", "liver"), COUNTS)
    method = build_method("skcdf", problem, chosen={"ramp_weight": 10.0, "dropout": 0.5, **options})
    assert isinstance(method, Skcdf)
    method.network.train()
    return method


def make_batch(labelled: int = 1, unlabelled: int = 1, patch: tuple[int, int, int] = SIZE) -> Batch:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(labelled + unlabelled, 1, *patch, generator=generator)
    labels = torch.randint(3, (labelled, *patch), generator=generator).to(torch.uint8)
    return Batch(images[:labelled], labels, torch.ones(labelled, 3, dtype=torch.bool), images[labelled:])


def compute(method: Skcdf, batch: Batch) -> dict[str, float]:
    """All losses of a step, with the same dropout and masks every time."""
    torch.manual_seed(1)
    groups = method.losses(batch, MOMENT)
    return {name: float(loss.detach()) for group in groups for name, loss in group.items()}


def patches(count: int = 3) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(9)
    for index in range(count):
        yield 2 * torch.randn(2, 1, *SIZE, generator=generator) + index


def norms(network: nn.Module) -> list[nn.BatchNorm3d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]


class TestCopies:
    def test_are_made_in_order_of_parameters_alone(self):
        method = make(ema=0.9)
        compute(method, make_batch())  # so that running statistics differ
        before = {name: tensor.clone() for name, tensor in method.network.state_dict().items()}
        trainable = {name for name, _ in method.network.named_parameters()}
        method.begin_step(Moment(0.0, 0.0))
        expected = dict(before)
        ends = ("weight", "bias")
        for end in ends:
            main, abc = (f"decoder_l.heads.{head}.{end}" for head in ("main", "abc"))
            expected[main] = 0.9 * expected[main] + 0.1 * expected[abc]
        for name in trainable:
            if name.startswith("decoder_u."):
                source = name.replace("decoder_u", "decoder_l")
                expected[name] = 0.9 * expected[name] + 0.1 * expected[source]
        for end in ends:
            main, abc = (f"decoder_u.heads.{head}.{end}" for head in ("main", "abc"))
            expected[main] = 0.9 * expected[main] + 0.1 * expected[abc]
        for name, tensor in method.network.state_dict().items():
            if torch.equal(expected[name], before[name]):
                assert torch.equal(tensor, before[name]), name
            else:
                assert torch.allclose(tensor, expected[name], rtol=1e-6, atol=1e-8), name
                assert name in trainable and name.startswith(("decoder_u.", "decoder_l.heads.main."))

    @pytest.mark.parametrize(("how", "left"), [("constant", 1.0), ("fading", 0.25**0.9), ("none", 0.0)])
    def test_between_heads_stay_fade_or_are_left_out(self, how, left):
        method = make(ema=0.9, head_copies=how)
        before = {name: tensor.clone() for name, tensor in method.network.named_parameters()}
        method.begin_step(Moment(0.8, 0.75))
        found = dict(method.network.named_parameters())
        main, abc = (f"decoder_l.heads.{head}.weight" for head in ("main", "abc"))
        assert torch.allclose(found[main], torch.lerp(before[main], before[abc], 0.1 * left))
        ours, theirs = (f"{decoder}.ups.0.0.weight" for decoder in ("decoder_u", "decoder_l"))
        assert torch.allclose(found[ours], torch.lerp(before[ours], before[theirs], 0.1))

    def test_leave_gradients_to_the_step(self):
        method = make()
        method.begin_step(Moment(0.0, 0.0))
        assert all(parameter.requires_grad for parameter in method.network.parameters())
        assert all(parameter.is_leaf for parameter in method.network.parameters())


PATHS = ("labelled_path", "unlabelled_path")


class TestDataFlows:
    @staticmethod
    def watch(monkeypatch: pytest.MonkeyPatch, network: nn.Module, path: str) -> list[Any]:
        """Arguments, mode and logits of every call of one of the network's paths."""
        original, seen = getattr(network, path), []

        def spy(*arguments: Any) -> Any:
            decoded = original(*arguments)
            seen.append((arguments, network.training, decoded.logits))
            return decoded

        monkeypatch.setattr(network, path, spy)
        return seen

    def test_pseudo_labels_are_those_of_the_labelled_path_in_training_mode(self, monkeypatch):
        method, batch = make(), make_batch(2, 1)
        method.keep_probabilities = torch.ones(3)  # so that no mask is drawn
        seen = {path: self.watch(monkeypatch, method.network, path) for path in PATHS}
        known, unknown = method.losses(batch, MOMENT)
        ((images, count), training, logits) = seen["labelled_path"][0]
        assert training and count == 2
        assert torch.equal(images, torch.cat([batch.images, batch.unlabelled]))
        pseudo = {head: scores[2:].argmax(1) for head, scores in logits.items()}
        assert not torch.equal(pseudo["main"], pseudo["abc"])
        ((images, *_), training, answers) = seen["unlabelled_path"][0]
        assert training and torch.equal(images, batch.unlabelled)
        everything = torch.ones(2, *SIZE, dtype=torch.bool)
        expected = {
            "labelled": cross_entropy_and_dice(logits["main"][:2], batch.labels),
            "labelled_balanced": loss_of_selected(logits["abc"][:2], batch.labels, everything),
            "unlabelled": WEIGHT * cross_entropy_and_dice(answers["main"], pseudo["main"]),
            "unlabelled_balanced": WEIGHT * loss_of_selected(answers["abc"], pseudo["abc"], everything[:1]),
        }
        found = {**known, **unknown}
        assert found.keys() == expected.keys()
        for name, loss in found.items():
            assert float(loss.detach()) == pytest.approx(float(expected[name].detach())), name

    def test_each_pair_of_losses_trains_its_own_decoder_and_what_both_share(self):
        method = make()
        groups = method.losses(make_batch(), MOMENT)
        for mine, other in (("decoder_l", "decoder_u"), ("decoder_u", "decoder_l")):
            method.network.zero_grad()
            torch.stack(list(next(groups).values())).sum().backward()
            parts = (mine, "encoder", "local_knowledge", "global_knowledge", other)
            moved = {
                part: any(
                    parameter.grad is not None and bool(parameter.grad.any())
                    for parameter in getattr(method.network, part).parameters()
                )
                for part in parts
            }
            assert moved == {**dict.fromkeys(parts, True), other: False}
        assert next(groups, None) is None

    def test_a_class_that_was_not_annotated_is_unknown_to_both_heads(self):
        method, batch = make(), make_batch()
        annotated = torch.tensor([[True, True, False]])
        batch = replace(batch, labels=batch.labels * (batch.labels != 2), annotated=annotated)
        naive = replace(batch, annotated=torch.ones_like(annotated))
        marginal, wrong = compute(method, batch), compute(make(), naive)
        assert marginal["labelled"] < wrong["labelled"]
        assert marginal["labelled_balanced"] < wrong["labelled_balanced"]

    @pytest.mark.parametrize(("labelled", "unlabelled", "patch"), [(3, 1, SIZE), (1, 2, (32, 64, 32))])
    def test_any_batch_sizes_and_patch_sides_will_do(self, labelled, unlabelled, patch):
        losses = compute(make(patch=patch), make_batch(labelled, unlabelled, patch))
        assert len(losses) == 4
        assert all(math.isfinite(loss) and loss > 0 for loss in losses.values())


BALANCED = {"labelled_balanced", "unlabelled_balanced"}
UNLABELLED = {"unlabelled", "unlabelled_balanced"}
MAIN = {"labelled", "unlabelled"}


class TestOptions:
    @pytest.mark.parametrize(
        ("option", "value", "changed"),
        [
            ("mask", "multiply", BALANCED),
            ("class_counts", "first_four", BALANCED),
            ("heads", "permuted", UNLABELLED),
            ("statistics", "running", set()),
            ("gamma", 0.5, MAIN),
            ("ramp_weight", 1.0, UNLABELLED),
            ("ema", 0.5, set()),
            ("dropout", 0.0, MAIN | BALANCED),
            ("attention_dropout", 0.0, MAIN | BALANCED),
        ],
    )
    def test_each_changes_what_it_says_and_nothing_else(self, option, value, changed):
        batch = make_batch()
        before, after = make(), make(**{option: value})
        weights = before.network.state_dict()
        assert all(torch.equal(weights[name], x) for name, x in after.network.state_dict().items())
        losses, others = compute(before, batch), compute(after, batch)
        assert {name for name in losses if losses[name] != others[name]} == changed

    def test_faces_differ_in_the_repairs_alone_and_every_repair_has_a_reason(self):
        corrected, published = (asdict(method_options("skcdf", face)) for face in ("corrected", "published"))
        assert corrected == asdict(SkcdfOptions())
        repaired = {each.name for each in fields(SkcdfOptions) if each.metadata}
        assert {name for name, value in published.items() if value != corrected[name]} == repaired
        assert repaired >= {"mask", "class_counts", "heads", "statistics"}
        for each in fields(SkcdfOptions):
            if each.metadata:
                assert published[each.name] == each.metadata["published"]
                assert len(each.metadata["why"]) > 20

    def test_as_published_are_the_settings_of_the_published_program(self):
        assert asdict(method_options("skcdf", "published")) == {
            "mask": "multiply",
            "class_counts": "first_four",
            "heads": "permuted",
            "statistics": "running",
            "head_copies": "constant",
            "gamma": 1.0,
            "ramp_weight": 10.0,
            "ema": 0.99,
            "dropout": 0.5,
            "attention_dropout": 0.1,
            "skc": True,
            "decoupled": True,
            "balanced": True,
        }

    def test_single_ones_go_before_the_face(self):
        options = method_options("skcdf", "published", {"mask": "select", "ema": 0.9})
        assert options == replace(method_options("skcdf", "published"), mask="select", ema=0.9)
        assert (options.heads, options.ema) == ("permuted", 0.9)

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("magic", 1),
            ("mask", "sometimes"),
            ("gamma", "much"),
            ("gamma", -3),
            ("ema", 5),
            ("dropout", 1.5),
            ("attention_dropout", 1),
            ("ramp_weight", -1),
            ("gamma", None),
            ("ema", True),
            ("heads", 2),
            ("skc", 0),
            ("decoupled", "no"),
        ],
    )
    @pytest.mark.parametrize("compat", ["published", "corrected"])
    def test_that_do_not_exist_are_refused_by_name(self, option, value, compat):
        with pytest.raises(SkcdfError, match=f"Method skcdf: option {option} ") as refused:
            build_method("skcdf", Problem(1, 3, 2, SIZE), compat, {option: value})
        assert "class_counts" in refused.value.hint

    def test_the_published_class_counts_need_every_class(self):
        counts = COUNTS.copy()
        counts[:4, 2] = 0
        problem = Problem(1, 3, 2, SIZE, ("background", "spleen", "liver"), counts)
        with pytest.raises(SkcdfError, match="no liver"):
            build_method("skcdf", problem, "published")
        assert build_method("skcdf", problem).keep_probabilities[1] < 1


@pytest.fixture(scope="module")
def trained() -> Skcdf:
    """After a forward pass, so that running statistics are those of decoder_u's own training."""
    method = make()
    compute(method, make_batch())
    return method


class TestGatheredStatistics:
    def test_are_the_means_over_the_patches_in_decoder_u_and_nowhere_else(self, trained):
        method = trained
        found = method.weights(patches)
        network = copy.deepcopy(method.network).eval()
        seen: dict[int, list[Tensor]] = {}
        for index, norm in enumerate(norms(network.decoder_u)):
            norm.train()

            def keep(_: nn.Module, inputs: tuple[Tensor], index: int = index) -> None:
                seen.setdefault(index, []).append(inputs[0].double())

            norm.register_forward_pre_hook(keep)
        with torch.no_grad():
            for images in patches():
                network.unlabelled_path(images)
        names = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm3d)]
        names = [name for name in names if name.startswith("decoder_u.")]
        assert len(names) == len(seen)
        for index, name in enumerate(names):
            mean = torch.stack([x.mean((0, 2, 3, 4)) for x in seen[index]]).mean(0)
            variance = torch.stack([x.var((0, 2, 3, 4), unbiased=True) for x in seen[index]]).mean(0)
            assert torch.allclose(found[f"{name}.running_mean"].double(), mean, atol=1e-5)
            assert torch.allclose(found[f"{name}.running_var"].double(), variance, rtol=1e-4)
        gathered = tuple(f"{name}.{what}" for name in names for what in ("running_mean", "running_var"))
        for name, tensor in method.network.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                assert torch.equal(found[name], tensor) == (name not in gathered), name

    @pytest.mark.parametrize("fails", [False, True])
    def test_the_training_does_not_notice(self, trained, fails):
        def scan() -> Iterator[Tensor]:
            yield from patches(2)
            if fails:
                raise SkcdfError("the disk is gone")

        method, network = trained, trained.network
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        momenta = [norm.momentum for norm in norms(network)]
        random = torch.get_rng_state()
        if fails:
            with pytest.raises(SkcdfError, match="disk"):
                method.weights(scan)
        else:
            method.weights(scan)
        after = network.state_dict()
        assert [name for name in before if not torch.equal(before[name], after[name])] == []
        assert [norm.momentum for norm in norms(network)] == momenta
        assert all(module.training for module in network.modules())
        assert torch.equal(torch.get_rng_state(), random)
        assert all(parameter.grad is None for parameter in network.parameters())

    def test_as_published_the_running_ones_are_kept_and_no_patch_is_asked_for(self):
        method = make(statistics="running")

        def none() -> Iterator[Tensor]:
            raise AssertionError

        weights = method.weights(none)
        assert all(torch.equal(weights[name], x) for name, x in method.network.state_dict().items())
        weights["encoder.stages.0.0.weight"] += 1  # a copy
        assert not torch.equal(
            weights["encoder.stages.0.0.weight"], method.network.state_dict()["encoder.stages.0.0.weight"]
        )


@pytest.mark.parametrize("heads", ["consistent", "permuted"])
def test_inference_needs_only_the_named_tensors_and_gives_the_same_logits(heads):
    method = make(heads=heads, statistics="running")
    compute(method, make_batch())
    weights = method.weights(patches)
    network = build_network(*method.inference_network()).eval()
    network.load_state_dict({name: weights[name] for name in method.inference_keys()})
    image = next(patches())
    with torch.inference_mode():
        expected = method.network.eval().unlabelled_path(image).logits["main"]
        assert torch.equal(network(image), expected)
