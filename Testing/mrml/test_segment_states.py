"""What the list of organs says while somebody works on them, on real segments."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import placed
import scans
from segment_editing import SegmentEditor

from SKCDFSegmenterLib.SegmentRecord import ModelRecord, setCompleted
from SKCDFSegmenterLib.SegmentStates import SegmentStates


@pytest.fixture
def volume(makeVolume):
    return makeVolume(scans.SHAPE, placed.OBLIQUE)


@pytest.fixture
def segmentation(volume):
    """Three organs that a model has proposed, and one that a person has drawn."""
    record = ModelRecord("abdomen v1", unsure={"spleen": 0.25})
    node = placed.place(volume, record=record).segmentationNode
    node.GetSegmentation().AddEmptySegment("tumour", "Tumour")
    return node


@pytest.fixture
def erase(slicer, segmentation, volume):
    """Takes voxels of all organs away, as with the eraser."""
    editor = SegmentEditor(slicer, segmentation, volume)
    return lambda segmentID: editor.erase(segmentID, placed.mask((0, 3), (0, 14), (0, 19)))


@pytest.fixture
def states(segmentation):
    return SegmentStates(segmentation)


def said(states):
    return {each.name: each.state for each in states.organs()}


def test_all_segments_are_listed_with_state_and_unsure_share(states):
    assert said(states) == {
        "Spleen": "proposed",
        "Right kidney": "proposed",
        "Esophagus": "proposed",
        "Tumour": "foreign",
    }
    assert {each.name: each.unsure for each in states.organs()}["Spleen"] == 0.25
    assert {each.name: each.unsure for each in states.organs()}["Tumour"] is None


def test_edits_are_seen_when_it_looks_and_the_one_under_the_brush_at_once(erase, states):
    said(states)
    erase("spleen")
    assert said(states)["Spleen"] == "proposed"
    states.touched("spleen")
    assert said(states)["Spleen"] == "edited"
    erase("esophagus")
    states.look()
    assert said(states) == {
        "Spleen": "edited",
        "Right kidney": "proposed",
        "Esophagus": "edited",
        "Tumour": "foreign",
    }


def test_a_touch_that_changed_nothing_is_no_edit_once_it_looks(states):
    said(states)
    states.touched("spleen")
    states.touched("tumour")
    assert said(states)["Spleen"] == "edited" and said(states)["Tumour"] == "foreign"
    states.look()
    assert said(states)["Spleen"] == "proposed"


def test_completing_and_reopening_is_seen_at_once(segmentation, states):
    segment = segmentation.GetSegmentation().GetSegment("spleen")
    setCompleted(segment, True)
    assert said(states)["Spleen"] == "completed"
    states.look()
    setCompleted(segment, False)
    assert said(states)["Spleen"] == "proposed"


def test_which_model_proposed_an_organ_and_when_it_was_completed_is_told(segmentation, states):
    origins = {each.name: each.origin for each in states.organs()}
    assert re.fullmatch(r"Proposed by abdomen v1, \d{4}-\d\d-\d\d \d\d:\d\d UTC\.", origins["Spleen"])
    assert origins["Tumour"] == ""
    setCompleted(segmentation.GetSegmentation().GetSegment("tumour"), True)
    origins = {each.name: each.origin for each in states.organs()}
    assert re.fullmatch(r"Completed \d{4}-\d\d-\d\d \d\d:\d\d UTC\.", origins["Tumour"])


def test_segments_that_come_and_go_come_and_go_in_the_list(segmentation, states):
    said(states)
    segmentation.GetSegmentation().AddEmptySegment("cyst", "Cyst")
    segmentation.GetSegmentation().RemoveSegment("spleen")
    assert list(said(states)) == ["Right kidney", "Esophagus", "Tumour", "Cyst"]
    assert said(states)["Cyst"] == "foreign"
