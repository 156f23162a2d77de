"""The check-list of organs before a case goes into the pool, on real segmentations."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import scans

from skcdf.labels import LabelSet

PHANTOM = LabelSet.load("phantom13")


@pytest.fixture
def segmentation(slicer, makeVolume):
    from skcdf.image import Image
    from SKCDFSegmenterLib.LabelMapImport import segmentationFromLabelMap
    from SKCDFSegmenterLib.VolumeImage import geometryOfVolume

    volume = makeVolume(scans.SHAPE, np.diag([-1.0, -1.0, 1.0, 1.0]))
    array = np.zeros(scans.SHAPE, np.uint8)
    array[2:5, 3:6, 3:6], array[2:5, 8:11, 3:6] = PHANTOM.value_of("spleen"), PHANTOM.value_of("liver")
    image = Image(array, geometryOfVolume(volume))
    return segmentationFromLabelMap(image, PHANTOM, volume, name="organs").segmentationNode


def states(checks):
    return {check.name: (check.presence, check.checked) for check in checks}


def test_only_completed_organs_are_checked_at_first(segmentation):
    from SKCDFSegmenterLib.OrganChecks import checkedNames, organChecks
    from SKCDFSegmenterLib.SegmentRecord import setCompleted

    setCompleted(segmentation.GetSegmentation().GetSegment("spleen"), True)
    checks = organChecks(segmentation, PHANTOM)
    assert [check.name for check in checks] == list(PHANTOM.names)
    found = states(checks)
    assert found["spleen"] == ("completed", True)
    assert found["liver"] == ("present", False)
    assert found["aorta"] == ("missing", False)
    assert checkedNames(checks) == ("spleen",)
    assert next(check.text for check in checks if check.name == "spleen") == "Spleen (completed)"


def test_what_the_user_says_holds_but_a_completed_organ_stays_checked(segmentation):
    from SKCDFSegmenterLib.OrganChecks import organChecks
    from SKCDFSegmenterLib.SegmentRecord import setCompleted

    setCompleted(segmentation.GetSegmentation().GetSegment("spleen"), True)
    found = states(organChecks(segmentation, PHANTOM, {"spleen": False, "liver": True, "aorta": True}))
    assert found["spleen"] == ("completed", True)
    assert found["liver"] == ("present", True)
    assert found["aorta"] == ("missing", True)


def test_without_a_segmentation_there_is_nothing_to_check(slicer):
    from SKCDFSegmenterLib.OrganChecks import organChecks

    assert organChecks(None, PHANTOM) == ()
