"""Mean teacher, CPS and one round of pseudo-labels take their steps as `docs/methods.md` §8 says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from skcdf.device import Device
from skcdf.errors import SkcdfError
from skcdf.losses import cross_entropy, cross_entropy_and_dice
from skcdf.methods import Batch, Method, Moment, Problem, build_method
from skcdf.networks import build_network

SIZE = (32, 32, 32)
COUNTS = np.array([[9e4, 900.0, 2e3]])
MOMENT = Moment(progress=0.7, lagging=0.6)
METHODS = ("mean_teacher", "cps", "pseudo_label")
NAMES = {
    "mean_teacher": {"labelled", "consistency"},
    "cps": {"labelled", "crossed", "labelled_second", "crossed_second"},
    "pseudo_label": {"labelled", "unlabelled"},
}
DIRECT = {"labelled", "labelled_second"}


def made(name: str, **options: Any) -> Method:
    """For two organs, in training mode; the same weights every time."""
    torch.manual_seed(0)
    method = build_method(name, Problem(1, 3, 2, SIZE, ("background", "a", "b"), COUNTS), chosen=options)
    method.network.train()
    return method


def batch() -> Batch:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(3, 1, *SIZE, generator=generator)
    labels = torch.randint(3, (2, *SIZE), generator=generator).to(torch.uint8)
    return Batch(images[:2], labels, torch.ones(2, 3, dtype=torch.bool), images[2:])


def compute(method: Method, given: Batch, moment: Moment = MOMENT) -> dict[str, Tensor]:
    """All losses of a step, with the same noise every time."""
    torch.manual_seed(1)
    return {name: loss for group in method.losses(given, moment) for name, loss in group.items()}


def descend(method: Method, given: Batch, steps: int = 2, moment: Moment = MOMENT) -> None:
    optimizer = torch.optim.SGD(method.network.parameters(), 0.05, momentum=0.9)
    for _ in range(steps):
        method.begin_step(MOMENT)
        optimizer.zero_grad()
        for group in method.losses(given, moment):
            sum(group.values()).backward()
        optimizer.step()


def rest() -> Iterator[Tensor]:
    """Patches to gather statistics from."""
    for index in range(2):
        yield torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(index))


def scale(progress: float, weight: float) -> float:
    return weight * math.exp(-5 * (1 - progress) ** 2)


def trainable(method: Method) -> dict[str, nn.Parameter]:
    return {name: each for name, each in method.network.named_parameters() if each.requires_grad}


class TestAll:
    @pytest.mark.parametrize("name", METHODS)
    def test_losses_are_finite_and_named_from_the_first_step_on(self, name):
        for progress in (0.0, 0.49, 0.5, 1.0):
            losses = compute(made(name), batch(), Moment(progress, progress))
            assert losses.keys() == NAMES[name]
            assert all(math.isfinite(float(loss.detach())) for loss in losses.values())

    @pytest.mark.parametrize("name", METHODS)
    @pytest.mark.parametrize(
        "precision", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]
    )
    def test_all_that_is_trained_gets_a_gradient_in_one_pass_or_several(self, name, precision):
        """Under autocast, a pass without gradient must not leave its weights to the pass with one."""
        cpu = Device("cpu", precision, "CPU")
        for several in (False, True):
            method = made(name)
            if several:
                for group in cpu.autocast_each(method.losses(batch(), MOMENT)):
                    sum(group.values()).backward()
            else:
                with cpu.autocast():
                    total = sum(loss for group in method.losses(batch(), MOMENT) for loss in group.values())
                total.backward()
            assert all(each.grad is not None for each in trainable(method).values())
            frozen = set(dict(method.network.named_parameters())) - set(trainable(method))
            assert all(method.network.get_parameter(each).grad is None for each in frozen)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", METHODS)
    def test_unlabelled_images_alone_teach_and_more_so_later(self, name):
        def push(moment: Moment, weight: float | None = None) -> float:
            options = {} if weight is None else {"ramp_weight": weight}
            method = made(name, **options)
            descend(method, batch(), 1)  # so that teacher and student differ
            method.begin_step(MOMENT)
            method.network.zero_grad()
            indirect = [loss for key, loss in compute(method, batch(), moment).items() if key not in DIRECT]
            sum(indirect).backward()
            grads = [each.grad for each in trainable(method).values() if each.grad is not None]
            return float(sum(grad.abs().sum() for grad in grads))

        assert push(MOMENT) > 0
        assert push(Moment(0.9, 0.9)) > push(Moment(0.6, 0.6))
        assert push(MOMENT, 0.0) == 0

    @pytest.mark.parametrize("name", METHODS)
    def test_a_class_that_was_not_annotated_is_unknown(self, name):
        given = batch()
        annotated = torch.tensor([[True, True, False]] * 2)
        given = replace(given, labels=given.labels * (given.labels != 2), annotated=annotated)
        marginal = compute(made(name), given)
        naive = compute(made(name), replace(given, annotated=torch.ones_like(annotated)))
        for key in NAMES[name] & DIRECT:
            assert float(marginal[key].detach()) < float(naive[key].detach())

    @pytest.mark.parametrize("name", METHODS)
    def test_a_voxel_counts_as_in_supervised_training(self, name):
        assert made(name).voxel_weights() == made("supervised").voxel_weights() != ()

    @pytest.mark.slow
    @pytest.mark.parametrize("name", METHODS)
    def test_inference_needs_the_named_tensors_alone(self, name):
        method = made(name)
        descend(method, batch())
        weights = method.weights(rest)
        network = build_network(*method.inference_network()).eval()
        keys = method.inference_keys()
        network.load_state_dict(weights if keys == "all" else {key: weights[key] for key in keys})
        assert set(weights) == set(network.state_dict())
        whole = method.network.state_dict()  # what a training starts from can be validated
        network.load_state_dict(whole if keys == "all" else {key: whole[key] for key in keys})

    @pytest.mark.parametrize("name", METHODS)
    def test_it_begins_with_the_weights_of_supervised_training(self, name):
        supervised, own = made("supervised").network.state_dict(), made(name).network.state_dict()
        if name == "cps":
            others = [key for key, tensor in supervised.items() if tensor.dim() != 5 or ".ups." in key]
            assert all(torch.equal(own[f"first.{key}"], supervised[key]) for key in others)
        else:
            assert all(torch.equal(own[key], tensor) for key, tensor in supervised.items())

    @pytest.mark.parametrize("name", METHODS)
    def test_weights_out_of_range_are_refused_by_name(self, name):
        with pytest.raises(SkcdfError, match=f"Method {name}: option ramp_weight must not be negative"):
            made(name, ramp_weight=-1)
        with pytest.raises(SkcdfError, match=f"Method {name}: option gamma"):
            made(name, gamma=2)


class TestMeanTeacher:
    @pytest.mark.slow
    def test_the_teacher_is_the_average_of_the_students_past(self):
        method = made("mean_teacher", ema=0.6)
        names = [name for name, _ in method.network.student.named_parameters()]
        expected: dict[str, Tensor] = {}
        for step in range(4):  # α = 0, 1/2, then 0.6
            student = {name: each.clone() for name, each in method.network.student.named_parameters()}
            weight = (0, 0.5, 0.6, 0.6)[step]
            expected = {
                name: weight * expected.get(name, 0) + (1 - weight) * student[name].detach() for name in names
            }
            method.begin_step(MOMENT)
            found = dict(method.network.named_parameters())
            assert all(torch.allclose(found[name], expected[name], rtol=1e-5, atol=1e-7) for name in names)
            optimizer = torch.optim.SGD(method.network.parameters(), 0.05)
            sum(compute(method, batch()).values()).backward()
            optimizer.step()
        assert int(method.network.updates) == 4

    def test_its_losses_are_their_equations(self):
        method, given = made("mean_teacher", noise=0.0), batch()
        descend(method, given, 2)
        losses = compute(method, given)
        with torch.no_grad():
            student = method.network.student(torch.cat([given.images, given.unlabelled]))
            teacher = method.network(given.unlabelled)
        p, q = student[2:].softmax(1).double().numpy(), teacher.softmax(1).double().numpy()
        assert np.abs(p - q).max() > 1e-4
        distance = ((p - q) ** 2).sum(1).mean()
        assert float(losses["consistency"].detach()) == pytest.approx(scale(0.6, 1.0) * distance, rel=1e-5)
        known = cross_entropy_and_dice(student[:2], given.labels, given.annotated, 0.5)
        assert float(losses["labelled"].detach()) == pytest.approx(float(known), rel=1e-6)

    def test_the_teacher_sees_noise_that_is_cut_off_and_the_student_none(self):
        method, given = made("mean_teacher", noise=0.3), batch()
        seen: dict[str, Tensor] = {}
        for name, network in (
            ("teacher", method.network.encoder),
            ("student", method.network.student.encoder),
        ):
            network.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
        compute(method, given)
        assert torch.equal(seen["student"], torch.cat([given.images, given.unlabelled]))
        noise = seen["teacher"] - given.unlabelled
        assert noise.abs().max() <= 0.6 + 1e-6
        assert (noise.abs() > 0.599).float().mean() == pytest.approx(0.0455, abs=0.01)
        assert noise[noise.abs() < 0.59].std() == pytest.approx(0.3 * 0.88, rel=0.05)

    def test_the_teacher_segments_with_statistics_gathered_anew(self):
        method = made("mean_teacher")
        descend(method, batch())
        before = {name: tensor.clone() for name, tensor in method.network.state_dict().items()}
        weights = method.weights(rest)
        after = method.network.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert all(module.training for module in method.network.modules())
        for name, tensor in weights.items():
            if not name.endswith("num_batches_tracked"):
                assert torch.equal(tensor, before[name]) != ("running" in name), name
        images = torch.cat([*rest()])
        first = method.network.encoder.stages[0][0](images)
        assert torch.allclose(weights["encoder.stages.0.1.running_mean"], first.mean((0, 2, 3, 4)), atol=1e-5)


class TestCps:
    def test_the_networks_begin_kaiming_normal_and_xavier_normal(self):
        torch.manual_seed(0)
        network = build_network("vnet_pair", {"channels": 1, "classes": 3, "filters": 8})
        pairs = zip(network.first.modules(), network.second.modules(), strict=True)
        for one, other in pairs:
            if isinstance(one, nn.Conv3d) and one.weight.numel() > 5000:
                volume = math.prod(one.kernel_size)
                assert one.weight.std().item() == pytest.approx(
                    (2 / (one.in_channels * volume)) ** 0.5, rel=0.05
                )
                xavier = (2 / ((one.in_channels + one.out_channels) * volume)) ** 0.5
                assert other.weight.std().item() == pytest.approx(xavier, rel=0.05)

    def test_its_losses_are_their_equations(self):
        method, given = made("cps", gamma=0.5), batch()
        losses = compute(method, given)
        with torch.no_grad():
            images = torch.cat([given.images, given.unlabelled])
            first, second = method.network.first(images), method.network.second(images)
        assert not torch.equal(first.argmax(1), second.argmax(1))
        for suffix, own, other in (("", first, second), ("_second", second, first)):
            known = cross_entropy_and_dice(own[:2], given.labels, given.annotated, 0.5)
            crossed = scale(0.6, 0.1) * cross_entropy(own.log_softmax(1), other.argmax(1), 0.5)
            assert float(losses[f"labelled{suffix}"].detach()) == pytest.approx(float(known), rel=1e-5)
            assert float(losses[f"crossed{suffix}"].detach()) == pytest.approx(float(crossed), rel=1e-5)

    def test_a_group_trains_its_network_alone(self):
        method = made("cps")
        groups = method.losses(batch(), MOMENT)
        for mine, other in (("first", "second"), ("second", "first")):
            method.network.zero_grad()
            sum(next(groups).values()).backward()
            assert all(each.grad is not None for each in getattr(method.network, mine).parameters())
            assert all(each.grad is None for each in getattr(method.network, other).parameters())

    def test_the_pass_for_pseudo_labels_leaves_no_trace_in_the_running_statistics(self):
        method, given = made("cps"), batch()
        compute(method, given)
        alone = made("cps").network
        alone.second(torch.cat([given.images, given.unlabelled]))
        for name, tensor in method.network.second.state_dict().items():
            if "running" in name:
                assert torch.equal(tensor, alone.second.state_dict()[name]), name

    def test_a_pseudo_label_may_stand_in_for_a_class_that_was_not_annotated(self):
        given = batch()
        given = replace(given, annotated=torch.tensor([[True, True, False]] * 2))
        given = replace(given, labels=given.labels * (given.labels != 2))
        losses = []
        for sure in (False, True):  # the second network, of the class that nobody drew
            method = made("cps")
            if sure:
                method.network.second.decoder.heads["main"].bias.data[2] += 50
            losses.append(compute(method, given)["crossed"])
        method.network.zero_grad()
        losses[1].backward()
        gradient = method.network.first.decoder.heads["main"].bias.grad
        assert gradient[2] < 0 < gradient[0]  # towards that class, and away from background
        assert float(losses[0].detach()) != float(losses[1].detach())

    def test_the_mean_of_both_logits_segments(self):
        network = made("cps").network.eval()
        image = next(rest())
        with torch.inference_mode():
            expected = (network.first(image) + network.second(image)) / 2
            assert torch.equal(network(image), expected)


class TestPseudoLabel:
    def test_the_first_half_is_supervised_training_alone(self):
        method, plain, given = made("pseudo_label"), made("supervised"), batch()
        early = Moment(0.49, 0.49)
        losses = compute(method, given, early)
        assert torch.equal(losses["labelled"], compute(plain, given, early)["supervised"])
        assert float(losses["unlabelled"]) == 0 == int(method.network.frozen)

    def test_half_way_the_network_is_copied_and_its_copy_labels_for_good(self):
        method, given = made("pseudo_label"), batch()
        descend(method, given, 2, Moment(0.2, 0.2))
        then = {name: tensor.clone() for name, tensor in method.network.state_dict().items()}
        descend(method, given, 2, Moment(0.5, 0.5))
        assert int(method.network.frozen) == 1
        for name, tensor in method.network.labeller.state_dict().items():
            assert torch.equal(tensor, then[name]), name
        assert not torch.equal(method.network.encoder.stages[0][0].weight, then["encoder.stages.0.0.weight"])

    def test_its_losses_are_their_equations(self):
        method, given = made("pseudo_label", ramp_weight=2.0, start=0.4), batch()
        descend(method, given, 1, Moment(0.4, 0.4))
        losses = compute(method, given)
        labeller = build_network("vnet", {"channels": 1, "classes": 3, "filters": 2}).eval()
        labeller.load_state_dict(method.network.labeller.state_dict())
        with torch.no_grad():
            labels = labeller(given.unlabelled).argmax(1)
            logits = method.network(torch.cat([given.images, given.unlabelled]))
        known = cross_entropy_and_dice(logits[:2], given.labels, given.annotated, 0.5)
        unknown = scale(0.3 / 0.6, 2.0) * cross_entropy_and_dice(logits[2:], labels, gamma=0.5)
        assert float(losses["labelled"].detach()) == pytest.approx(float(known), rel=1e-5)
        assert float(losses["unlabelled"].detach()) == pytest.approx(float(unknown), rel=1e-5)

    def test_the_labeller_is_as_in_inference_whatever_the_mode(self):
        network = made("pseudo_label").network
        for mode in (True, False, True):
            network.train(mode)
            assert network.encoder.training is mode
            assert not any(module.training for module in network.labeller.modules())
