"""SCDL in the training loop and out of it: it learns, resumes to the bit, and segments from the bundle alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from toy_bundles import described, segmenting

from skcdf.commands.train_arguments import add_method_arguments, add_setting_arguments, chosen_settings
from skcdf.errors import Cancelled, SkcdfError
from skcdf.fine_tune_settings import settings_from_parent
from skcdf.inference.network import loaded_network
from skcdf.labels import LabelSet
from skcdf.methods import METHODS, Stream
from skcdf.models import ModelBundle, TrainingRecord, save_bundle
from skcdf.networks.tokens import class_shares
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress
from skcdf.trainer import Trainer, TrainingConfig
from skcdf.trainer import trainer as trainer_module
from skcdf.trainer.checkpoint import read_state
from skcdf.trainer.transfer import Transfer, start_of

ORGANS = ["spleen", "right_kidney", "left_kidney"]
LABELS = LabelSet.from_names("toy", ORGANS)
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
CONFIG = TrainingConfig(
    PLAN,
    (32, 32, 32),
    plugin="scdl",
    filters=2,
    batch_size=1,
    unlabelled_batch_size=1,
    iterations=3,
    learning_rate=0.02,
    seed=3,
)
IMAGE = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(8))


@pytest.fixture(autouse=True)
def few_statistics(monkeypatch):
    monkeypatch.setattr(trainer_module, "STATISTICS_BATCHES", 2)


@pytest.fixture
def make_trainer(toy_volumes, device, tmp_path):
    def make(config: TrainingConfig = CONFIG, folder: str = "run", **options: Any) -> Trainer:
        unlabelled = [replace(toy_volumes[2], labels=None, locations=())]
        return Trainer(config, LABELS, toy_volumes[:2], unlabelled, tmp_path / folder, device, **options)

    return make


def saved(trainer: Trainer, labels: LabelSet = LABELS) -> ModelBundle:
    """The trainer's outcome as a bundle, without what an export needs a data set for."""
    config, method = trainer.config, trainer.method
    record = TrainingRecord(
        config.method, 0, 0, 0, 0, "none", "2026-01-01", "0.1.0", True, plugin=config.plugin
    )
    bundle = described(*method.inference_network(), labels, config.preprocessing, training=record)
    folder = trainer.run_folder / "model"
    return save_bundle(folder, bundle, trainer.current_weights(), inference_keys=method.inference_keys())


