"""The sentences of the panel; they need no scene."""

from __future__ import annotations

import pytest

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.ResultWords import (
    deviceName,
    durationWords,
    errorWords,
    estimateWords,
    foundWords,
    memoryWords,
    namesWords,
    phaseWords,
    placesWords,
    progressShare,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds"),
        (9.4, "a few seconds"),
        (41, "about 40 s"),
        (89, "about 90 s"),
        (91, "about 2 min"),
        (3000, "about 50 min"),
        (7000, "about 2 h"),
    ],
)
def test_a_time_is_not_said_more_exactly_than_it_is_known(seconds, words):
    assert durationWords(seconds) == words


@pytest.mark.parametrize(("mebibytes", "words"), [(3, "10 MB"), (847, "850 MB"), (3174, "3.1 GB")])
def test_memory_is_said_in_the_unit_that_people_know(mebibytes, words):
    assert memoryWords(mebibytes) == words


def test_of_the_device_only_the_name_is_repeated():
    assert deviceName("CPU, 7 threads, because no NVIDIA GPU is ready (float32)") == "CPU"
    assert deviceName("NVIDIA RTX 4070 (bfloat16)") == "NVIDIA RTX 4070"
    assert deviceName("no PyTorch") == "no PyTorch"


def test_the_estimate_is_a_sentence_of_what_is_known():
    assert (
        estimateWords(41, 3174, "NVIDIA RTX 4070 (bfloat16)")
        == "About 40 s and 3.1 GB of memory on NVIDIA RTX 4070."
    )
    assert estimateWords(None, 850, "") == "850 MB of memory."
    assert estimateWords(None, None, "CPU") == ""


def test_time_left_is_told_only_while_it_means_the_whole_run():
    assert phaseWords({"phase": "segment", "fraction": 0.2, "eta_s": 41.0}) == "Segmenting, about 40 s left"
    assert phaseWords({"phase": "segment", "fraction": 0.0, "eta_s": None}) == "Segmenting"
    assert phaseWords({"phase": "read", "fraction": 0.5, "eta_s": 41.0}) == "Reading the scan"


def test_the_bar_only_goes_forward_from_phase_to_phase():
    phases = ("send", "start", "model", "read", "segment", "write")
    shares = [
        progressShare({"phase": phase, "fraction": part}) for phase in phases for part in (0.0, 0.5, 1.0)
    ]
    assert shares == sorted(shares)
    assert shares[0] == 0 and shares[-1] == 100
    assert progressShare({"phase": "something new", "fraction": 0.5}) is None


def test_what_was_found_missed_and_left_alone_is_told_by_name():
    assert foundWords(["Spleen"], [], []) == ["1 organ found."]
    assert foundWords(["Spleen", "Liver"], ["Gallbladder"], ["Stomach"]) == [
        "2 organs found.",
        "Not found: Gallbladder.",
        "Left as they were, because edited or completed: Stomach.",
    ]
    assert foundWords([], ["Spleen", "Liver"], []) == ["No organ was found."]


def test_an_error_of_several_lines_has_what_to_do_on_a_line_of_its_own():
    assert errorWords(SkcdfError("It failed.", "Try again.")) == "It failed. Try again."
    assert errorWords(SkcdfError("Last words:\nkilled", "Try again.")) == "Last words:\nkilled\nTry again."
    assert errorWords(SkcdfError("It failed.", "")) == "It failed."


def test_many_names_are_cut_short_with_their_number():
    assert namesWords("abcdefg") == "a, b, c, d, e, f, g"
    assert namesWords("abcdefgh") == "a, b, c, d, e, f and 2 more"


def test_one_place_and_several_places_are_grammatical():
    assert placesWords(1).startswith("There is 1 place ")
    assert placesWords(4).startswith("There are 4 places ")
    assert "no place" in placesWords(0)
