"""The before/after table as a clinician reads it, from comparisons made by the engine's own rule."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

from skcdf.comparison import CaseDice, Comparison, LeftOut
from skcdf.labels import LabelSet
from skcdf.verdicts import mean_row, paired_rows, recommend
from SKCDFSegmenterLib.ComparisonTable import comparisonTable, signed

PHANTOM = LabelSet.load("phantom13")


def compared(before, after, *, leftOut=(), known=None, notes=()):
    """A comparison of models whose Dice by organ is given for every case; ``before`` of ``None``: no model."""
    known = known or (tuple(before[0]) if before else (), tuple(after[0]))
    cases = tuple(
        CaseDice(f"case_{i}", before[i] if before else {}, dice) for i, dice in enumerate(after, start=0)
    )
    rows, mean = paired_rows(cases, *known), mean_row(cases, before is not None)
    return Comparison(
        "abdomen v1" if before else None,
        "abdomen v2",
        "pool",
        rows,
        mean,
        *recommend(rows, mean, before is not None),
        tuple(notes),
        cases,
        tuple(leftOut),
    )


def better(organ="spleen"):
    return compared(
        [{organ: 0.70}, {organ: 0.72}, {organ: 0.71}, {organ: 0.69}],
        [{organ: 0.80}, {organ: 0.83}, {organ: 0.80}, {organ: 0.81}],
    )


def test_a_clear_gain_is_shown_with_its_interval_and_recommended():
    table = comparisonTable(better(), PHANTOM)
    row = next(row for row in table.rows if row.organ == "Spleen")
    assert (row.cases, row.verdict) == ("4 cases", "better")
    assert row.dice == "0.705\n→ 0.810"
    change, interval = row.difference.split("\n")
    assert change == "+0.105"
    assert interval.startswith("+0.0") and " … +0.1" in interval
    assert table.recommendation.startswith("Recommended: use the new model.")
    assert table.models == "abdomen v1, in use, and abdomen v2, new, on the same 4 validation cases."


def test_the_mean_of_organs_comes_first():
    assert comparisonTable(better(), PHANTOM).rows[0].organ == "Mean of organs"


def test_a_loss_is_marked_by_a_minus_and_by_the_word():
    one = better()
    two = compared([case.after for case in one.cases], [case.before for case in one.cases])
    table = comparisonTable(two, PHANTOM)
    assert table.rows[1].difference.startswith("−0.105")  # noqa: RUF001
    assert table.rows[1].verdict == "worse"
    assert table.recommendation.startswith("Recommended: keep the old model.")


def test_two_cases_have_no_interval_and_the_user_is_told_how_to_get_more():
    table = comparisonTable(compared([{"liver": 0.8}] * 2, [{"liver": 0.9}] * 2), PHANTOM)
    assert table.rows[1].difference == "+0.100"
    assert table.rows[1].verdict == "too few cases"
    assert table.recommendation.startswith("It cannot be told")
    assert "How to get validation cases" in table.notes[0]


def test_an_organ_that_one_model_lacks_is_named_so():
    table = comparisonTable(
        compared(
            [{"liver": 0.8, "spleen": 0.7}] * 3,
            [{"liver": 0.9, "aorta": 0.6}] * 3,
        ),
        PHANTOM,
    )
    verdicts = {row.organ: row.verdict for row in table.rows}
    assert verdicts["Aorta"] == "new organ"
    assert verdicts["Spleen"] == "lost: the new model lacks it"


def test_without_a_model_before_there_is_one_figure_and_no_verdict():
    table = comparisonTable(compared(None, [{"liver": 0.9}] * 3), PHANTOM)
    row = table.rows[1]
    assert row.dice == "0.900"
    assert (row.difference, row.verdict) == ("–", "–")  # noqa: RUF001
    assert "there was no model before" in table.models


def test_cases_that_do_not_count_are_named_with_their_reason():
    leftOut = [LeftOut("case_9", "abdomen v2 was trained on its scan")]
    comparison = compared([{"liver": 0.8}] * 3, [{"liver": 0.9}] * 3, leftOut=leftOut, notes=["Mind this."])
    notes = comparisonTable(comparison, PHANTOM).notes
    assert notes[-1] == "case_9 does not count: abdomen v2 was trained on its scan"
    assert "Mind this." in notes


def test_an_organ_of_another_label_set_keeps_its_name():
    assert comparisonTable(better("left_wing"), PHANTOM).rows[1].organ == "left wing"
    assert comparisonTable(better("left_wing")).rows[1].organ == "left wing"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (0.0004, "0.000"), (-0.0004, "0.000"), (0.5, "+0.500"), (-0.001, "−0.001")],  # noqa: RUF001
)
def test_a_difference_has_a_sign_unless_it_rounds_to_nothing(value, text):
    assert signed(value) == text


def test_the_new_model_is_called_by_its_version_in_the_store():
    assert ", and abdomen v7, new, on" in comparisonTable(better(), PHANTOM, "abdomen v7").models


def test_sentences_call_organs_as_people_do():
    before = [{"left_kidney": 0.9, "liver": dice} for dice in (0.70, 0.71, 0.70)]
    after = [{"left_kidney": dice, "liver": 0.9} for dice in (0.85, 0.84, 0.85)]
    assert "worse are Left kidney" in comparisonTable(compared(before, after), PHANTOM).recommendation
