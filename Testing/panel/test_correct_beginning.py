"""Section 2 before a place is looked at: nothing there yet, and organs that somebody has drawn already."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")

import correcting
import user
from correcting import rows

# the fixtures of this file
sections, ui, scan, segmentation, opened = (
    correcting.sections,
    correcting.ui,
    correcting.scan,
    correcting.segmentation,
    correcting.opened,
)


class TestBeforeThereIsAnything:
    def test_it_is_closed_and_says_what_comes_first(self, sections, ui, screenshot):
        assert ui.correctCollapsible.collapsed
        user.unfold(ui.correctCollapsible)
        assert ui.emptyLabel.text.startswith("There is nothing to correct yet. Segment a scan")
        assert ui.correctBox.isHidden()
        screenshot(sections.correct.widget, "correct_empty")

    def test_the_editor_is_not_even_made(self, slicer, sections, ui):
        user.unfold(ui.correctCollapsible)
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode") == 0


class TestOrgansThatAreDrawnAlready:
    @pytest.fixture
    def drawn(self, slicer, scan):
        """Somebody's segmentation of the scan; `reference`: whether the scene knows that it is of it."""

        def make(name="drawn by hand", reference=True):
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
            node.CreateDefaultDisplayNodes()
            node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
            node.GetSegmentation().AddEmptySegment("liver", "Liver")
            if not reference:  # as after loading a file
                node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), None)
            return node

        return make

    @pytest.mark.parametrize("reference", [True, False])
    def test_are_offered_and_taken_with_one_click(self, sections, ui, drawn, reference, screenshot):
        user.unfold(ui.correctCollapsible)
        sections.settle()
        assert ui.offeredButton.isHidden()
        node = drawn(reference=reference)  # while the section is open
        sections.settle()
        assert ui.emptyLabel.text == (
            "CT has organs that are drawn already: drawn by hand. They can be corrected like those of a model."
        )
        screenshot(sections.correct.widget, "correct_offered")
        user.click(ui.offeredButton)
        assert sections.parameters.outputSegmentation is node
        assert ui.emptyLabel.isHidden() and ui.offeredButton.isHidden()
        assert rows(ui) == [["Liver", "drawn by hand"]]
        assert sections.correct._editor.widget.currentSegmentID() == "liver"

    def test_several_are_named_and_left_to_the_user(self, sections, ui, drawn):
        drawn("first"), drawn("second")
        user.unfold(ui.correctCollapsible)
        sections.settle()
        assert ui.emptyLabel.text.endswith("several times: choose one above: first, second.")
        assert ui.offeredButton.isHidden()

    def test_those_of_another_scan_are_not_offered(self, slicer, sections, ui, drawn):
        drawn(), drawn("from a file", reference=False)
        other = slicer.util.addVolumeFromArray(np.zeros((6, 9, 11), np.int16), name="other")
        user.unfold(ui.correctCollapsible)
        user.choose(sections.ui.inputSelector, other)
        sections.settle()
        assert ui.emptyLabel.text.startswith("There is nothing to correct yet.")
        assert ui.offeredButton.isHidden()

    def test_one_that_was_put_away_is_offered_again_and_does_not_come_by_itself(self, sections, ui, drawn):
        node = drawn()
        user.unfold(ui.correctCollapsible)
        sections.settle()
        user.click(ui.offeredButton)
        user.choose(ui.segmentationSelector, None)
        sections.settle()
        assert sections.parameters.outputSegmentation is None
        user.click(ui.offeredButton)
        assert sections.parameters.outputSegmentation is node

    def test_after_a_closed_scene_nothing_is_offered_until_there_is_something(
        self, slicer, sections, ui, drawn
    ):
        drawn()
        user.unfold(ui.correctCollapsible)
        user.closeScene()
        sections.settle()
        assert ui.offeredButton.isHidden() and ui.emptyLabel.text.startswith(
            "There is nothing to correct yet."
        )
        volume = slicer.util.addVolumeFromArray(np.zeros((6, 9, 12), np.int16), name="next")
        slicer.util.setSliceViewerLayers(background=volume)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "its organs")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.GetSegmentation().AddEmptySegment("liver", "Liver")
        sections.settle()
        sections.settle()  # the scan is taken a moment after it is on screen
        assert ui.emptyLabel.text.startswith("next has organs that are drawn already: its organs.")
