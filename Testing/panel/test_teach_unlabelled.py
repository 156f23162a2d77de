"""Adding scans without labels in the section Teach, as a user does it, into a real pool by the real worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import teach_case
from teach_case import WORKER_S, idle
from user import click

pytest_plugins = ("teaching",)
pytestmark = pytest.mark.usefixtures("slicer")

project, case = teach_case.project, teach_case.case  # the fixtures of this file


@pytest.mark.slow
def test_loaded_volumes_are_added_without_labels_and_not_twice(teach, project, case, pump, picture):
    import qt

    box = teach.panel.unlabelled
    box.ui.group.collapsed = False
    assert [box.ui.volumesList.item(row).text() for row in range(box.ui.volumesList.count)] == ["Scan"]
    click(box.ui.addVolumesButton)
    assert "No volume is checked" in box.ui.statusLabel.text
    box.ui.volumesList.item(0).setCheckState(qt.Qt.Checked)
    click(box.ui.addVolumesButton)
    assert pump(idle(box), WORKER_S)
    assert box.ui.statusLabel.text == "1 scan was added."
    assert "1 without labels" in teach.panel.ui.countsLabel.text
    box.ui.volumesList.item(0).setCheckState(qt.Qt.Checked)
    click(box.ui.addVolumesButton)
    assert pump(idle(box), WORKER_S)
    assert "1 was in the pool already" in box.ui.statusLabel.text
    picture(teach.window, "teach-unlabelled")


@pytest.mark.slow
def test_a_loaded_volume_that_is_refused_is_called_by_its_own_name(teach, project, case, pump, slicer):
    import qt

    volume, box = case[0], teach.panel.unlabelled
    array = slicer.util.arrayFromVolume(volume)
    slicer.util.updateVolumeFromArray(volume, np.full(array.shape, np.nan, np.float32))
    box.ui.group.collapsed = False
    box.ui.volumesList.item(0).setCheckState(qt.Qt.Checked)
    click(box.ui.addVolumesButton)
    assert pump(idle(box), WORKER_S)
    assert "Not added: Scan: " in box.ui.statusLabel.text
    assert ".nrrd" not in box.ui.statusLabel.text


@pytest.mark.slow
def test_a_folder_of_scans_is_added_and_what_is_no_scan_is_named(teach, project, pump, tmp_path, slicer):
    from teaching import loadToyCase

    from skcdf.image import read_image

    folder = tmp_path / "scans"
    folder.mkdir()
    volume, _segmentation = loadToyCase(5)
    from SKCDFSegmenterLib.VolumeImage import writeVolume

    writeVolume(volume, folder / "one.nrrd")
    assert read_image(folder / "one.nrrd").array.any()
    (folder / "two.nrrd").write_bytes(b"NRRD0004\nno scan")
    box = teach.panel.unlabelled
    box.ui.group.collapsed = False
    teach.dialogs.folders.append(str(folder))
    click(box.ui.addFolderButton)
    assert pump(idle(box), WORKER_S)
    assert "1 scan was added." in box.ui.statusLabel.text
    assert "Not added: two.nrrd" in box.ui.statusLabel.text
    assert project.counts().unlabelled == 1


def test_a_volume_that_is_deleted_leaves_the_list(teach, project, case, slicer):
    box = teach.panel.unlabelled
    assert box.ui.volumesList.count == 1
    slicer.mrmlScene.RemoveNode(case[0])
    assert box.ui.volumesList.count == 0
    assert not Path(project.root / "nothing").exists()
