"""Before and after: the figures are right, what was trained on is no evidence, and no recommendation is rash."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from torch import Tensor, nn

from skcdf import networks
from skcdf.cases import Case, Dataset, make_dataset
from skcdf.cli import main
from skcdf.comparison import Comparison, compare_models
from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import AxisOrder, Geometry
from skcdf.image import Image, read_image, read_label_map, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.model_store import ModelStore
from skcdf.models import ModelBundle, save_bundle
from skcdf.pool import LabelledPool
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress
from skcdf.trainer import load_volume
from skcdf.verdicts import CaseDice, Row, mean_row, organ_rows, paired_row, recommend

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
RIGHT = (0.005, 1.755, 2.855)
"""Normalised intensities between background, spleen, right and left kidney of the toy scans."""
HALF_SPLEEN, NO_LEFT_KIDNEY = (1.005, 1.755, 2.855), (0.005, 1.755, 9.0)


class Thresholds(nn.Module):
    """Class k lies between the thresholds k - 1 and k; they are in the weights."""

    def __init__(self, thresholds: Sequence[float] = RIGHT, classes: int = 4) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, classes, 1)
        steps = torch.tensor([0.0, *thresholds])[:classes]
        self.convolution.weight.data = torch.arange(classes).float().view(-1, 1, 1, 1, 1)
        self.convolution.bias.data = -steps.cumsum(0)

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.NETWORKS, "thresholds", Thresholds)


@pytest.fixture
def model(save_model: Callable[..., ModelBundle], tmp_path: Path) -> Callable[..., ModelBundle]:
    """Writes a model that finds organs by their intensity."""

    def make(
        name: str,
        thresholds: Sequence[float] = RIGHT,
        trained_on: Sequence[str] = ("0" * 64,),
        labels: LabelSet = LABELS,
    ) -> ModelBundle:
        network = Thresholds(thresholds, labels.number_of_classes)
        arguments = {"classes": labels.number_of_classes}
        bundle = save_model(network, "thresholds", arguments, PLAN, labels, patch=(48, 48, 48))
        training = replace(bundle.training, labelled_cases=len(trained_on), image_hashes=tuple(trained_on))
        named = replace(bundle, name=name, training=training, folder=None)
        return save_bundle(tmp_path / "named" / name, named, network.state_dict())

    return make


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory, toy_case: Callable[..., Case]) -> list[Case]:
    """Four validation cases."""
    folder = tmp_path_factory.mktemp("validation")
    return [replace(toy_case(folder, seed), split="validation") for seed in range(4)]


@pytest.fixture
def dataset(validation: list[Case]) -> Dataset:
    return _dataset(validation)


def _dataset(cases: Sequence[Case], labels: LabelSet = LABELS) -> Dataset:
    return make_dataset(Path("somewhere"), "toys", labels, "CT", cases)


def _row(comparison: Comparison, organ: str) -> Row:
    return next(row for row in comparison.organs if row.organ == organ)


class TestFigures:
    def test_are_the_dice_of_the_label_maps_on_the_scans_own_grid(self, model, dataset, device) -> None:
        comparison = compare_models(model("old", HALF_SPLEEN), model("new"), dataset, device)
        for case, found in zip(dataset.validation, comparison.cases, strict=True):
            intensity = read_image(case.image).array / 100.0
            truth = read_label_map(case.label).array
            for thresholds, dice in ((HALF_SPLEEN, found.before), (RIGHT, found.after)):
                labels = np.digitize(intensity, thresholds)
                for organ, value in dice.items():
                    mask, other = labels == LABELS.value_of(organ), truth == LABELS.value_of(organ)
                    expected = 2 * (mask & other).sum() / (mask.sum() + other.sum())
                    assert value == pytest.approx(expected, abs=1e-5)

    def test_tell_a_better_model_from_a_worse_one(self, model, dataset, device) -> None:
        old, new = model("old", HALF_SPLEEN), model("new")
        better, worse = (compare_models(*pair, dataset, device) for pair in ((old, new), (new, old)))
        assert [row.verdict for row in better.organs] == ["better", "cannot tell", "cannot tell"]
        assert (better.mean.verdict, better.recommendation) == ("better", "promote")
        assert _row(worse, "spleen").verdict == "worse"
        assert worse.recommendation == "keep the old model"
        assert _row(better, "spleen").difference == pytest.approx(-_row(worse, "spleen").difference)

    def test_of_a_model_against_itself_tell_nothing(self, model, dataset, device) -> None:
        comparison = compare_models(model("old"), model("new"), dataset, device)
        assert {row.verdict for row in (*comparison.organs, comparison.mean)} == {"cannot tell"}
        assert comparison.recommendation == "cannot tell whether better"

    def test_of_an_organ_that_was_not_annotated_do_not_count(self, model, validation, device) -> None:
        """The reference lacks the left kidneys, the old model finds them: that is no mistake of the old one."""
        cases = [
            validation[0],
            *(replace(c, annotated=c.annotated - {"left_kidney"}) for c in validation[1:]),
        ]
        comparison = compare_models(model("old"), model("new", NO_LEFT_KIDNEY), _dataset(cases), device)
        row = _row(comparison, "left_kidney")
        assert (row.n, row.verdict) == (1, "cannot tell")
        assert [row.n for row in comparison.organs[:2]] == [4, 4]
        assert comparison.recommendation != "promote"

    def test_go_by_the_organs_names_not_by_their_values(self, model, validation, tmp_path, device) -> None:
        """The data set numbers the organs otherwise and has one that no model knows."""
        order = ["left_kidney", "heart", "spleen", "right_kidney"]
        moved = []
        for case in validation:
            labels = read_label_map(case.label)
            new = np.array([0, 3, 4, 1], np.uint8)[labels.array]
            write_label_map(tmp_path / case.label.name, new, labels.geometry)
            moved.append(replace(case, label=tmp_path / case.label.name, annotated=frozenset(order)))
        old, new = model("old", HALF_SPLEEN), model("new")
        there = compare_models(old, new, _dataset(moved, LabelSet.from_names("other", order)), device)
        here = compare_models(old, new, _dataset(validation), device)
        assert there.organs == here.organs
        assert there.mean == here.mean

    def test_of_an_organ_that_one_model_knows_get_no_verdict(self, model, dataset, device) -> None:
        two = LabelSet.from_names("two", ["spleen", "right_kidney"])
        old, new = model("old", HALF_SPLEEN, labels=two), model("new")
        comparison = compare_models(old, new, dataset, device)
        row = _row(comparison, "left_kidney")
        assert (row.n, row.before, row.verdict, row.known) == (4, None, None, "to the new")
        assert row.after is not None and row.after > 0.95
        assert "known to the new only" in comparison.text()
        lost = compare_models(new, old, dataset, device)
        assert (_row(lost, "left_kidney").after, _row(lost, "left_kidney").known) == (None, "to the old")
        assert lost.recommendation != "promote"

    def test_without_a_model_before_are_shown_and_recommend_nothing(self, model, dataset, device) -> None:
        comparison = compare_models(None, model("new"), dataset, device)
        assert comparison.before is None
        assert comparison.mean.n == 4 and comparison.mean.after > 0.95
        assert comparison.recommendation == "cannot tell whether better"
        assert "There is no model before" in comparison.text()
        assert "difference" not in comparison.text()

    def test_without_validation_cases_say_so_and_how_to_get_some(self, model, validation, device) -> None:
        training = _dataset([replace(case, split="training") for case in validation])
        comparison = compare_models(model("old", HALF_SPLEEN), model("new"), training, device)
        assert comparison.recommendation == "cannot tell whether better"
        assert comparison.mean.n == 0 and not comparison.cases
        text = " ".join(comparison.text().split())
        assert "cannot tell whether better" in text
        assert "How to get validation cases: add corrected scans of further persons" in text

    def test_without_cases_and_without_a_model_before_praise_no_figures(self, model, device) -> None:
        comparison = compare_models(None, model("new"), _dataset([]), device)
        assert comparison.recommendation == "cannot tell whether better"
        assert comparison.reason.startswith("Nothing was measured")
        assert "good enough" not in comparison.text()
        assert "How to get validation cases" in comparison.text()

    def test_become_the_metrics_of_the_new_model(self, model, dataset, device) -> None:
        comparison = compare_models(model("old", HALF_SPLEEN), model("new"), dataset, device)
        figures = comparison.accuracies()
        assert [each.organ for each in figures] == list(LABELS.names)
        assert all(each.n == 4 and each.metric == "dice" and "toys" in each.protocol for each in figures)
        assert figures[0].mean == pytest.approx(comparison.organs[0].after)

    def test_refuse_a_label_map_on_another_grid(self, model, validation, tmp_path, device) -> None:
        labels = read_label_map(validation[0].label)
        shifted = Geometry(labels.geometry.size, labels.geometry.spacing, (5.0, 0.0, 0.0))
        write_label_map(tmp_path / "shifted.nii.gz", labels.array, shifted)
        broken = [replace(validation[0], label=tmp_path / "shifted.nii.gz")]
        with pytest.raises(SkcdfError, match=r"shifted\.nii\.gz: the label map does not lie on the grid"):
            compare_models(None, model("new"), _dataset(broken), device)


class TestLeaks:
    """Cases that were trained on are no evidence, however they are disguised."""

    @pytest.fixture
    def trained(self, validation: list[Case]) -> str:
        """Hash of the first case's scan, as a training records it."""
        return load_volume(validation[0], LABELS, PLAN, seed=0).image_hash

    @pytest.mark.parametrize(
        ("which", "disguise", "number"),
        [
            ("new", "same.nii.gz", np.int16),
            ("old", "other.nii", np.int32),
            ("new", "a.nrrd", np.float32),
            ("old", "b.mha", np.float32),
            ("new", "turned.nii.gz", np.int16),
        ],
    )
    def test_a_trained_scan_is_found_in_any_format_number_type_and_axis_order(
        self, which, disguise, number, model, validation, trained, tmp_path, device
    ) -> None:
        scan = read_image(validation[0].image)
        turn = (
            ((1, 2, 0), (True, False, True)) if "turned" in disguise else ((0, 1, 2), (False, False, False))
        )
        order = AxisOrder(*turn)
        turned = np.ascontiguousarray(order.apply(scan.array.astype(number)))
        write_image(tmp_path / disguise, Image(turned, order.apply_to_geometry(scan.geometry)))
        hidden = replace(
            validation[0], name="zz_renamed", image=tmp_path / disguise, subject="somebody else entirely"
        )
        hashes = {"old": ("0" * 64,), "new": ("0" * 64,), which: ("1" * 64, trained)}
        models = [model(name, trained_on=hashes[name]) for name in ("old", "new")]
        comparison = compare_models(*models, _dataset([hidden, validation[1]]), device)
        assert [case.case for case in comparison.cases] == [validation[1].name]
        (left_out,) = comparison.left_out
        assert left_out.case == "zz_renamed"
        assert left_out.reason == f"{which} 1 was trained on this scan"
        assert f"- zz_renamed: {left_out.reason}" in comparison.text()

    @pytest.mark.parametrize("labelled", [True, False])
    def test_another_scan_of_a_trained_subject_is_found(
        self, labelled, model, validation, trained, device
    ) -> None:
        relative = replace(validation[1], subject=validation[0].subject)
        first = replace(validation[0], split="training", label=validation[0].label if labelled else None)
        cases = [first, relative, *validation[2:]]
        comparison = compare_models(
            model("old", HALF_SPLEEN, [trained]), model("new"), _dataset(cases), device
        )
        (left_out,) = comparison.left_out
        assert left_out.reason == "old 1 was trained on case0, a scan of the same subject"
        assert comparison.mean.n == 2 and comparison.recommendation == "cannot tell whether better"

    @pytest.mark.parametrize("guilty", [0, 1])
    def test_models_of_one_name_and_version_are_told_apart(
        self, guilty, model, validation, trained, device
    ) -> None:
        hashes = [("0" * 64,), ("0" * 64,)]
        hashes[guilty] = (trained,)
        models = [replace(model(f"m{i}", trained_on=hashes[i]), name="same") for i in range(2)]
        comparison = compare_models(*models, _dataset(validation), device)
        assert [each.case for each in comparison.left_out] == ["case0"]

    def test_a_withdrawn_scan_of_the_subject_is_found_in_a_pool(
        self, model, validation, tmp_path, device
    ) -> None:
        pool = LabelledPool.create(tmp_path / "pool", LABELS, "CT")
        images = [(read_image(case.image), read_label_map(case.label)) for case in validation]
        for index, (image, label) in enumerate(images):
            subject = "Ada" if index < 2 else str(index)
            pool.add_case(f"c{index}", image, label, subject=subject, split="validation", accept_sides=True)
        old = model("old", trained_on=[pool.record("c0").image_hash])
        pool.withdraw("c0")
        comparison = compare_models(old, model("new"), pool.dataset(), device)
        (left_out,) = comparison.left_out
        assert (left_out.case, left_out.reason) == (
            "c1",
            "old 1 was trained on c0, a scan of the same subject",
        )

    def test_one_scan_under_two_names_counts_once(self, model, validation, device) -> None:
        twin = replace(validation[0], name="twin", subject="twin")
        comparison = compare_models(None, model("new"), _dataset([*validation, twin]), device)
        assert [(each.case, each.reason) for each in comparison.left_out] == [
            ("twin", "the same scan as case0")
        ]
        assert comparison.mean.n == 4

    def test_when_all_were_trained_on_nothing_is_recommended(self, model, validation, device) -> None:
        hashes = [load_volume(case, LABELS, PLAN, seed=0).image_hash for case in validation]
        comparison = compare_models(
            model("old", HALF_SPLEEN), model("new", trained_on=hashes), _dataset(validation), device
        )
        assert len(comparison.left_out) == 4 and not comparison.cases
        assert comparison.recommendation == "cannot tell whether better"

    def test_what_a_model_does_not_tell_of_its_training_is_noted(self, model, dataset, device) -> None:
        comparison = compare_models(model("old", trained_on=()), model("new"), dataset, device)
        (note,) = (note for note in comparison.notes if "cannot be excluded" in note)
        assert note.startswith("old 1 does not name all scans")


