"""The places to look at are kept with a segmentation, and the views go there."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import placed
import scans
from placed import ESOPHAGUS, OBLIQUE, RIGHT_KIDNEY, SPLEEN, TABLE

from SKCDFSegmenterLib.SegmentRecord import setCompleted
from SKCDFSegmenterLib.Snapshot import restorePrevious
from SKCDFSegmenterLib.UnsurePlaces import (
    FRAME,
    PLACES,
    jumpTo,
    nextPlace,
    places,
    storePlaces,
    worldPosition,
)
from SKCDFSegmenterLib.VolumeImage import geometryOfVolume

INDEX = np.array([4.0, 7.0, 3.0])  # (i, j, k)


def row(organ, position=(1.0, 2.0, 3.0), reason="outer border uncertain over 1.0 mL"):
    return {"organ": organ, "position": list(position), "unsure": 0.8, "volume_ml": 1.0, "reason": reason}


@pytest.fixture(params=[None, TABLE], ids=["untransformed", "transformed"])
def volume(makeVolume, request):
    return makeVolume(scans.SHAPE, OBLIQUE, request.param)


@pytest.fixture
def segmentation(volume):
    return placed.place(volume).segmentationNode


class TestKeeping:
    def test_they_come_back_in_the_order_of_their_use(self, segmentation):
        rows = [row(SPLEEN, reason="größer als üblich"), row(ESOPHAGUS), row(SPLEEN, (4, 5, 6))]
        storePlaces(segmentation, rows)
        found = places(segmentation)
        assert [place.organ for place in found] == [SPLEEN, ESOPHAGUS, SPLEEN]
        assert (found[0].position, found[0].unsure, found[0].volumeMl) == ((1, 2, 3), 0.8, 1.0)
        assert found[0].reason == "größer als üblich"

    def test_a_run_about_some_organs_leaves_the_places_of_the_others(self, segmentation):
        storePlaces(segmentation, [row(SPLEEN), row(ESOPHAGUS, reason="old")])
        storePlaces(segmentation, [row(ESOPHAGUS, reason="new")], [ESOPHAGUS, "liver"])
        assert [(each.organ, each.reason[:3]) for each in places(segmentation)] == [
            (ESOPHAGUS, "new"),
            (SPLEEN, "out"),
        ]

    def test_a_run_about_everything_replaces_all(self, segmentation):
        storePlaces(segmentation, [row(SPLEEN)])
        storePlaces(segmentation, [])
        assert places(segmentation) == ()
        assert segmentation.GetAttribute(PLACES) is None

    def test_a_saved_scene_has_them(self, slicer, segmentation, tmp_path):
        storePlaces(segmentation, [row(SPLEEN, reason='"<&> ü 肝')])
        before = places(segmentation)
        path = str(tmp_path / "scene.mrb")
        assert slicer.mrmlScene.WriteToMRB(path)
        slicer.mrmlScene.Clear(1)
        assert slicer.mrmlScene.ReadFromMRB(path)
        assert places(slicer.util.getNode("Result")) == before

    @pytest.mark.parametrize("text", ["", "{", "[1]", '[{"organ": "x"}]', '{"a": 1}', '[{"position": [1]}]'])
    def test_what_another_version_wrote_is_no_place(self, segmentation, text):
        segmentation.SetAttribute(PLACES, text)
        assert places(segmentation) == ()

    def test_no_segmentation_has_none(self):
        assert places(None) == () and nextPlace(None) is None


class TestTour:
    def test_goes_round(self, segmentation):
        storePlaces(segmentation, [row(SPLEEN), row(ESOPHAGUS), row(RIGHT_KIDNEY)])
        first, second, third = places(segmentation)
        assert nextPlace(segmentation) == first
        assert nextPlace(segmentation, first) == second
        assert nextPlace(segmentation, third) == first

    def test_passes_over_completed_organs(self, segmentation):
        storePlaces(segmentation, [row(SPLEEN), row(ESOPHAGUS), row(RIGHT_KIDNEY)])
        first, _second, third = places(segmentation)
        setCompleted(segmentation.GetSegmentation().GetSegment(ESOPHAGUS), True)
        assert nextPlace(segmentation, first) == third
        for organ in (SPLEEN, RIGHT_KIDNEY):
            setCompleted(segmentation.GetSegmentation().GetSegment(organ), True)
        assert nextPlace(segmentation, first) is None

    def test_includes_organs_that_were_not_found(self, segmentation):
        storePlaces(segmentation, [row("liver", reason="not found; if it is there, most likely here")])
        assert nextPlace(segmentation).organ == "liver"

    def test_goes_on_after_a_place_that_is_gone(self, segmentation):
        storePlaces(segmentation, [row(SPLEEN)])
        gone = places(segmentation)[0]
        storePlaces(segmentation, [row(ESOPHAGUS)])
        assert nextPlace(segmentation, gone).organ == ESOPHAGUS


class TestHardening:
    """*Harden transform* moves the organs in their own frame, and so their places."""

    @pytest.fixture
    def volume(self, makeVolume):
        return makeVolume(scans.SHAPE, OBLIQUE, TABLE)

    @staticmethod
    def row(organ, volume):
        return row(organ, geometryOfVolume(volume).position(INDEX))

    @staticmethod
    def there(segmentation):
        """Where the places are in the world, by organ."""
        return {place.organ: worldPosition(place, segmentation) for place in places(segmentation)}

    def test_they_stay_where_they_are_on_the_scan(self, volume, segmentation):
        storePlaces(segmentation, [self.row(SPLEEN, volume)])
        before, seen = self.there(segmentation), places(segmentation)
        placed.harden(volume, segmentation)
        np.testing.assert_allclose(self.there(segmentation)[SPLEEN], before[SPLEEN], atol=1e-6)
        assert places(segmentation) == seen, "whoever is among them goes on"

    def test_so_do_those_that_a_later_run_was_not_about(self, volume, segmentation):
        storePlaces(segmentation, [self.row(SPLEEN, volume)])
        before = self.there(segmentation)
        placed.harden(volume, segmentation)
        storePlaces(segmentation, [self.row(ESOPHAGUS, volume)], [ESOPHAGUS])
        for organ in (SPLEEN, ESOPHAGUS):
            np.testing.assert_allclose(self.there(segmentation)[organ], before[SPLEEN], atol=1e-6)

    def test_so_do_those_that_come_back_with_the_segments(self, volume, segmentation):
        storePlaces(segmentation, [self.row(SPLEEN, volume)])
        before = self.there(segmentation)
        placed.place(volume, segmentationNode=segmentation)
        placed.harden(volume, segmentation)
        storePlaces(segmentation, [self.row(ESOPHAGUS, volume)])
        for organ in (SPLEEN, ESOPHAGUS):
            restorePrevious(segmentation)
            np.testing.assert_allclose(self.there(segmentation)[organ], before[SPLEEN], atol=1e-6)

    def test_so_do_those_of_a_saved_scene(self, slicer, volume, segmentation, tmp_path):
        storePlaces(segmentation, [self.row(SPLEEN, volume)])
        before = self.there(segmentation)
        path = str(tmp_path / "scene.mrb")
        assert slicer.mrmlScene.WriteToMRB(path)
        slicer.mrmlScene.Clear(1)
        assert slicer.mrmlScene.ReadFromMRB(path)
        loaded = slicer.util.getNode("Result")
        placed.harden(loaded)
        np.testing.assert_allclose(self.there(loaded)[SPLEEN], before[SPLEEN], atol=1e-3)

    def test_a_scene_of_an_older_version_is_taken_as_it_is(self, volume, segmentation):
        storePlaces(segmentation, [self.row(SPLEEN, volume)])
        before = self.there(segmentation)
        segmentation.SetAttribute(FRAME, None)
        assert self.there(segmentation) == before


class TestJump:
    @pytest.fixture
    def views(self, slicer):
        """Three slice views, one of them turned as a user may turn it, and a cross-hair."""
        logics = []
        for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
            logic.SetMRMLScene(slicer.mrmlScene)
            node = logic.AddSliceNode(name)
            node.SetOrientation(orientation)
            node.SetDimensions(300, 200, 1)
            logics.append((logic, node))
        crosshair = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCrosshairNode")
        yield [node for _logic, node in logics], crosshair
        for logic, _node in logics:
            logic.SetMRMLScene(None)

    def test_every_view_and_the_crosshair_are_there(self, slicer, volume, segmentation, views):
        nodes, crosshair = views
        storePlaces(segmentation, [row(SPLEEN, geometryOfVolume(volume).position(INDEX))])
        (place,) = places(segmentation)
        jumpTo(place, segmentation)
        transform = volume.GetParentTransformNode()
        toWorld = TABLE if transform is not None else np.eye(4)
        expected = (toWorld @ OBLIQUE @ [*INDEX, 1])[:3]
        np.testing.assert_allclose(worldPosition(place, segmentation), expected, atol=1e-6)
        np.testing.assert_allclose(crosshair.GetCrosshairRAS(), expected, atol=1e-6)
        assert crosshair.GetCrosshairMode() != crosshair.NoCrosshair
        for node in nodes:
            centre = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3]
            np.testing.assert_allclose(centre, expected, atol=1e-6)

    def test_a_crosshair_that_the_user_chose_stays(self, volume, segmentation, views):
        _nodes, crosshair = views
        crosshair.SetCrosshairMode(crosshair.ShowHashmarks)
        storePlaces(segmentation, [row(SPLEEN)])
        jumpTo(places(segmentation)[0], segmentation)
        assert crosshair.GetCrosshairMode() == crosshair.ShowHashmarks

    def test_without_views_nothing_happens(self, slicer, segmentation):
        storePlaces(segmentation, [row(SPLEEN)])
        jumpTo(places(segmentation)[0], segmentation)
