"""Importing annotated cases, from the choice of a folder to the cases in the pool, with the real worker."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import user
from section_bench import UI_FOLDER, makeWorkspace

from skcdf.image import Image, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.phantom import make_phantom

SMALL = {"shape": (24, 32, 32), "spacing": (10.0, 12.0, 12.0), "cut_off_share": 0.0}
ORGANS = LabelSet.from_names("organs", ["spleen", "liver", "left_kidney", "right_kidney"])
SPLEEN, LIVER = 1, 6  # in the phantom


@pytest.fixture(scope="module")
def warmWorkspace(panelApplication):
    """One worker for all tests."""
    made = makeWorkspace()
    yield made
    made.shutdown()


@pytest.fixture
def workspace(slicer, warmWorkspace, tmp_path):
    warmWorkspace.createProject(tmp_path / "project", ORGANS, "CT", "Clinic")
    yield warmWorkspace
    warmWorkspace.closeProject()


@pytest.fixture
def window(slicer, workspace):
    """The import window, open."""
    import qt

    from SKCDFSegmenterLib.Panels.Dialogs import Dialogs
    from SKCDFSegmenterLib.Panels.ImportDialog import ImportDialog

    timer = qt.QTimer()
    timer.setInterval(50)
    timer.connect("timeout()", workspace.tick)
    timer.start()
    made = ImportDialog(UI_FOLDER, workspace, Dialogs())
    made.open()
    yield made
    timer.stop()
    made.cleanup()


@pytest.fixture
def foreign(tmp_path):
    """An nnU-Net data set of two small phantoms with a label that the project does not know."""
    root = tmp_path / "Dataset001_Ward"
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    for seed, case in enumerate(("ward_1", "ward_2")):
        scan, labels = make_phantom(seed, **SMALL)
        organs = np.zeros_like(labels.array)
        organs[labels.array == SPLEEN], organs[labels.array == LIVER] = 1, 2
        write_image(root / "imagesTr" / f"{case}_0000.nii.gz", scan)
        write_label_map(root / "labelsTr" / f"{case}.nii.gz", organs, labels.geometry)
    description = '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "spleen": 1, "Leber": 2}, '
    (root / "dataset.json").write_text(description + '"numTraining": 2, "file_ending": ".nii.gz"}')
    return root


def cells(table: Any, column: int) -> list[str]:
    """The texts of a table's column; those of lists of choices, too."""
    texts = []
    for row in range(table.rowCount):
        chooser = table.cellWidget(row, column)
        texts.append(chooser.currentText if chooser is not None else table.item(row, column).text())
    return texts


def row(table: Any, text: str) -> int:
    return cells(table, 0).index(text)


def waitForEnd(window: Any) -> None:
    assert user.pump(lambda: not window.ui.cancelButton.isVisible(), 60)


def take(window: Any, dialogs: Any, folder: Path) -> None:
    """Chooses a folder and waits for its check."""
    dialogs.answer("annotated cases", folder)
    user.click(window.ui.folderButton)
    waitForEnd(window)


def test_the_window_opens_with_three_ways_to_choose_and_nothing_to_press_before(window, screenshot):
    assert not window.ui.checkButton.enabled and not window.ui.importButton.enabled
    assert not window.ui.resultBox.isVisible()
    screenshot(window.window, "import_empty")


@pytest.mark.slow
def test_a_label_that_is_not_clear_holds_up_the_import_until_it_is_decided(
    window, workspace, dialogs, foreign, screenshot
):
    take(window, dialogs, foreign)
    table = window.ui.labelsTable
    assert cells(table, 1)[row(table, "spleen")] == "Spleen"
    assert cells(table, 1)[row(table, "Leber")] == "Choose…"
    assert "Choose in the table what becomes of: Leber." in window.ui.stateLabel.text
    assert "mapping file" not in window.ui.stateLabel.text
    assert not window.ui.importButton.enabled
    screenshot(window.window, "import_undecided")

    user.choose(table.cellWidget(row(table, "Leber"), 1), "Liver")
    assert "Check again" in window.ui.stateLabel.text
    user.click(window.ui.checkButton)
    waitForEnd(window)
    assert window.ui.importButton.text == "Import 2 cases"
    assert all("will be added" in text for text in cells(window.ui.casesTable, 1))
    assert not workspace.project.pool().records()  # nothing is written before the click
    screenshot(window.window, "import_checked")

    user.click(window.ui.importButton)
    waitForEnd(window)
    records = workspace.project.pool().records()
    assert {record.current.annotated for record in records} == {("spleen", "liver")}
    assert "2 cases added" in window.ui.stateLabel.text
    assert not window.ui.importButton.enabled
    screenshot(window.window, "import_done")