class TestNotes:
    def test_name_cases_that_were_corrected_from_a_proposal(self, model, dataset, device) -> None:
        cases = [
            replace(case, proposed_by="old 1" if case.name in ("case0", "case2") else None)
            for case in dataset.cases
        ]
        comparison = compare_models(model("old"), model("new"), _dataset(cases), device)
        assert any("2 of 4 validation label maps were corrected" in note for note in comparison.notes)
        assert any("old 1 (2)" in note and "favour" in note for note in comparison.notes)

    def test_say_that_the_weights_may_have_been_chosen_on_the_cases(self, model, dataset, device) -> None:
        text = " ".join(compare_models(model("old"), model("new"), dataset, device).text().split())
        assert "best weights of a training may have been chosen on these same cases" in text

    def test_say_when_cases_are_of_one_person(self, model, validation, device) -> None:
        cases = [replace(case, subject="one") for case in validation[:2]] + validation[2:]
        comparison = compare_models(model("old"), model("new"), _dataset(cases), device)
        assert any("4 cases are of 3 persons" in note for note in comparison.notes)


class TestRemembering:
    def test_the_second_time_needs_no_weights(self, model, dataset, tmp_path, device) -> None:
        old, new, cache = model("old", HALF_SPLEEN), model("new"), tmp_path / "cache"
        first = compare_models(old, new, dataset, device, cache_folder=cache)
        assert len(list(cache.iterdir())) == 8
        for bundle in (old, new):
            assert bundle.folder is not None
            (bundle.folder / "weights.safetensors").unlink()
        assert compare_models(old, new, dataset, device, cache_folder=cache) == first

    def test_a_corrected_label_map_and_a_changed_window_are_measured_anew(
        self, model, validation, tmp_path, device
    ) -> None:
        new, cache = model("new"), tmp_path / "cache"
        compare_models(None, new, _dataset(validation[:1]), device, cache_folder=cache)
        labels = read_label_map(validation[0].label)
        write_label_map(tmp_path / "corrected.nii.gz", np.roll(labels.array, 3, 0), labels.geometry)
        corrected = [replace(validation[0], label=tmp_path / "corrected.nii.gz")]
        comparison = compare_models(None, new, _dataset(corrected), device, cache_folder=cache)
        assert comparison.mean.after < 0.9
        wider = replace(new, patch_size=(64, 64, 64))
        compare_models(None, wider, _dataset(corrected), device, cache_folder=cache)
        assert len(list(cache.iterdir())) == 3

    @pytest.mark.parametrize("content", ["", "{}", '{"key": 1, "dice": {"spleen": 1.0}}', "[]"])
    def test_a_damaged_memory_is_measured_anew(self, content, model, validation, tmp_path, device) -> None:
        new, cache, dataset = model("new"), tmp_path / "cache", _dataset(validation[:1])
        first = compare_models(None, new, dataset, device, cache_folder=cache)
        (file,) = cache.iterdir()
        file.write_text(content)
        assert compare_models(None, new, dataset, device, cache_folder=cache) == first

    def test_a_folder_that_cannot_be_written_does_not_take_the_result_away(
        self, model, validation, tmp_path, device, caplog
    ) -> None:
        (tmp_path / "file").touch()
        dataset = _dataset(validation[:1])
        comparison = compare_models(None, model("new"), dataset, device, cache_folder=tmp_path / "file")
        assert comparison.mean.n == 1
        assert "cannot be written" in caplog.text


