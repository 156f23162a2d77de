"""SKCDF without one of its parts (`docs/methods.md` §6.1): the part is gone, and what is left trains and segments."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from toy_bundles import described, segmenting

from skcdf.commands.train_arguments import add_method_arguments, add_setting_arguments, chosen_settings
from skcdf.errors import Cancelled, SkcdfError
from skcdf.fine_tune_settings import settings_from_parent
from skcdf.interchange import export_published
from skcdf.labels import LabelSet
from skcdf.methods import Batch, Moment, Problem, build_method
from skcdf.methods.skcdf import Skcdf
from skcdf.models import ModelBundle, save_bundle
from skcdf.networks import build_with_views
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress
from skcdf.trainer import Trainer, TrainingConfig
from skcdf.trainer.transfer import transferred_weights

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
PATCH = (32, 32, 32)
COUNTS = np.array([[9e4, 900.0, 2e3, 2e3]] * 4)
MOMENT = Moment(progress=0.5, lagging=0.4)
LOSSES = {"labelled", "labelled_balanced", "unlabelled", "unlabelled_balanced"}
OPTIONS = ("skc", "decoupled", "balanced")
WITHOUT = [*((option,) for option in OPTIONS), OPTIONS]
"""Each part alone, and all at once."""
CONFIG = TrainingConfig(
    PLAN,
    PATCH,
    method="skcdf",
    filters=2,
    batch_size=1,
    unlabelled_batch_size=1,
    iterations=4,
    learning_rate=0.02,
    seed=3,
)
IMAGE = torch.randn(1, 1, *PATCH, generator=torch.Generator().manual_seed(8))

without = pytest.mark.parametrize("parts", WITHOUT, ids="+".join)


def left_out(parts: tuple[str, ...], **more: Any) -> dict[str, Any]:
    return {**dict.fromkeys(parts, False), **more}


def make(parts: tuple[str, ...] = (), **options: Any) -> Skcdf:
    torch.manual_seed(0)
    problem = Problem(1, LABELS.number_of_classes, 2, PATCH, ("background", *LABELS.names), COUNTS)
    method = build_method("skcdf", problem, chosen=left_out(parts, **options))
    assert isinstance(method, Skcdf)
    method.network.train()
    return method


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(3, 1, *PATCH, generator=generator)
    labels = torch.randint(4, (2, *PATCH), generator=generator).to(torch.uint8)
    return Batch(images[:2], labels, torch.ones(2, 4, dtype=torch.bool), images[2:])


def belongs_to(name: str, part: str) -> bool:
    """Whether a tensor is of what an option leaves out."""
    return {
        "skc": name.startswith(("local_knowledge.", "global_knowledge.")),
        "decoupled": name.startswith("decoder_l."),
        "balanced": ".heads.abc." in name,
    }[part]


@pytest.fixture
def make_trainer(toy_volumes, device, tmp_path):
    def make(parts: tuple[str, ...], folder: str = "run", **options: Any) -> Trainer:
        config = replace(CONFIG, method_options=left_out(parts))
        unlabelled = [replace(toy_volumes[2], labels=None, locations=())]
        return Trainer(config, LABELS, toy_volumes[:2], unlabelled, tmp_path / folder, device, **options)

    return make


def saved(method: Skcdf, weights: dict[str, torch.Tensor], folder: Path) -> ModelBundle:
    bundle = described(*method.inference_network(), LABELS, PLAN, "skcdf")
    save_bundle(folder, bundle, weights, inference_keys=method.inference_keys())
    return ModelBundle.load(folder)


def untrained(parts: tuple[str, ...], folder: Path, **options: Any) -> ModelBundle:
    method = make(parts, **options)
    return saved(method, method.network.state_dict(), folder)


class TestWhatGoes:
    @without
    def test_the_tensors_of_the_part_and_no_others(self, parts):
        whole, found = (method.network.state_dict() for method in (make(), make(parts)))
        expected = {name for name in whole if not any(belongs_to(name, part) for part in parts)}
        assert found.keys() == expected != whole.keys()
        assert all(found[name].shape == whole[name].shape for name in found)

    @without
    def test_the_losses_of_the_part_and_no_others_and_every_parameter_is_still_trained(self, parts):
        method, losses = make(parts, ramp_weight=10.0), {}
        for group in method.losses(make_batch(), MOMENT):
            torch.stack(list(group.values())).sum().backward()
            losses.update(group)
        gone = {name for name in LOSSES if "balanced" in parts and name.endswith("balanced")}
        assert losses.keys() == LOSSES - gone
        assert all(float(loss.detach()) > 0 for loss in losses.values())
        for name, parameter in method.network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            # Both norms of a block take away what a bias of the tokens adds to all channels.
            assert parameter.grad.any() or name.endswith("tokens.bias"), name

    def test_without_skc_the_decoder_gets_the_features_of_the_encoder(self):
        network = make(("skc",)).network.eval()
        with torch.no_grad():
            features = network.encoder(IMAGE)
            assert torch.equal(network(IMAGE), network.decoder_u(features)["main"])
            pair = torch.cat([IMAGE, 2 * IMAGE])
            alone, together = network.labelled_path_alone(pair), network.labelled_path(pair, 1)
        assert all(torch.equal(alone.logits[head], together.logits[head]) for head in ("main", "abc"))

    def test_without_decoupling_one_decoder_answers_in_both_flows(self):
        network = make(("decoupled",)).network.eval()
        with torch.no_grad():
            labelled, unlabelled = network.labelled_path_alone(IMAGE), network.unlabelled_path(IMAGE)
        assert all(torch.equal(labelled.logits[head], unlabelled.logits[head]) for head in ("main", "abc"))

    @without
    def test_copies_are_made_of_what_is_there(self, parts):
        method = make(parts, ema=0.9)
        before = {name: tensor.clone() for name, tensor in method.network.state_dict().items()}
        method.begin_step(Moment(0.0, 0.0))
        expected = dict(before)
        trainable = {name for name, _ in method.network.named_parameters()}
        for decoder in ("decoder_u",) if "decoupled" in parts else ("decoder_l", "decoder_u"):
            if decoder == "decoder_u" and "decoupled" not in parts:
                for name in trainable:
                    if name.startswith("decoder_u."):
                        source = expected[name.replace("decoder_u", "decoder_l")]
                        expected[name] = 0.9 * expected[name] + 0.1 * source
            if "balanced" not in parts:
                for end in ("weight", "bias"):
                    main, abc = (f"{decoder}.heads.{head}.{end}" for head in ("main", "abc"))
                    expected[main] = 0.9 * expected[main] + 0.1 * expected[abc]
        for name, tensor in method.network.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], msg=lambda text, n=name: f"{n}: {text}")
        moved = {name for name in before if not torch.equal(before[name], expected[name])}
        assert bool(moved) == (parts != OPTIONS)

    def test_without_balanced_heads_a_voxel_counts_as_in_the_main_loss(self):
        assert make().voxel_weights() == pytest.approx((1, 100, 45, 45))
        assert make(("balanced",)).voxel_weights() == pytest.approx((1, 1, 1, 1))
        assert make(("balanced",), gamma=0.5).voxel_weights() == pytest.approx((1, 10, 45**0.5, 45**0.5))


@pytest.mark.parametrize(
    "parts", [OPTIONS, *(pytest.param((each,), marks=pytest.mark.slow) for each in OPTIONS)], ids="+".join
)
def test_what_is_left_trains_and_its_model_segments_as_in_training(parts, make_trainer, tmp_path):
    trainer = make_trainer(parts)
    before = {name: each.clone() for name, each in trainer.method.network.state_dict().items()}
    state = trainer.run()
    assert LOSSES >= {*state.history[-1][2]} >= {"labelled", "unlabelled"}
    after = trainer.method.network.state_dict()
    assert not [name for name in before if name.endswith("weight") and torch.equal(before[name], after[name])]
    weights = trainer.current_weights()
    model = saved(trainer.method, weights, tmp_path / "model")
    assert model.network.arguments["skc"] == ("skc" not in parts)
    with torch.inference_mode():
        expected = trainer.inference_network(weights).eval()(IMAGE)
        assert torch.equal(segmenting(model)(IMAGE), expected)
    views = build_with_views(model.network.name, model.network.arguments, weights)
    assert (views is not None) == (parts == ("skc",))


@pytest.mark.slow
@without
def test_a_stopped_training_goes_on_to_the_same_bits(parts, make_trainer):
    whole = make_trainer(parts, "whole")
    whole.run()
    token = CancelToken()

    def stop(report: Progress) -> None:
        if (report.phase, report.done) == ("train", 2):
            token.cancel()

    with pytest.raises(Cancelled):
        make_trainer(parts, "stopped", progress=stop, cancel=token).run()
    resumed = make_trainer(parts, "stopped")
    resumed.run()
    expected, found = whole.method.network.state_dict(), resumed.method.network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_command_line_leaves_parts_out():
    parser = argparse.ArgumentParser()
    add_method_arguments(parser, "")
    add_setting_arguments(parser)
    words = [word for option in OPTIONS for word in ("--option", f"{option}=false")]
    assert chosen_settings(parser.parse_args(words))["method_options"] == left_out(OPTIONS)


class TestFromModelToModel:
    @without
    def test_a_model_starts_a_training_of_the_same_parts_and_of_all(self, parts, tmp_path):
        parent = untrained(parts, tmp_path / "m")
        for mine in (parts, ()):
            network = make(mine).network
            transfer = transferred_weights(network, "skcdf", LABELS, parent)
            network.load_state_dict(transfer.weights)
            # made outside of inference mode: with parameters that are made within, torch rounds otherwise
            segments = segmenting(parent)
            with torch.inference_mode():
                same = torch.equal(network.eval()(IMAGE), segments(IMAGE))
            assert same == transfer.faithful == (mine == parts or "skc" not in parts)
            assert all(belongs_to(name, "skc") for name in transfer.fresh)
            assert bool(transfer.notes) == bool(transfer.fresh) == (not same)
            assert all("old model has other parts of skcdf" in note for note in transfer.notes)

    @pytest.mark.parametrize(("chosen", "skc"), [({}, False), ({"method_options": {"skc": True}}, None)])
    def test_fine_tuning_goes_on_without_skc_unless_told_otherwise(self, chosen, skc, tmp_path):
        parent = untrained(("skc",), tmp_path / "m")
        pool = SimpleNamespace(label_set=LABELS, labelled=(1, 2), unlabelled=(1,))
        config = settings_from_parent(parent, pool, "skcdf", "quick", chosen)
        assert config.method_options["skc"] is (skc is None)
        assert (config.warm_up > 0) == (skc is None)

    @without
    def test_the_published_program_gets_no_model_without_a_part(self, parts, tmp_path):
        parent = untrained(parts, tmp_path / "m", heads="permuted")
        with pytest.raises(SkcdfError, match="was trained without that part"):
            export_published(parent, tmp_path / "no.pth")
        assert not (tmp_path / "no.pth").exists()
