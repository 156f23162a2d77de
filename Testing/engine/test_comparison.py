"""Before and after: the figures are right, and a comparison can be watched and stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from threshold_models import HALF_SPLEEN, LABELS, NO_LEFT_KIDNEY, PLAN, RIGHT, dataset_of

from skcdf.comparison import Comparison, compare_models
from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import read_image, read_label_map, write_label_map
from skcdf.labels import LabelSet
from skcdf.progress import CancelToken, Progress
from skcdf.trainer import load_volume
from skcdf.verdicts import Row


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
        comparison = compare_models(model("old"), model("new", NO_LEFT_KIDNEY), dataset_of(cases), device)
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
        there = compare_models(old, new, dataset_of(moved, LabelSet.from_names("other", order)), device)
        here = compare_models(old, new, dataset_of(validation), device)
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
        training = dataset_of([replace(case, split="training") for case in validation])
        comparison = compare_models(model("old", HALF_SPLEEN), model("new"), training, device)
        assert comparison.recommendation == "cannot tell whether better"
        assert comparison.mean.n == 0 and not comparison.cases
        text = " ".join(comparison.text().split())
        assert "cannot tell whether better" in text
        assert "How to get validation cases: add corrected scans of further persons" in text

    def test_without_cases_and_without_a_model_before_praise_no_figures(self, model, device) -> None:
        comparison = compare_models(None, model("new"), dataset_of([]), device)
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
            compare_models(None, model("new"), dataset_of(broken), device)


class TestRun:
    def test_progress_ends_at_its_total_also_when_cases_are_left_out(self, model, validation, device) -> None:
        trained = load_volume(validation[-1], LABELS, PLAN, seed=0).image_hash
        reports: list[Progress] = []
        compare_models(
            model("old", trained_on=[trained]),
            model("new"),
            dataset_of(validation),
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