class TestRun:
    def test_progress_ends_at_its_total_also_when_cases_are_left_out(self, model, validation, device) -> None:
        trained = load_volume(validation[-1], LABELS, PLAN, seed=0).image_hash
        reports: list[Progress] = []
        compare_models(
            model("old", trained_on=[trained]),
            model("new"),
            _dataset(validation),
            device,
            progress=reports.append,
        )
        assert [report.done for report in reports] == [1, 2, 3, 4, 5, 6, 8]
        assert {(report.phase, report.total) for report in reports} == {("compare", 8)}

    def test_a_cancelled_comparison_stops_and_keeps_what_it_knows(
        self, model, dataset, tmp_path, device
    ) -> None:
        token = CancelToken()

        def stop(report: Progress) -> None:
            if report.done == 3:
                token.cancel()

        with pytest.raises(Cancelled):
            compare_models(
                model("old", HALF_SPLEEN),
                model("new"),
                dataset,
                device,
                progress=stop,
                cancel=token,
                cache_folder=tmp_path / "c",
            )
        assert len(list((tmp_path / "c").iterdir())) == 3


dice = st.floats(0, 1)
pairs = st.lists(st.tuples(dice, dice), max_size=12)


few = settings(max_examples=50, deadline=None)


class TestRule:
    @few
    @given(st.lists(st.tuples(dice, dice), min_size=3, max_size=12))
    def test_the_interval_is_that_of_the_paired_t_test(self, values) -> None:
        row = paired_row("liver", values)
        before, after = np.array(values).T
        if np.ptp(after - before) < 1e-6:
            return
        expected = ttest_rel(after, before).confidence_interval(0.95)
        assert row.interval == pytest.approx((max(-1, expected.low), min(1, expected.high)), abs=1e-6)
        assert row.n == len(values)

    @few
    @given(pairs)
    def test_fewer_than_three_cases_or_an_interval_that_holds_zero_tell_nothing(self, values) -> None:
        row = paired_row("liver", values)
        if row.n < 3:
            assert row.verdict == "cannot tell" and row.interval is None
        else:
            low, high = row.interval
            assert (row.verdict == "cannot tell") == (low <= 0 <= high)
            assert (row.verdict == "better") == (low > 0)

    def test_cases_that_all_agree_are_told_by_their_sign(self) -> None:
        assert paired_row("liver", [(0.5, 0.6)] * 3).verdict == "better"
        assert paired_row("liver", [(0.6, 0.5)] * 3).verdict == "worse"
        assert paired_row("liver", [(0.1 + 0.2, 0.3)] * 3).verdict == "cannot tell"  # differ by rounding only
        assert paired_row("liver", [(0.5, 0.6)] * 2).verdict == "cannot tell"

    def test_an_organ_that_one_model_rightly_does_not_find_counts(self) -> None:
        cases = [CaseDice(str(n), {"liver": None}, {"liver": 0.0}) for n in range(3)]
        (row,) = organ_rows(cases, ["liver"], ["liver"])
        assert (row.n, row.before, row.after, row.verdict) == (3, 1.0, 0.0, "worse")
        neither = [CaseDice(str(n), {"liver": None}, {"liver": None}) for n in range(3)]
        assert organ_rows(neither, ["liver"], ["liver"])[0].n == 0

    def test_the_mean_is_over_the_organs_that_count_for_both_in_each_case(self) -> None:
        cases = [
            CaseDice("a", {"liver": 0.5, "lung": 0.1}, {"liver": 0.7, "lung": 0.3, "heart": 1.0}),
            CaseDice("b", {"liver": 0.6}, {"liver": 0.9}),
            CaseDice("c", {}, {"heart": 1.0}),
        ]
        row = mean_row(cases, compared=True)
        assert (row.n, row.before, row.after) == (2, pytest.approx(0.45), pytest.approx(0.7))

    @few
    @given(st.lists(pairs, min_size=1, max_size=4))
    def test_promotion_is_recommended_only_when_every_condition_holds(self, organs) -> None:
        rows = [paired_row(str(number), values) for number, values in enumerate(organs)]
        names = [row.organ for row in rows]
        most = max(map(len, organs))
        cases = [
            CaseDice(
                str(case),
                {n: values[case][0] for n, values in zip(names, organs, strict=True) if case < len(values)},
                {n: values[case][1] for n, values in zip(names, organs, strict=True) if case < len(values)},
            )
            for case in range(most)
        ]
        assert organ_rows(cases, names, names) == tuple(rows)
        mean = mean_row(cases, compared=True)
        recommendation, reason = recommend(rows, mean, compared=True)
        worse = any(row.verdict == "worse" for row in rows)
        assert (recommendation == "promote") == (
            mean.verdict == "better" and not worse and all(row.n >= 3 for row in rows)
        )
        assert (recommendation == "keep the old model") == (
            mean.verdict != "better" and (worse or mean.verdict == "worse")
        )
        assert reason.endswith(".")

    @pytest.mark.parametrize(
        ("organs", "words"),
        [
            ({"liver": [0.4, 0.41, 0.39], "lung": [-0.1, -0.11, -0.1]}, "worse are lung"),
            ({"liver": [0.4, 0.41, 0.39], "lung": [0.1]}, "too few cases show lung"),
            ({"liver": [0.4, -0.41, 0.39]}, "its interval holds zero"),
            ({"liver": [0.4, 0.41]}, "at least 3 are needed"),
        ],
    )
    def test_what_cannot_be_told_says_why(self, organs, words) -> None:
        longest = max(map(len, organs.values()))
        cases = [
            CaseDice(
                str(index),
                {organ: 0.5 for organ, steps in organs.items() if index < len(steps)},
                {organ: 0.5 + steps[index] for organ, steps in organs.items() if index < len(steps)},
            )
            for index in range(longest)
        ]
        rows = organ_rows(cases, organs, organs)
        recommendation, reason = recommend(rows, mean_row(cases, True), True)
        assert recommendation == "cannot tell whether better"
        assert words in reason


