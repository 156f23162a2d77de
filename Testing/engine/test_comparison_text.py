"""What a comparison tells its reader: its notes, its table, and both again from JSON."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from threshold_models import HALF_SPLEEN, LABELS, PLAN, dataset_of

from skcdf.comparison import Comparison, compare_models
from skcdf.errors import SkcdfError
from skcdf.models import ModelBundle
from skcdf.trainer import load_volume


class TestNotes:
    def test_name_cases_that_were_corrected_from_a_proposal(self, model, dataset, device) -> None:
        cases = [
            replace(case, proposed_by="old 1" if case.name in ("case0", "case2") else None)
            for case in dataset.cases
        ]
        comparison = compare_models(model("old"), model("new"), dataset_of(cases), device)
        assert any("2 of 4 validation label maps were corrected" in note for note in comparison.notes)
        assert any("old 1 (2)" in note and "favour" in note for note in comparison.notes)

    def test_say_that_the_weights_may_have_been_chosen_on_the_cases(self, model, dataset, device) -> None:
        text = " ".join(compare_models(model("old"), model("new"), dataset, device).text().split())
        assert "may have chosen its best step on these same cases" in text

    def test_say_when_cases_are_of_one_person(self, model, validation, device) -> None:
        cases = [replace(case, subject="one") for case in validation[:2]] + validation[2:]
        comparison = compare_models(model("old"), model("new"), dataset_of(cases), device)
        assert any("4 cases are of 3 persons" in note for note in comparison.notes)


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
            dataset_of(cases),
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
