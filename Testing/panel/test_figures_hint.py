"""When the table of figures says that it is out of date, and when it does not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")

import user

from SKCDFSegmenterLib.SegmentRecord import setCompleted


@pytest.fixture
def result(slicer, tmp_path):
    """Section 1 after a run; its widgets and the segment that it found."""
    from sections import Sections

    sections = Sections(tmp_path)
    sections.useEngine()
    array = np.zeros((6, 9, 12), np.int16)
    array[1:4, 2:6, 3:8] = 1000
    volume = slicer.util.addVolumeFromArray(array, name="CT")
    slicer.util.setSliceViewerLayers(background=volume)
    sections.settle()
    sections.checked()
    sections.run()
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    yield sections.ui, segmentation.GetSegmentation().GetNthSegment(0)
    sections.close()


def test_surfaces_and_colours_are_no_change_of_the_figures(result):
    ui, segment = result
    user.click(ui.show3DButton)
    segment.SetColor(0.1, 0.2, 0.3)
    assert ui.organTable.rowCount == 1 and ui.tableHint.isHidden()


def test_another_name_or_state_is_one(result):
    ui, segment = result
    segment.SetName("Left half")
    assert "press Update" in ui.tableHint.text
    user.click(ui.updateTableButton)
    assert ui.tableHint.isHidden() and ui.organTable.item(0, 0).text() == "Left half"
    setCompleted(segment, True)
    assert "press Update" in ui.tableHint.text