class TestAsText:
    def test_the_table_is_aligned_and_states_the_rule(self, model, dataset, device) -> None:
        text = compare_models(model("old", HALF_SPLEEN), model("new"), dataset, device).text()
        lines = text.splitlines()
        start = next(index for index, line in enumerate(lines) if line.startswith("organ"))
        assert {len(line) for line in lines[start : start + 6]} == {len(lines[start])}
        assert max(map(len, lines)) <= 110
        assert "mean Dice on 4 pinned validation cases of toys" in text
        assert "Recommendation: promote." in text
        assert "fewer than 3 cases" in text and "95 % interval" in text

    def test_two_models_of_one_name_and_version_are_told_apart(
        self, model, dataset, device, tmp_path
    ) -> None:
        old = model("organs", HALF_SPLEEN)
        (tmp_path / "named" / "organs").rename(tmp_path / "old")
        old, new = ModelBundle.load(tmp_path / "old"), model("organs")
        comparison = compare_models(old, new, dataset, device)
        lines = comparison.text().splitlines()
        assert f"before: organs 1 (weights {old.weights.sha256[:8]})" in lines
        assert f"after:  organs 1 (weights {new.weights.sha256[:8]})" in lines
        assert comparison.before != comparison.after

    def test_it_comes_back_from_json(self, model, validation, device) -> None:
        helped = replace(validation[2], proposed_by="old")
        cases = [
            validation[1],
            helped,
            *validation[3:],
            replace(validation[0], annotated=frozenset(["spleen"])),
        ]
        trained = [load_volume(validation[1], LABELS, PLAN, seed=0).image_hash]
        comparison = compare_models(
            model("old", HALF_SPLEEN, trained),
            model("new"),
            _dataset(cases),
            device,
        )
        content = comparison.to_json()
        assert Comparison.from_json(content) == comparison
        assert Comparison.from_json(content).text() == comparison.text()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"schema": 2}, "schema 2"),
            ({"recommendation": "yes"}, "recommendation"),
            ({"organs": [{"organ": "liver"}]}, r"organs\[0\]"),
            ({"extra": 1}, "extra"),
        ],
    )
    def test_what_is_no_comparison_is_refused_by_field(self, change, words, model, dataset, device) -> None:
        content = compare_models(None, model("new"), dataset, device).to_json() | change
        with pytest.raises(SkcdfError, match=words):
            Comparison.from_json(content, "table.json")
        assert not math.isnan(content["mean"]["after"])


