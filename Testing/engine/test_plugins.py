"""Plug-ins accompany any method: their modules are trained, kept and taken into a bundle without the method's help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from skcdf.errors import SkcdfError
from skcdf.methods import METHODS, Batch, Method, Moment, Plugin, Problem, Stream, build_method
from skcdf.networks import COMPANIONS, build_network
from skcdf.networks.companion import Accompanied, Companion, Decoded
from skcdf.plugins import NONE, PLUGINS, build_plugin, plugin_options
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import TrainingConfig
from skcdf.trainer.schedule import build_optimizer, set_learning_rate

SIDE = 32
PROBLEM = Problem(1, 3, 2, (SIDE, SIDE, SIDE), ("background", "spleen", "liver"))
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
MOMENT = Moment(0.5, 0.5)


class Bias(Companion):
    """Adds one number for each class to the logits, or would like to."""

    def __init__(self, classes: int, refines: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.ones(classes))
        self.refines = refines

    def forward(self, decoder: Any, features: Sequence[Tensor], heads: Sequence[str] | None) -> Decoded:
        last = decoder.decode(features)
        logits = decoder.classify(last, heads)
        if self.refines:
            logits = {head: each + self.bias.view(1, -1, 1, 1, 1) for head, each in logits.items()}
        return Decoded(features, last, logits, {"mean": last.mean((1, 2, 3, 4))})


@dataclass(frozen=True)
class ToyOptions:
    """Of `Toy`."""

    refine: bool = field(default=True, metadata={"published": False, "why": "to be tested"})
    kind: Literal["mean"] = "mean"


class Toy(Plugin):
    """Wants last features of mean zero, and biases of size one."""

    Options = ToyOptions
    Presets = {"plain": {"refine": False}}  # noqa: RUF012

    def __init__(self, problem: Problem, options: ToyOptions) -> None:
        self.classes, self.options = problem.classes, options

    def accompany(self, networks: Sequence[Accompanied], refines: bool) -> None:
        for network in networks:
            network.companion = Bias(self.classes, self.options.refine)
            network.companion.optimizer = {"lr": 0.5, "weight_decay": 0.25}
        self.networks = networks

    def losses(self, stream: Stream, moment: Moment) -> dict[str, Tensor]:
        bias = sum((network.companion.bias.square().sum() for network in self.networks), torch.zeros(()))
        loss = stream.decoded.noted["mean"].square().mean() + bias
        return {f"{stream.name}toy": stream.share * stream.weight * loss}

    def inference_arguments(self) -> dict[str, Any] | None:
        return {"name": "bias", "classes": self.classes} if self.options.refine else None


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(PLUGINS, "toy", Toy)
    monkeypatch.setitem(COMPANIONS, "bias", Bias)


def make(method: str, plugin: str = "toy", **options: Any) -> Method:
    torch.manual_seed(0)
    return build_method(method, PROBLEM, plugin=build_plugin(plugin, PROBLEM, chosen=options))


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 1, SIDE, SIDE, SIDE, generator=generator)
    labels = torch.randint(3, (2, SIDE, SIDE, SIDE), generator=generator)
    return Batch(images[:2], labels, torch.ones(2, 3, dtype=torch.bool), images[2:])


every_method = pytest.mark.parametrize("name", METHODS)


class TestWithEveryMethod:
    @every_method
    def test_its_losses_are_the_steps_and_its_parameters_learn(self, name):
        method = make(name)
        method.begin_step(MOMENT)
        groups = list(method.losses(batch(), MOMENT))
        names = [key for group in groups for key in group if "toy" in key]
        assert names and len(set(names)) == len(names), "a name twice would hide a loss from the curves"
        sum(sum(group.values()) for group in groups).backward()
        parameters = dict(method.network.named_parameters())
        trained = {key for key, each in parameters.items() if each.requires_grad}
        brought = [key for key in parameters if key in method.companion_keys() & trained]
        assert len(brought) == len(method.accompanied())
        assert all(bool(parameters[key].grad.any()) for key in brought)

    @every_method
    def test_the_network_begins_as_without_it(self, name):
        plain, accompanied = make(name, NONE).network.state_dict(), make(name)
        brought = accompanied.companion_keys()
        rest = {key: value for key, value in accompanied.network.state_dict().items() if key not in brought}
        assert rest.keys() == plain.keys()
        assert all(torch.equal(rest[key], plain[key]) for key in plain)

    @every_method
    @pytest.mark.parametrize("refine", [True, False])
    def test_inference_has_what_refines_and_nothing_else(self, name, refine):
        method = make(name, refine=refine)
        weights = method.weights(lambda: iter([torch.randn(2, 1, SIDE, SIDE, SIDE)]))
        keys = method.inference_keys()
        network = build_network(*method.inference_network())
        network.load_state_dict(weights if keys == "all" else {key: weights[key] for key in keys})
        held = {key for key in network.state_dict() if "companion" in key}
        assert bool(held) == refine
        image = torch.randn(1, 1, SIDE, SIDE, SIDE)
        with torch.inference_mode():
            refined = network.eval()(image)
            for module in network.modules():
                if isinstance(module, Accompanied):
                    module.companion = None
            difference = refined - network(image)
        assert torch.allclose(difference, torch.full_like(difference, float(refine)), atol=1e-5)

    @every_method
    def test_two_networks_share_its_weight_and_their_losses_have_names_of_their_own(self, name):
        method, seen = make(name), []
        method.plugin.losses = lambda stream, moment: seen.append(stream) or {}
        list(method.losses(batch(), MOMENT))
        assert len({stream.name for stream in seen}) == len(seen)
        total = sum(stream.share * stream.weight for stream in seen)
        assert total == pytest.approx(1)
        assert all(stream.labels is None or len(stream.labels) == 2 for stream in seen)


class TestNetworksThatAreCopied:
    def test_a_teachers_companion_is_the_average_of_its_students(self):
        network = make("mean_teacher").network
        for value, expected in ((3.0, 3.0), (5.0, 4.0)):  # α = 0, then 1/2
            network.student.companion.bias.data.fill_(value)
            network.follow(0.9)
            assert network.companion.bias.tolist() == pytest.approx([expected] * 3)
        assert not network.companion.bias.requires_grad

    def test_a_labeller_keeps_its_companion_as_it_was(self):
        network = make("pseudo_label").network
        network.companion.bias.data.fill_(3.0)
        network.freeze()
        network.companion.bias.data.fill_(5.0)
        network.freeze()
        assert network.labeller.companion.bias.tolist() == [3.0] * 3
        assert not network.labeller.companion.bias.requires_grad

    @pytest.mark.parametrize("name", ["mean_teacher", "pseudo_label"])
    def test_what_has_no_say_in_the_logits_is_not_copied(self, name):
        method = make(name, refine=False)
        brought = [each for each in method.network.modules() if isinstance(each, Companion)]
        assert len(brought) == 1


class TestOptions:
    def test_the_face_then_the_preset_then_single_ones(self):
        assert plugin_options("toy").refine and not plugin_options("toy", "published").refine
        assert not plugin_options("toy", chosen={"preset": "plain"}).refine
        assert plugin_options("toy", chosen={"preset": "plain", "refine": True}).refine

    @pytest.mark.parametrize(
        ("name", "chosen", "message"),
        [
            ("toi", {}, "There is no plug-in called toi. Known are .*toy"),
            (
                "toy",
                {"refin": True},
                "Plug-in toy: option refin is not known. Its options are preset, refine, kind",
            ),
            ("toy", {"refine": 3}, "Plug-in toy: option refine must be true or false"),
            ("toy", {"preset": "rich"}, "Plug-in toy has no preset called rich. Known are plain"),
            (NONE, {"refine": True}, "Option refine is for a plug-in, and there is none"),
        ],
    )
    def test_mistakes_are_told_in_one_line(self, name, chosen, message):
        with pytest.raises(SkcdfError) as error:
            TrainingConfig(PLAN, plugin=name, plugin_options=chosen)
        assert re.search(message, str(error.value))

    def test_settings_survive_json_and_those_of_older_versions_have_none(self):
        config = TrainingConfig(PLAN, plugin="toy", plugin_options={"refine": False})
        assert TrainingConfig.from_json(config.to_json(), "file") == config
        older = {key: value for key, value in config.to_json().items() if not key.startswith("plugin")}
        assert TrainingConfig.from_json(older, "file").plugin == NONE


def test_a_companion_is_trained_at_its_own_rate_on_the_same_curve():
    config = TrainingConfig(PLAN, iterations=10, learning_rate=0.1, weight_decay=1e-3)
    method = make("supervised")
    optimizer = build_optimizer(method.network, config)
    own = [group for group in optimizer.param_groups if group["weight_decay"] == 0.25]
    assert [len(group["params"]) for group in own] == [1]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(method.network.parameters())
    )
    for iteration in (0, 5, 5):
        rate = set_learning_rate(optimizer, config, iteration)
        assert rate == pytest.approx(0.1 * (1 - iteration / 10) ** 0.9)
        assert own[0]["lr"] == pytest.approx(5 * rate)
    without = build_optimizer(make("supervised", NONE).network, replace(config, warm_up=3))
    assert len(without.param_groups) == 1
