"""Section 2 with a scan that an engine has segmented, and what its tests ask of it."""

from __future__ import annotations

import numpy as np
import pytest
import user


@pytest.fixture
def sections(slicer, tmp_path):
    from sections import Sections

    made = Sections(tmp_path)
    made.useEngine()
    yield made
    made.close()


@pytest.fixture
def ui(sections):
    return sections.correct.ui


@pytest.fixture
def scan(slicer):
    array = np.zeros((6, 9, 12), np.int16)
    array[1:4, 2:6, 3:8] = 1000
    volume = slicer.util.addVolumeFromArray(array, name="CT")
    slicer.util.setSliceViewerLayers(background=volume)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCrosshairNode")  # the application has one in every scene
    return volume


@pytest.fixture
def segmentation(slicer, sections, scan):
    """What a run has found: the left kidney, and a place in it; and the liver with two places more."""
    from SKCDFSegmenterLib.UnsurePlaces import places, storePlaces

    sections.settle()
    sections.run()
    node = sections.parameters.outputSegmentation
    liver = node.GetSegmentation().AddEmptySegment("liver", "Liver")
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones((6, 9, 12), np.uint8), node, liver, scan)
    found = [
        {
            "organ": each.organ,
            "position": each.position,
            "unsure": 0.5,
            "volume_ml": 1.0,
            "reason": each.reason,
        }
        for each in places(node)
    ]
    more = [
        {"organ": "liver", "position": position, "unsure": 0.2, "volume_ml": 1.0, "reason": "outer border"}
        for position in ((-3.0, -4.0, 2.0), (-5.0, -1.0, 3.0))
    ]
    storePlaces(node, [*found, *more])
    return node


@pytest.fixture
def opened(sections, ui, segmentation):
    """The section, open."""
    user.unfold(ui.correctCollapsible)
    sections.settle()
    return ui


def centre(slicer):
    """Where the red slice is, and the cross-hair."""
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    return round(red.GetSliceToRAS().GetElement(2, 3), 3), tuple(crosshair.GetCrosshairRAS())


def rows(ui):
    table = ui.statesTable
    return [[table.item(row, column).text() for column in range(2)] for row in range(table.rowCount)]


def left(sections):
    """What Slicer's editor would be left with."""
    editor = sections.correct._editor.widget
    return [] if editor is None else editor._leftBehind
