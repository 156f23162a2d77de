"""The order in which unlabelled cases are offered."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

from SKCDFSegmenterLib.ReviewQueue import ReviewQueue

RANKED = [
    {"case": "b", "rank": 2, "score": 0.2, "reason": "spleen unsure", "organs": {}},
    {"case": "a", "rank": 1, "score": 0.4, "reason": "liver unsure.", "organs": {}},
    {"case": "c", "rank": 3, "score": 0.1, "reason": "like a", "organs": {}},
]


@pytest.fixture
def queue():
    queue = ReviewQueue()
    queue.rank("abdomen@v1", RANKED)
    return queue


def test_cases_come_by_rank_and_tell_why(queue):
    unlabelled = ["a", "b", "c"]
    assert [queue.next(unlabelled).case for _ in range(3)] == ["a", "b", "c"]
    assert queue.line() == "3 of 3: c. Why: like a."


def test_a_case_that_was_labelled_meanwhile_is_passed_over(queue):
    assert queue.next(["a", "b", "c"]).case == "a"
    assert queue.next(["c"]).case == "c"


def test_after_the_last_one_it_begins_anew(queue):
    assert [each and each.case for each in (queue.next(["a", "c"]) for _ in range(4))] == [
        "a",
        "c",
        None,
        "a",
    ]


def test_another_model_or_a_case_that_nobody_ranked_asks_for_a_new_order(queue):
    assert queue.fits("abdomen@v1", ["b"])
    assert not queue.fits("abdomen@v2", ["b"])
    assert not queue.fits("abdomen@v1", ["b", "new"])
    assert not ReviewQueue().fits("", [])