@pytest.mark.parametrize("compat", ["corrected", pytest.param("published", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
class TestWithEveryMethodAndFace:
    def test_it_trains_and_its_model_segments_as_in_training(self, method, compat, make_trainer):
        options = {"class_counts": "annotated"} if method == "skcdf" else {}
        trainer = make_trainer(replace(CONFIG, method=method, compat=compat, method_options=options))
        before = {name: each.clone() for name, each in trainer.method.network.state_dict().items()}
        state = trainer.run()
        assert {name.rpartition("scdl_")[2] for name in state.history[-1][2] if "scdl_" in name} == {
            *("p2e", "e2p", "alignment", "anchor")
        }
        proxies = [name for name in before if name.endswith("proxies")]
        assert len(proxies) >= len(trainer.method.accompanied())
        after = trainer.method.network.state_dict()
        assert all(not torch.equal(after[name], before[name]) for name in proxies)
        bundle = saved(trainer)
        with torch.inference_mode():
            expected = trainer.inference_network(trainer.current_weights()).eval()(IMAGE)
            assert torch.equal(segmenting(bundle)(IMAGE), expected)


@pytest.mark.slow
def test_the_loss_falls_and_tokens_find_their_proxies(make_trainer):
    config = replace(CONFIG, filters=4, iterations=60, batch_size=2, learning_rate=0.1, augmentation="none")
    state = make_trainer(config).run()
    first, *_, last = state.history
    assert last[2]["supervised"] < 0.5 * first[2]["supervised"]
    assert last[2]["scdl_anchor"] < 0.8 * first[2]["scdl_anchor"]
    assert last[2]["scdl_e2p"] < first[2]["scdl_e2p"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"), [("skcdf", {}), ("supervised", {"parts": "all", "anchors": "images"})]
)
def test_a_stopped_training_goes_on_to_the_same_bits(method, options, make_trainer):
    config = replace(CONFIG, method=method, plugin_options=options, iterations=4)
    whole = make_trainer(config, "whole")
    whole.run()
    token = CancelToken()

    def stop(report: Progress) -> None:
        if (report.phase, report.done) == ("train", 2):
            token.cancel()

    stopped = make_trainer(config, "stopped", progress=stop, cancel=token)
    with pytest.raises(Cancelled):
        stopped.run()
    assert read_state(stopped.checkpoint_file).iteration == 2
    resumed = make_trainer(config, "stopped")
    resumed.run()
    one, two = (each.method.network.state_dict() for each in (whole, resumed))
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    with pytest.raises(SkcdfError, match="other settings"):
        make_trainer(replace(config, plugin="none", plugin_options={}), "stopped").run()


def test_anchors_are_means_in_float32_whatever_the_network_is(make_trainer):
    method = make_trainer().method
    method.network.eval()
    again, labels = method.network.decoded, torch.zeros(1, 32, 32, 32, dtype=torch.long)
    labels[0, 5:19, :9] = 1
    shares, annotated = class_shares(labels, 4, (4, 4, 4)), torch.ones(1, 4, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        stream = Stream(IMAGE, again(IMAGE), again, labels, annotated)
        found = method.plugin._focused(stream, shares, annotated)
    assert torch.equal(found, method.plugin._focused(stream, shares, annotated))


def test_a_prior_that_goes_with_the_training_is_not_in_the_statistics_gathered_for_segmentation(make_trainer):
    options = {"preset": "amos", "zero_start": False}
    method = make_trainer(replace(CONFIG, method="skcdf", plugin_options=options)).method
    found = method.weights(lambda: [IMAGE])
    method.network.companion = None
    expected = method.weights(lambda: [IMAGE])
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


class TestBundles:
    @pytest.mark.parametrize(
        ("options", "there"),
        [
            ({}, True),
            ({"inject": "stages", "tokens": "encoder"}, True),
            ({"inject": "none"}, False),
            ({"preset": "amos"}, False),
        ],
    )
    @pytest.mark.parametrize("method", ["supervised", pytest.param("skcdf", marks=pytest.mark.slow)])
    def test_hold_for_inference_what_the_prior_needs(self, method, options, there, make_trainer):
        trainer = make_trainer(replace(CONFIG, method=method, plugin_options=options, iterations=1))
        trainer.run()
        bundle = saved(trainer)
        needed, everything = bundle.load_weights(inference_only=True), bundle.load_weights()
        assert any("companion." in name for name in needed) == there
        assert any("companion." in name for name in everything)
        assert segmenting(bundle)(IMAGE).shape == (1, 4, 32, 32, 32)
        assert bundle.training.plugin == "scdl"

    def test_of_half_precision_segment_nearly_alike(self, make_trainer):
        trainer = make_trainer(replace(CONFIG, iterations=1, compat="published"))
        bundle = saved(trainer)
        half = save_bundle(trainer.run_folder / "half", bundle, bundle.load_weights(), half=True)
        with torch.inference_mode():
            exact, rounded = (segmenting(each)(IMAGE) for each in (bundle, half))
        assert torch.allclose(exact, rounded, atol=0.02 * float(exact.abs().max()))
        assert not torch.equal(exact, rounded)

    @pytest.mark.parametrize("options", [{"compat": "published"}, {"plugin_options": {"preset": "amos"}}])
    def test_can_be_reviewed_by_all_decoders(self, options, make_trainer):
        trainer = make_trainer(replace(CONFIG, method="skcdf", iterations=1, **options))
        bundle = saved(trainer)
        whole = loaded_network(bundle, views=True)
        segments = segmenting(bundle)  # where parameters are made in inference mode, torch rounds otherwise
        with torch.inference_mode():
            views = list(whole.views(IMAGE))
            assert len(views) == 4 and torch.equal(views[0], segments(IMAGE))


class TestFineTuning:
    @pytest.fixture
    def parent(self, make_trainer) -> ModelBundle:
        trainer = make_trainer(folder="parent")
        trainer.run()
        return saved(trainer)

    def test_carries_everything_over_where_the_organs_are_the_same(self, parent):
        start = start_of(CONFIG, LABELS, parent)
        given = parent.load_weights()
        assert start.fresh == () and start.faithful
        assert all(torch.equal(start.weights[name], given[name]) for name in given)

    def test_gives_a_new_organ_a_fresh_proxy_and_keeps_the_others(self, parent):
        more = LabelSet.from_names("more", ["liver", *ORGANS])
        start = start_of(CONFIG, more, parent)
        name = "companion.distribution.proxies"
        proxies, theirs = start.weights[name], parent.load_weights()[name]
        assert torch.equal(proxies[[0, 2, 3, 4]], theirs)
        assert not any(torch.equal(proxies[1], each) for each in theirs)
        assert name in start.fresh and not start.faithful
        assert "companion.distribution.encoder.0.weight" in start.carried

    @pytest.mark.slow
    def test_begins_as_a_parent_that_knew_no_plugin(self, make_trainer):
        plain = make_trainer(replace(CONFIG, plugin="none"), "plain")
        plain.run()
        parent = saved(plain)
        start = start_of(CONFIG, LABELS, parent)
        assert start.faithful and all(name.startswith("companion.") for name in start.fresh)
        assert self.outcome(make_trainer, CONFIG, start) == pytest.approx(
            segmenting(parent)(IMAGE).detach().numpy(), abs=1e-6
        )
        drawn = start_of(replace(CONFIG, plugin_options={"zero_start": False}), LABELS, parent)
        assert not drawn.faithful

    def test_tells_of_a_prior_that_goes(self, parent):
        start = start_of(replace(CONFIG, plugin="none"), LABELS, parent)
        assert not start.faithful and any("plug-in scdl" in note for note in start.notes)

    @pytest.mark.parametrize(
        ("chosen", "plugin", "inject"),
        [
            ({}, "scdl", "head"),
            ({"plugin_options": {"e2p_weight": 1.0}}, "scdl", "head"),
            ({"plugin": "scdl", "plugin_options": {"preset": "amos"}}, "scdl", None),
            ({"plugin": "none"}, "none", None),
        ],
    )
    def test_keeps_the_plugin_that_the_parent_segments_with(self, parent, chosen, plugin, inject):
        class Pool:
            label_set, labelled, unlabelled = LABELS, (), ()

        config = settings_from_parent(parent, Pool, "supervised", "quick", chosen)
        assert config.plugin == plugin
        assert config.plugin_options.get("inject") == inject
        assert config.plugin_options.items() >= chosen.get("plugin_options", {}).items()

    @staticmethod
    def outcome(make_trainer, config: TrainingConfig, start: Transfer) -> np.ndarray:
        trainer = make_trainer(config, "tuned", start=start)
        with torch.inference_mode():
            return trainer.inference_network(start.weights).eval()(IMAGE).numpy()


def test_the_command_line_chooses_plugin_and_options():
    import argparse

    parser = argparse.ArgumentParser()
    add_method_arguments(parser, "")
    add_setting_arguments(parser)
    words = ["--plugin", "scdl", "--plugin-option", "preset=paper", "--plugin-option", "e2p_weight=0.5"]
    chosen = chosen_settings(parser.parse_args(words))
    assert chosen == {"plugin": "scdl", "plugin_options": {"preset": "paper", "e2p_weight": 0.5}}
    with pytest.raises(SkcdfError, match="--plugin-option paper: this is no NAME=VALUE"):
        chosen_settings(parser.parse_args(["--plugin-option", "paper"]))
