"""What holds up an import is told once: in the panel's words where it has some, else in the engine's."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SKCDFSegmenterLib.ImportWords import blockerWords

UNDECIDED = {"code": "undecided", "message": "Leber is not clear. Decide in a mapping file."}
SHARED = {"code": "shared", "message": "a and b would all become liver; if that is meant, add it to merge."}
MODALITY = {
    "code": "modality",
    "message": "The scans of 'Decide in a mapping file' are CT, the pool's are MR.",
}


def result(*blockers, undecided=()):
    return {"undecided": list(undecided), "blockers": list(blockers)}


def test_what_can_be_chosen_in_the_window_is_told_for_the_window():
    lines = blockerWords(result(UNDECIDED, SHARED, undecided=["Leber"]), ["liver"], {"liver": "Liver"})
    assert lines == [
        "Choose in the table what becomes of: Leber.",
        "Several labels become Liver. If that is meant, tick Join below the tables.",
    ]


def test_everything_else_stays_whatever_its_words_are():
    lines = blockerWords(result(MODALITY, UNDECIDED, undecided=["Leber"]), [], {})
    assert lines == ["Choose in the table what becomes of: Leber.", MODALITY["message"]]


def test_labels_that_were_joined_since_the_check_are_told_as_the_check_saw_them():
    assert blockerWords(result(SHARED), [], {}) == [SHARED["message"]]
