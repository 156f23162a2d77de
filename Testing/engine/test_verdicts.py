"""Better, worse or cannot tell: the verdicts are those of the paired test, and no recommendation is rash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from skcdf.verdicts import CaseDice, mean_row, paired_row, paired_rows, recommend

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

    def test_a_training_that_gained_nothing_is_never_recommended_whatever_the_figures(self) -> None:
        better = paired_row("liver", [(0.5, 0.6)] * 3)
        assert recommend([better], better, compared=True)[0] == "promote"
        advice, reason = recommend([better], better, compared=True, gained=False)
        assert advice == "keep the old model" and reason.startswith("Nothing was gained")

    def test_cases_that_all_agree_are_told_by_their_sign(self) -> None:
        assert paired_row("liver", [(0.5, 0.6)] * 3).verdict == "better"
        assert paired_row("liver", [(0.6, 0.5)] * 3).verdict == "worse"
        assert paired_row("liver", [(0.1 + 0.2, 0.3)] * 3).verdict == "cannot tell"  # differ by rounding only
        assert paired_row("liver", [(0.5, 0.6)] * 2).verdict == "cannot tell"

    def test_an_organ_that_one_model_rightly_does_not_find_counts(self) -> None:
        cases = [CaseDice(str(n), {"liver": None}, {"liver": 0.0}) for n in range(3)]
        (row,) = paired_rows(cases, ["liver"], ["liver"])
        assert (row.n, row.before, row.after, row.verdict) == (3, 1.0, 0.0, "worse")
        neither = [CaseDice(str(n), {"liver": None}, {"liver": None}) for n in range(3)]
        assert paired_rows(neither, ["liver"], ["liver"])[0].n == 0

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
        assert paired_rows(cases, names, names) == tuple(rows)
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
            ({"liver": [0.4, -0.41, 0.39]}, "the range of its change holds zero"),
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
        rows = paired_rows(cases, organs, organs)
        recommendation, reason = recommend(rows, mean_row(cases, True), True)
        assert recommendation == "cannot tell whether better"
        assert words in reason
