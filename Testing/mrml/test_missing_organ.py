"""An organ that was not found gets a segment like those of a model, on real segments."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from skcdf.labels import LabelSet
from SKCDFSegmenterLib.MissingOrgan import addOrgan, organTitle
from SKCDFSegmenterLib.SegmentIdentity import labelOfSegment, segmentsOfLabels


@pytest.fixture
def segmentation(slicer):
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")


def test_it_is_known_by_its_code_and_named_as_people_do(segmentation):
    labelSet = LabelSet.load("synapse13")
    assert addOrgan(segmentation, "right_kidney") == "right_kidney"
    segment = segmentation.GetSegmentation().GetSegment("right_kidney")
    assert segment.GetName() == organTitle("right_kidney") == "Right kidney"
    assert labelOfSegment("any other ID", segment, labelSet).name == "right_kidney"
    assert segmentsOfLabels(segmentation, labelSet) == ({"right_kidney": ["right_kidney"]}, [])


def test_an_organ_of_the_users_own_keeps_its_name(segmentation):
    addOrgan(segmentation, "Lymphknoten links")
    assert segmentation.GetSegmentation().GetSegment("Lymphknoten links").GetName() == "Lymphknoten links"


def test_one_that_is_there_stays_as_it_is(segmentation):
    addOrgan(segmentation, "liver")
    segmentation.GetSegmentation().GetSegment("liver").SetName("my liver")
    addOrgan(segmentation, "liver")
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert segmentation.GetSegmentation().GetSegment("liver").GetName() == "my liver"