@pytest.mark.slow
def test_a_label_can_be_left_out(window, workspace, dialogs, foreign):
    take(window, dialogs, foreign)
    table = window.ui.labelsTable
    user.choose(table.cellWidget(row(table, "Leber"), 1), "Leave out")
    user.click(window.ui.checkButton)
    waitForEnd(window)
    user.click(window.ui.importButton)
    waitForEnd(window)
    assert {record.current.annotated for record in workspace.project.pool().records()} == {("spleen",)}


@pytest.mark.slow
def test_labels_are_joined_only_after_a_tick(window, dialogs, foreign):
    take(window, dialogs, foreign)
    assert not window.ui.mergeCheckBox.isVisible()
    table = window.ui.labelsTable
    user.choose(table.cellWidget(row(table, "Leber"), 1), "Spleen")
    user.click(window.ui.checkButton)
    waitForEnd(window)
    assert "Several labels become Spleen" in window.ui.stateLabel.text
    assert "mapping file" not in window.ui.stateLabel.text and not window.ui.importButton.enabled
    user.click(window.ui.mergeCheckBox)
    user.click(window.ui.checkButton)
    waitForEnd(window)
    assert window.ui.importButton.enabled


@pytest.mark.slow
def test_scans_of_one_person_stay_together(window, workspace, dialogs, foreign):
    take(window, dialogs, foreign)
    table = window.ui.labelsTable
    user.choose(table.cellWidget(row(table, "Leber"), 1), "Liver")
    user.click(window.ui.checkButton)
    waitForEnd(window)
    for number in range(2):
        window.ui.casesTable.item(number, 2).setText("Mrs Miller")
    assert not window.ui.importButton.enabled  # who validates may change
    user.click(window.ui.checkButton)
    waitForEnd(window)
    user.click(window.ui.importButton)
    waitForEnd(window)
    records = workspace.project.pool().records()
    assert len({record.subject for record in records}) == 1
    assert len({record.split for record in records}) == 1
    assert "Miller" not in "".join(path.read_text() for path in workspace.project.root.rglob("*.json"))


@pytest.mark.slow
def test_cases_that_are_there_are_left_alone(window, workspace, dialogs, foreign):
    for expected in ("will be added", "there already"):
        take(window, dialogs, foreign)
        table = window.ui.labelsTable
        user.choose(table.cellWidget(row(table, "Leber"), 1), "Liver")
        user.click(window.ui.checkButton)
        waitForEnd(window)
        assert all(expected in text for text in cells(window.ui.casesTable, 1))
        assert window.ui.importButton.enabled == (expected == "will be added")
        if window.ui.importButton.enabled:
            user.click(window.ui.importButton)
            waitForEnd(window)
    assert len(workspace.project.pool().records()) == 2


def test_a_folder_without_scans_is_told_in_the_window(window, dialogs, tmp_path, screenshot):
    (tmp_path / "letters").mkdir()
    take(window, dialogs, tmp_path / "letters")
    assert "no scans were found" in window.ui.stateLabel.text
    screenshot(window.window, "import_failed")


def test_single_files_are_taken_together(window, workspace, dialogs, foreign):
    scan, labels = make_phantom(3, **SMALL)
    files = [foreign.parent / "one.nii.gz", foreign.parent / "one_label.nii.gz"]
    write_image(files[0], scan)
    write_label_map(files[1], (labels.array == SPLEEN).astype(np.uint8), labels.geometry)
    dialogs.answer("Scans and their", files)
    user.click(window.ui.filesButton)
    waitForEnd(window)
    assert cells(window.ui.labelsTable, 0) == ["1"]  # a bare value says nothing: the user must
    user.choose(window.ui.labelsTable.cellWidget(0, 1), "Spleen")
    user.click(window.ui.checkButton)
    waitForEnd(window)
    user.click(window.ui.importButton)
    waitForEnd(window)
    (record,) = workspace.project.pool().records()
    assert (record.name, record.current.annotated) == ("one", ("spleen",))


