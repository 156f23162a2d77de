"""What the section Teach says, from the engine's own events and answers."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

from skcdf.labels import LabelSet
from skcdf.project import PoolCounts
from SKCDFSegmenterLib import TeachingWords as Words

PHANTOM = LabelSet.load("phantom13")
ADDED = {
    "action": "add",
    "case": "case_004",
    "split": "training",
    "volumes_ml": {"spleen": 182.3, "gallbladder": 0.0, "left_adrenal_gland": 3.46},
    "warnings": ["spleen has 2 pieces"],
    "proposal_dice": {"spleen": 0.94, "left_adrenal_gland": 0.6, "gallbladder": None},
}


def test_every_state_of_the_pool_is_counted_by_name():
    assert Words.countsWords(PoolCounts(12, 3, 4, 20, 1)) == (
        "In the pool: 12 labelled, 3 partly annotated, 4 for validation, 20 without labels, 1 withdrawn."
    )


def test_a_preview_tells_name_use_volumes_agreement_and_warnings():
    text = Words.previewWords(ADDED, PHANTOM)
    assert "A new case for the pool: case_004." in text
    assert "For training. The third person" in text
    assert "Spleen 182 mL, Gallbladder none, Left adrenal gland 3.5 mL" in text
    assert "agrees by 0.77 on average, least for Left adrenal gland (0.60)" in text
    assert "Please check: spleen has 2 pieces" in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"split": "validation"}, "the third person, and then every fifth"),
        ({"split": "validation", "split_reason": "subject"}, "For validation, like the other scans"),
        ({"split_reason": "subject"}, "For training, like the other scans"),
        ({"action": "revise"}, "It stays for training"),
        ({"action": "revise", "split": "validation"}, "It stays for validation"),
    ],
)
def test_the_preview_says_why_a_case_trains_or_validates(change, expected):
    assert expected in Words.previewWords({**ADDED, **change}, PHANTOM)


def test_an_unchanged_proposal_is_called_so():
    assert "accepted unchanged" in Words.previewWords({**ADDED, "proposal_dice": {"spleen": 1.0}}, PHANTOM)


def test_what_is_added_during_a_training_counts_for_the_next_one():
    assert "counts for the next one" in Words.storedWords(ADDED, training=True)
    assert "next one" not in Words.storedWords(ADDED, training=False)
    assert "new version of case_004" in Words.storedWords({**ADDED, "action": "revise"}, training=False)


def test_of_what_the_pool_has_already_nothing_is_said_to_be_stored():
    text = Words.storedWords({**ADDED, "action": "revise", "unchanged": True}, training=True)
    assert text == "case_004 has exactly these organs already: nothing was stored."


def test_of_scans_without_labels_every_refusal_has_its_reason_and_many_are_summed_up():
    refused = [{"image": f"/data/scan_{i}.nii.gz", "reason": "it is empty"} for i in range(9)]
    lines = Words.unlabelledWords({"added": ["a"], "present": ["b", "c"], "refused": refused}).split("\n")
    assert lines[:3] == [
        "1 scan was added.",
        "2 were in the pool already.",
        "Not added: scan_0.nii.gz: it is empty",
    ]
    assert lines[-1] == "… and 3 more were not added."


def test_progress_has_phase_share_time_left_and_note():
    event = {"event": "progress", "phase": "train", "fraction": 0.25, "eta_s": 190.0, "note": "loss 0.51"}
    assert Words.progressWords(event) == "Training: 25 %, about 3 min left, loss 0.51"
    assert Words.progressWords({**event, "phase": "load labelled cases", "fraction": 1.0, "note": ""}) == (
        "Loading labelled cases: 100 %"
    )
    measuring = {**event, "phase": "measure speed", "fraction": 0.5, "eta_s": None, "note": ""}
    assert Words.progressWords(measuring) == "Measuring how fast this computer trains: 50 %"
    assert Words.progressWords({**event, "phase": "tidy", "eta_s": None, "note": ""}) == "Tidy: 25 %"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "less than a minute left"), (61, "about 1 min left"), (7500, "about 2 h 5 min left")],
)
def test_time_left_is_rounded_as_people_do(seconds, words):
    assert Words.timeLeftWords(seconds) == words


def test_of_many_organs_the_first_are_named():
    assert Words.organWords(["liver", "spleen"], PHANTOM) == "Liver, Spleen"
    assert Words.organWords(PHANTOM.names, PHANTOM).endswith("and 7 more")


@pytest.mark.parametrize("path", ["/data/a b.nii", "C:\\data\\a b.nii", "a b.nii", "/data/a b.nii/"])
def test_a_file_is_called_by_its_name_on_every_system(path):
    assert Words.fileName(path) == "a b.nii"
