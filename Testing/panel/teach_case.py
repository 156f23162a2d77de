"""A toy project, a case of it, and what the tests of the section Teach ask of a box that adds cases."""

from __future__ import annotations

from pathlib import Path

import pytest
from user import click, write

WORKER_S = 60


@pytest.fixture
def project(teach, tmp_path):
    from skcdf.labels import LabelSet

    labels = LabelSet.from_names("toy", ("spleen", "right_kidney", "left_kidney"))
    teach.workspace.createProject(tmp_path / "project", labels, "CT", "Toys", synthetic=True)
    return teach.workspace.project


@pytest.fixture
def case(teach, slicer):
    from teaching import loadToyCase

    from SKCDFSegmenterLib.SegmentRecord import setCompleted

    volume, segmentation = loadToyCase(1)
    for name in ("spleen", "left_kidney"):
        setCompleted(segmentation.GetSegmentation().GetSegment(name), True)
    teach.parameters.inputVolume, teach.parameters.outputSegmentation = volume, segmentation
    slicer.app.processEvents()
    return volume, segmentation


def organs(box):
    return {box.ui.organsList.item(row).text(): row for row in range(box.ui.organsList.count)}


def check(box, title, checked=True):
    import qt

    row = next(row for text, row in organs(box).items() if text.startswith(title))
    box.ui.organsList.item(row).setCheckState(qt.Qt.Checked if checked else qt.Qt.Unchecked)


def isChecked(box, title):
    import qt

    row = next(row for text, row in organs(box).items() if text.startswith(title))
    return box.ui.organsList.item(row).checkState() == qt.Qt.Checked


def leftovers(slicer):
    """Folders with somebody's scan that are still there."""
    return [path.name for path in Path(slicer.app.temporaryPath).glob("skcdf-*")]


def idle(box):
    return lambda: box._request is None


def preview(teach, pump, person="Person 1"):
    box = teach.panel.cases
    if person:
        write(box.ui.subjectEdit, person)
    click(box.ui.addButton)
    assert pump(idle(box), WORKER_S)
    return box
