"""The way through the unsure places, on real MRML."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SKCDFSegmenterLib.PlaceTour import PlaceTour
from SKCDFSegmenterLib.SegmentRecord import setCompleted
from SKCDFSegmenterLib.UnsurePlaces import storePlaces


@pytest.fixture
def segmentation(slicer):
    """Three places in two organs."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    for name in ("spleen", "liver"):
        node.GetSegmentation().AddEmptySegment(name, name.capitalize())
    storePlaces(
        node,
        [
            {"organ": organ, "position": position, "unsure": 0.5, "volume_ml": 1.0, "reason": reason}
            for organ, position, reason in (
                ("spleen", [10, 20, 30], "outer border uncertain over 2.0 mL"),
                ("liver", [-5, 6, 7], "in 2 pieces"),
                ("spleen", [1, 2, 3], "border to liver uncertain over 0.2 mL"),
            )
        ],
    )
    return node


@pytest.fixture
def tour(segmentation):
    return PlaceTour(segmentation)


@pytest.fixture
def centre(slicer):
    """Where the slice views are."""
    views = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode") for _ in range(3)]
    views[1].SetOrientationToCoronal(), views[2].SetOrientationToSagittal()

    def where():
        return [round(views[k].GetSliceToRAS().GetElement(axis, 3), 3) for axis, k in enumerate((2, 1, 0))]

    return where


def complete(node, name):
    setCompleted(node.GetSegmentation().GetSegment(name), True)


def test_it_says_how_many_places_there_are_before_the_first(tour):
    assert tour.words() == "3 places where the model was unsure, the most useful first."
    assert tour.canGoOn and not tour.canGoBack and tour.here is None


def test_forth_and_back_bring_the_views_to_the_places(tour, centre):
    assert tour.goOn().organ == "spleen"
    assert centre() == [-10, -20, 30]
    assert tour.words() == "1 of 3: Spleen: outer border uncertain over 2.0 mL."
    assert tour.goOn().organ == "liver"
    assert centre() == [5, -6, 7]
    assert tour.words() == "2 of 3: Liver: in 2 pieces."
    assert tour.goBack().organ == "spleen"
    assert centre() == [-10, -20, 30] and not tour.canGoBack
    assert tour.goBack() is None and centre() == [-10, -20, 30]


def test_after_the_last_place_comes_the_first(tour):
    assert [tour.goOn().reason[:6] for _ in range(4)] == ["outer ", "in 2 p", "border", "outer "]


def test_places_of_completed_organs_are_left_out_until_none_is_left(segmentation, tour):
    complete(segmentation, "spleen")
    assert tour.goOn().organ == "liver" and tour.words().startswith("2 of 3: Liver")
    complete(segmentation, "liver")
    assert not tour.canGoOn and tour.goOn() is None
    words = "All organs are completed: nothing is left to check. Reopen takes an organ back."
    assert tour.words() == words == PlaceTour(segmentation).words()


def test_the_end_tells_of_organs_without_unsure_places_that_are_not_completed(segmentation, tour):
    segmentation.GetSegmentation().AddEmptySegment("aorta", "Aorta")
    tour.goOn(), complete(segmentation, "spleen"), complete(segmentation, "liver")
    assert (
        tour.words() == "All organs with unsure places are completed; the list below has those that are not."
    )


def test_after_the_end_one_can_look_back_and_is_told_where_one_is(segmentation, tour):
    tour.goOn(), tour.goOn()
    complete(segmentation, "spleen"), complete(segmentation, "liver")
    assert tour.words().startswith("All organs are completed")
    tour.goBack()
    assert tour.words().startswith("1 of 3: Spleen")
    setCompleted(segmentation.GetSegmentation().GetSegment("liver"), False)
    tour.goOn()
    complete(segmentation, "liver")
    assert tour.words().startswith("All organs are completed")


def test_another_run_has_other_places_and_the_way_back_forgets_the_old_ones(segmentation, tour):
    tour.goOn(), tour.goOn()
    place = {"organ": "liver", "position": [0, 0, 0], "unsure": 0.1, "volume_ml": 1.0, "reason": "new"}
    storePlaces(segmentation, [place])
    assert tour.words() == "1 place where the model was unsure."
    assert not tour.canGoBack
    assert tour.goOn().reason == "new" and not tour.canGoBack


def test_a_segmentation_of_other_origin_has_no_places(slicer):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert PlaceTour(node).words() == "No model has named places of this segmentation that it was unsure of."
    assert not PlaceTour(node).canGoOn
    assert PlaceTour(None).words() == "" and PlaceTour(None).goOn() is None
