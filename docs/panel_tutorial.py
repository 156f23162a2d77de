"""The steps of ``docs/tutorial.md``, done in the panel, each with its pictures and the time that it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
import user
import vtk
from panel_camera import PANEL_WIDTH, Camera
from pythonqt import dialogs
from segment_editing import SegmentEditor

from skcdf.phantom import make_phantom
from SKCDFSegmenterLib.SampleScans import PHANTOMS, SamplePhantom, addPhantom
from SKCDFSegmenterLib.UnsurePlaces import places
from SKCDFSegmenterLib.VolumeImage import RAS_TO_LPS

PATIENCE_S = 1800.0
QUIET_S = 1.5  # until the panel has noticed what was drawn
WIDE = 790  # pixels: of a panel that shows more columns of a table
MINUTES, FEWER_MINUTES = 10, 5  # of the two trainings
BRUSH_MM = 8.0


class Tutorial:
    """One user, from the empty panel to the old model in use again.

    Args:
        widget: the module's.
        folder: for the pictures.
    """

    def __init__(self, widget: Any, folder: Path) -> None:
        self._widget, self._panel = widget, widget.panel
        self._camera = Camera(folder, self._panel.widget)
        self._head, self._segment, self._correct, self._advanced = (
            section.ui
            for section in (
                self._panel.project,
                self._panel.segment,
                self._panel.correct,
                self._panel.advanced,
            )
        )
        self._teach = self._panel.teach

    def go_through(self) -> None:
        """All steps in their order."""
        self._begin()
        self._segment_it()
        self._correct_it()
        self._add_it()
        self._meet_another_kind_of_scan()
        self._import_cases()
        self._see_what_to_review()
        self._train()
        self._decide()
        self._segment_again()
        self._train_again_and_go_back()
        self._look_at_the_rest()
        self._bring_a_scan_that_does_not_fit()

    def _begin(self) -> None:
        camera, ui = self._camera, self._segment
        camera.window(self._panel.widget, "panel_start")
        dialogs.recorder.answer("Try the phantom", "Make it here")
        with timed("Try the phantom"):
            user.click(self._head.phantomButton)
        with timed("until the estimate is there"):
            self._wait_for_check()
        camera.part(self._head.projectSection, "panel_project")
        camera.window(self._panel.widget, "panel_ready")
        user.click(ui.cardButton)
        camera.part(ui.segmentCollapsible, "panel_card")
        user.click(ui.cardButton)
        user.unfold(ui.optionsBox)
        camera.part(ui.segmentCollapsible, "panel_options")
        user.unfold(ui.optionsBox, False)

    def _segment_it(self) -> None:
        ui = self._segment
        with timed("Segment"):
            user.click(ui.segmentButton)
            wait(lambda: ui.statusLabel.text.startswith("Segmenting") and ui.progressBar.value > 40)
            self._camera.window(ui.segmentCollapsible, "panel_running")
            wait(lambda: ui.progressBar.isHidden())
        user.click(ui.show3DButton)
        self._camera.window(ui.segmentCollapsible, "panel_result")
        self._camera.set_width(WIDE)
        self._camera.part(ui.resultBox, "panel_statistics")
        self._camera.set_width(PANEL_WIDTH)

    def _correct_it(self) -> None:
        ui = self._correct
        user.unfold(self._segment.segmentCollapsible, False)
        user.unfold(ui.correctCollapsible)
        user.click(ui.nextPlaceButton)
        self._camera.window(ui.correctCollapsible, "panel_unsure_place")
        self._paint_here()
        for organ in ("Spleen", "Right kidney", "Left kidney", "Liver"):
            rows = range(ui.statesTable.rowCount)
            ui.statesTable.selectRow(next(row for row in rows if ui.statesTable.item(row, 0).text() == organ))
            user.click(ui.completeButton)
        self._camera.part(ui.correctCollapsible, "panel_correct")
        ui.statesTable.selectAll()
        user.click(ui.completeButton)
        user.pump(seconds=QUIET_S)
        user.unfold(ui.correctCollapsible, False)

    def _paint_here(self) -> None:
        """Adds a ball to the organ of the unsure place, as the brush of Paint does."""
        parameters = self._widget.logic.getParameterNode()
        volume, segmentation = parameters.inputVolume, parameters.outputSegmentation
        place = places(segmentation)[0]
        x, y, z = place.position
        matrix = vtk.vtkMatrix4x4()
        volume.GetRASToIJKMatrix(matrix)
        middle = matrix.MultiplyPoint((-x, -y, z, 1.0))[2::-1]
        voxels = np.indices(volume.GetImageData().GetDimensions()[::-1])
        mm = (voxels - np.reshape(middle, (3, 1, 1, 1))) * np.reshape(volume.GetSpacing()[::-1], (3, 1, 1, 1))
        SegmentEditor(slicer, segmentation, volume).paint(
            place.organ, np.linalg.norm(mm, axis=0) < BRUSH_MM / 2
        )
        user.pump(seconds=QUIET_S)

    def _add_it(self) -> None:
        ui = self._teach.cases.ui
        user.write(ui.subjectEdit, "Phantom 1")
        with timed("Add this case to the pool…"):
            user.click(ui.addButton)
            wait(lambda: ui.progressBar.isHidden())
        self._camera.part(self._teach.cases.widget, "panel_add_case")
        with timed("Add to the pool"):
            user.click(ui.addButton)
            wait(lambda: ui.progressBar.isHidden())

    def _meet_another_kind_of_scan(self) -> None:
        user.closeScene()
        addPhantom(sample("PhantomLowContrast"))
        self._segment_and_show("panel_low_contrast")
        box = self._teach.unlabelled
        user.unfoldGroup(box.ui.group)
        box.ui.volumesList.item(0).setCheckState(qt.Qt.Checked)
        with timed("Add checked volumes"):
            user.click(box.ui.addVolumesButton)
            wait(lambda: box.ui.progressBar.isHidden())
        self._camera.part(box.widget, "panel_unlabelled")
        box.ui.group.collapsed = True

    def _segment_and_show(self, picture: str) -> None:
        """Segments the scan on screen with what is chosen, and takes the panel beside the views."""
        ui = self._segment
        user.unfold(ui.segmentCollapsible)
        self._wait_for_check()
        with timed("Segment"):
            user.click(ui.segmentButton)
            wait(lambda: ui.progressBar.isVisible())
            wait(lambda: ui.progressBar.isHidden())
        user.click(ui.show3DButton)
        self._camera.window(ui.segmentCollapsible, picture)
        user.unfold(ui.segmentCollapsible, False)

    def _import_cases(self) -> None:
        user.closeScene()
        for phantom in PHANTOMS:
            if phantom.withOrgans:
                with timed(phantom.name):
                    addPhantom(phantom)
        user.click(self._head.importButton)
        window = self._panel.project.importDialog
        window.window.resize(780, 860)
        user.click(window.ui.loadedButton)
        for name, button in (("Check", window.ui.checkButton), ("Import", window.ui.importButton)):
            with timed(name):
                user.click(button)
                wait(lambda: window.ui.closeButton.isVisible())
            if name == "Check":
                self._camera.part(window.window, "panel_import")
        user.click(window.ui.closeButton)
        user.click(self._head.newOtherButton)
        window = self._panel.project.newProjectDialog
        user.write(window.ui.nameEdit, "Kidneys")
        user.click(window.ui.ownButton)
        user.write(window.ui.organsEdit, "left kidney, right kidney, cyst")
        self._camera.part(window.window, "panel_new_project")
        user.click(window.ui.cancelButton)

    def _see_what_to_review(self) -> None:
        user.closeScene()
        box = self._teach.review
        user.unfoldGroup(box.ui.group)
        with timed("Next case to review"):
            user.click(box.ui.nextButton)
            wait(lambda: box.ui.progressBar.isHidden())
        self._camera.part(box.widget, "panel_review")

    def _train(self) -> None:
        box, teaching = self._teach.training, self._widget.logic.workspace.teaching
        user.choose(box.ui.presetComboBox, "Quick: a first look")
        box.ui.timeBudgetSpinBox.value = MINUTES
        self._camera.part(box.widget, "panel_train")
        with timed("Train, until Stop"):
            user.click(box.ui.trainButton)
            wait(lambda: "Training:" in box.ui.progressLabel.text and box.ui.progressBar.value > 500)
            self._camera.part(box.widget, "panel_training")
        with timed("Stop"):
            user.click(box.ui.trainButton)
            wait(lambda: not teaching.running)
        self._camera.part(box.widget, "panel_resume")
        with timed("Resume, until the new model is there"):
            user.click(box.ui.trainButton)
            wait(lambda: "Training:" in box.ui.progressLabel.text and box.ui.progressBar.value > 850)
            user.click(box.ui.curvesButton)
            self._camera.window(box.widget, "panel_curves")
            user.click(box.ui.curvesButton)
            wait(lambda: not teaching.running)

    def _decide(self) -> None:
        self._camera.part(self._teach.outcome.widget, "panel_before_after")
        user.click(self._teach.outcome.ui.useButton)

    def _segment_again(self) -> None:
        user.closeScene()
        addPhantom(sample("PhantomLowContrast"))
        self._segment_and_show("panel_taught")

    def _train_again_and_go_back(self) -> None:
        box, versions = self._teach.training, self._teach.versions
        user.choose(box.ui.methodComboBox, "Labelled cases only (supervised)")
        box.ui.timeBudgetSpinBox.value = FEWER_MINUTES
        with timed("Train, labelled cases only"):
            user.click(box.ui.trainButton)
            wait(lambda: not self._widget.logic.workspace.teaching.running)
        self._camera.part(self._teach.outcome.widget, "panel_second_model")
        user.click(self._teach.outcome.ui.useButton)
        user.unfoldGroup(versions.ui.group)
        user.click(versions.ui.rollBackButton)
        self._camera.part(versions.widget, "panel_versions")

    def _look_at_the_rest(self) -> None:
        user.unfold(self._advanced.advancedSection)
        user.click(self._advanced.sizesButton)
        self._camera.part(self._advanced.advancedSection, "panel_advanced")

    def _bring_a_scan_that_does_not_fit(self) -> None:
        """A scan of somebody, as far as the panel can tell, with slices that are too thick for the model."""
        user.click(self._head.closeButton)
        user.closeScene()
        scan, _labels = make_phantom(9, shape=(22, 128, 128), spacing=(11.0, 3.0, 3.0))
        ras = RAS_TO_LPS @ scan.geometry.affine
        volume = slicer.util.addVolumeFromArray(scan.array, ijkToRAS=ras, name="Thick slices")
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        user.unfold(self._segment.segmentCollapsible)
        self._wait_for_check()
        self._camera.part(self._segment.segmentCollapsible, "panel_warnings")

    def _wait_for_check(self) -> None:
        """Until the estimate of a run is there."""
        user.pump(seconds=QUIET_S)
        wait(lambda: "Estimate: " in self._segment.checkLabel.text)


def sample(name: str) -> SamplePhantom:
    """The phantom of this name in *Sample Data*."""
    return next(phantom for phantom in PHANTOMS if phantom.name == name)


def wait(until: Callable[[], Any]) -> None:
    """Lets the application go on until something is so.

    Raises:
        TimeoutError: it never was.
    """
    if not user.pump(until, PATIENCE_S):
        raise TimeoutError("the panel does not do what the tutorial says")


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Says how long a step took."""
    start = time.monotonic()
    yield
    print(f"{step}: {time.monotonic() - start:.0f} s", flush=True)