def test_loaded_segmentations_are_taken_as_they_are_ticked(slicer, window, workspace, screenshot):
    makeSegmentation(slicer, "ours", 0)
    makeSegmentation(slicer, "not this one", 1)
    user.click(window.ui.loadedButton)
    table = window.ui.loadedTable
    assert cells(table, 0) == ["ours", "not this one"]
    screenshot(window.window, "import_loaded")
    table.item(1, 0).setCheckState(0)
    user.click(window.ui.checkButton)
    waitForEnd(window)
    assert cells(window.ui.casesTable, 0) == ["ours"]
    user.click(window.ui.importButton)
    waitForEnd(window)
    (record,) = workspace.project.pool().records()
    assert record.current.annotated == ("spleen",)


def test_what_is_imported_is_what_was_checked(slicer, window, workspace):
    node = makeSegmentation(slicer, "ours", 0)
    user.click(window.ui.loadedButton)
    user.click(window.ui.checkButton)
    waitForEnd(window)
    node.GetSegmentation().RemoveAllSegments()
    user.click(window.ui.importButton)
    waitForEnd(window)
    (record,) = workspace.project.pool().records()
    assert record.current.annotated == ("spleen",)


def test_no_copy_of_a_scan_is_left_behind(slicer, window, workspace):
    makeSegmentation(slicer, "ours", 0)
    before = set(Path(workspace.temporaryFolder).iterdir())
    user.click(window.ui.loadedButton)
    user.click(window.ui.checkButton)
    waitForEnd(window)
    assert set(Path(workspace.temporaryFolder).iterdir()) != before
    user.click(window.ui.closeButton)
    assert set(Path(workspace.temporaryFolder).iterdir()) == before


def test_closing_the_scene_takes_away_what_was_about_to_be_imported(slicer, window):
    makeSegmentation(slicer, "ours", 0)
    user.click(window.ui.loadedButton)
    window.sceneClosing()
    user.closeScene()
    assert not window.ui.checkButton.enabled


def test_without_a_segmentation_it_says_so(window):
    user.click(window.ui.loadedButton)
    assert "No segmentation is loaded" in window.ui.stateLabel.text
    assert not window.ui.checkButton.enabled


def test_a_check_can_be_stopped_and_the_window_goes_on(window, dialogs, foreign):
    for number in range(100):  # enough to be in the middle of it
        for folder, name in (("imagesTr", "{}_0000.nii.gz"), ("labelsTr", "{}.nii.gz")):
            source = foreign / folder / name.format("ward_1")
            shutil.copyfile(source, foreign / folder / name.format(f"again_{number}"))
    description = (foreign / "dataset.json").read_text()
    (foreign / "dataset.json").write_text(description.replace('"numTraining": 2', '"numTraining": 102'))
    dialogs.answer("annotated cases", foreign)
    user.click(window.ui.folderButton)
    assert window.ui.cancelButton.isVisible() and not window.ui.folderButton.enabled
    user.click(window.ui.cancelButton)
    waitForEnd(window)
    assert "stopped" in window.ui.stateLabel.text
    user.click(window.ui.checkButton)
    waitForEnd(window)
    assert window.ui.labelsTable.rowCount == 2, window.ui.stateLabel.text


def test_closing_the_window_ends_the_check_and_a_late_answer_shows_nothing(
    window, workspace, dialogs, foreign
):
    dialogs.answer("annotated cases", foreign)
    user.click(window.ui.folderButton)
    window.window.reject()  # Escape, or the window's cross
    assert user.pump(lambda: not workspace.worker.busy, 30)
    window.open()
    assert not window.ui.resultBox.isVisible() and not window.ui.stateLabel.text


def test_another_project_closes_the_window(window, workspace, tmp_path):
    workspace.createProject(tmp_path / "other", ORGANS, "CT")
    assert not window.isOpen


def makeSegmentation(slicer: Any, name: str, seed: int) -> Any:
    """A phantom in the scene with its spleen drawn."""
    scan, labels = make_phantom(seed, **SMALL)
    volume = loaded(slicer, scan, name)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentID = node.GetSegmentation().AddEmptySegment("", "spleen")
    mask = (labels.array == SPLEEN).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segmentID, volume)
    return node


def loaded(slicer: Any, scan: Image, name: str) -> Any:
    """A scan as a volume of the scene."""
    rasOfLps = np.diag([-1.0, -1.0, 1.0, 1.0])
    return slicer.util.addVolumeFromArray(
        scan.array, ijkToRAS=rasOfLps @ scan.geometry.affine, name=f"{name} CT"
    )
