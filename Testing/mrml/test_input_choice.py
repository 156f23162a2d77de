"""Which volume the panel offers, on real MRML."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def choice(slicer):
    from SKCDFSegmenterLib import InputChoice

    return InputChoice


@pytest.fixture
def scan(slicer):
    """Makes a scan; `name` is its name."""

    def make(name="CT", shape=(4, 5, 6)):
        return slicer.util.addVolumeFromArray(np.zeros(shape, np.int16), name=name)

    return make


@pytest.fixture
def view(slicer):
    """Makes a slice view that shows nodes in background and foreground."""

    def make(name, background=None, foreground=None):
        node = slicer.vtkMRMLSliceCompositeNode()
        node.SetLayoutName(name)
        node.SetSingletonTag(name)
        node = slicer.mrmlScene.AddNode(node)
        node.SetBackgroundVolumeID(background.GetID() if background else None)
        node.SetForegroundVolumeID(foreground.GetID() if foreground else None)
        return node

    return make


def labelMap(slicer, name="labels"):
    return slicer.util.addVolumeFromArray(
        np.zeros((4, 5, 6), np.uint8), name=name, nodeClassName="vtkMRMLLabelMapVolumeNode"
    )


def test_label_maps_colour_images_hidden_and_empty_volumes_are_no_scans(slicer, choice, scan):
    ct = scan()
    hidden = scan("hidden")
    hidden.SetHideFromEditors(True)
    colour = slicer.util.addVolumeFromArray(
        np.zeros((4, 5, 6, 3), np.uint8), nodeClassName="vtkMRMLVectorVolumeNode"
    )
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    others = (labelMap(slicer), hidden, colour, empty, None)
    assert [choice.isSegmentable(node) for node in others] == [False] * 5
    assert choice.segmentableVolumes() == (ct,)


def test_the_red_view_is_looked_at_before_the_others(choice, scan, view):
    first, second = scan("first"), scan("second")
    view("Green", first)
    assert choice.volumeOnScreen() is first
    view("Red", second)
    assert choice.volumeOnScreen() is second


def test_a_label_map_in_front_of_a_scan_does_not_hide_it(slicer, choice, scan, view):
    scan("elsewhere")
    ct = scan()
    view("Red", labelMap(slicer), ct)
    assert choice.volumeOnScreen() is ct


def test_without_views_the_only_scan_is_taken_and_of_several_none(choice, scan):
    assert choice.volumeOnScreen() is None
    ct = scan()
    assert choice.volumeOnScreen() is ct
    scan("second")
    assert choice.volumeOnScreen() is None


def test_a_view_that_shows_a_deleted_volume_shows_nothing(slicer, choice, scan, view):
    scan("a"), scan("b")
    gone = scan("gone")
    node = view("Red", gone)
    slicer.mrmlScene.RemoveNode(gone)
    node.SetBackgroundVolumeID("vtkMRMLScalarVolumeNode77")
    assert choice.volumeOnScreen() is None


def test_the_watch_tells_of_loaded_volumes_and_of_other_backgrounds_until_it_stops(
    slicer, choice, scan, view
):
    calls = []
    watch = choice.ScreenWatch(lambda: calls.append(1))
    watch.start()
    ct = scan()
    assert calls
    red = view("Red")  # a view that came after the start
    calls.clear()
    red.SetBackgroundVolumeID(ct.GetID())
    assert calls and choice.isOnScreen(ct)
    watch.stop()
    calls.clear()
    red.SetBackgroundVolumeID(None)
    scan("later")
    assert not calls and not choice.isOnScreen(ct)