@pytest.fixture
def single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_command_compares_versions_of_a_store_on_a_pool(
    model, validation, tmp_path, single_thread, capsys
) -> None:
    pool = LabelledPool.create(tmp_path / "pool", LABELS, "CT")
    for number, case in enumerate(validation):
        pool.add_case(
            case.name,
            read_image(case.image),
            read_label_map(case.label),
            subject=str(number),
            split="validation",
            model="toy v1" if number == 0 else None,
        )
    store = ModelStore.open(tmp_path / "store", create=True)
    for bundle in (model("old", HALF_SPLEEN), model("new")):
        store.add("toy", bundle.folder, parent=None, data_hash="d", config={})
    store.promote("toy", "v1")
    command = ["model", "compare", "toy", "toy@v2", "--data", str(pool.root), "--store", str(store.root)]
    options = ["--device", "cpu", "--precision", "fp32", "--output", str(tmp_path / "table.json")]
    assert main([*command, *options]) == 0
    said = capsys.readouterr().out
    assert "before: toy v1\nafter:  toy v2" in said
    assert "Recommendation: promote." in said
    assert "toy v1 (1)" in said
    assert (tmp_path / "table.json").is_file()
    assert len(list((store.root / ".scores").iterdir())) == 8
    assert store.lines() == ("toy",)
    command[2:4] = ["none", "toy@v2"]
    assert main([*command, *options]) == 0
    assert "There is no model before" in capsys.readouterr().out
