"""What the section Teach says of a training, from the engine's own events and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

from skcdf.labels import LabelSet
from skcdf.project import RunState
from SKCDFSegmenterLib import TrainingWords as Words
from SKCDFSegmenterLib.RunOutcomes import RunOutcome

PHANTOM = LabelSet.load("phantom13")
STOPPED = RunState(
    Path("run"),
    120,
    600,
    "2026-11-26T04:00:00+00:00",
    method="skcdf",
    preset="standard",
    start="Liver@v3",
    time_budget_s=1800.0,
    seconds=730.0,
    stop_after_s=1500.0,
)


def test_a_stopped_training_says_how_far_it_came_and_with_which_settings():
    assert Words.resumeWords(STOPPED).split("\n") == [
        "A training was stopped after 120 of 600 steps.",
        "Its own settings: With unlabelled scans (SKCDF); Standard; from Liver v3; 30 min at most, 12 min trained so "
        "far.",
        "Resume goes on from there, with these.",
        "Train anew takes what is chosen above.",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"start": "", "time_budget_s": None}, "from no model; no limit of time, 12 min trained so far."),
        ({"start": "/models/of a friend"}, "from of a friend;"),
        ({"preset": "", "method": ""}, "Its own settings: from Liver v3;"),
        ({"method": "mean_teacher"}, "Its own settings: mean_teacher; Standard; from Liver v3;"),
        ({"plugin": "scdl"}, "Its own settings: With unlabelled scans (SKCDF), with scdl; Standard;"),
        ({"seconds": 20.0}, "less than 1 min trained so far"),
        ({"stop_after_s": 740.0}, "Its time is nearly used: Resume will finish it and compare."),
        ({"iteration": 600}, "All its steps are done: Resume will finish it and compare."),
        ({"iteration": 590, "stop_after_s": None}, "Resume goes on from there, with these."),
    ],
)
def test_what_is_not_known_is_left_out_and_what_is_to_come_is_told(change, expected):
    assert expected in Words.resumeWords(replace(STOPPED, **change))


def test_the_rarest_organ_comes_first_in_the_balance_and_figures_are_round():
    balance = {"names": ["liver", "left_adrenal_gland", "spleen"], "weights": [1.83, 4351.0, 105.9]}
    assert Words.balanceWords(balance, PHANTOM) == (
        "So that small organs are learnt as well, their voxels count more, about so many times as much as background: "
        "Left adrenal gland 4,000, Spleen 110, Liver 1.8."
    )


def test_of_many_organs_the_balance_names_those_that_count_most():
    balance = {"names": list(PHANTOM.names), "voxels": [1] * 13, "weights": [float(i) for i in range(1, 14)]}
    words = Words.balanceWords(balance, PHANTOM, most=2)
    assert "Left adrenal gland 13, Right adrenal gland 12, others less" in words


def test_a_training_that_gained_nothing_says_what_becomes_of_the_model_in_use():
    nothing = RunOutcome(Path("run"), "liver", "", "start")
    assert not nothing.gained
    assert "no new model; the one in use stays" in Words.nothingGainedWords(nothing)
    changed = Words.nothingGainedWords(RunOutcome(Path("run"), "liver", "v4", "converted start"))
    assert "Recommended: keep the old model. The other one is v4 under Versions." in changed
