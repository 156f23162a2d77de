"""The panel in the real application: run by ``ctest``, or by hand with ``slicer.testing.runUnitTest``."""

import sys
import unittest

import numpy as np
import slicer

MODULE = "SKCDFSegmenter"


class SKCDFSegmenterPanelTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule(MODULE)
        self.panel = slicer.modules.SKCDFSegmenterWidget.panel

    def tearDown(self):
        slicer.mrmlScene.Clear()

    def choose(self, volume):
        self.panel.segment.ui.inputSelector.setCurrentNode(volume)
        slicer.app.processEvents()

    def test_the_module_is_loaded_under_its_title(self):
        assert "Semi-supervised" in slicer.modules.skcdfsegmenter.title

    def test_every_section_is_there(self):
        for section in self.panel.sections:
            assert section.widget.visible or section.widget.parent() is not None

    def test_segment_needs_a_volume(self):
        button = self.panel.segment.ui.segmentButton
        assert not button.enabled
        self.choose(slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16)))
        assert self.panel.segment.parameterNode.inputVolume is not None
        assert self.panel.segment.ui.modelSelector.count > 0, "a model comes with the program"

    def test_parameters_follow_the_widgets_and_leave_with_the_scene(self):
        self.choose(slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16)))
        self.panel.advanced.ui.keepWarmSpinBox.setValue(25)
        assert self.panel.advanced.parameterNode.keepWarmMinutes == 25
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        assert self.panel.segment.parameterNode.inputVolume is None
        assert not self.panel.segment.ui.segmentButton.enabled

    def test_the_editor_is_there_for_a_segmentation_and_goes_with_the_module(self):
        correct = self.panel.correct
        correct.ui.correctCollapsible.collapsed = False
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.CreateDefaultDisplayNodes()
        node.GetSegmentation().AddEmptySegment("liver", "Liver")
        correct.parameterNode.outputSegmentation = node
        slicer.app.processEvents()
        assert correct.ui.editorPlace.children(), "the Segment Editor is in its place"
        slicer.util.selectModule("Data")
        slicer.util.selectModule(MODULE)
        correct.ui.correctCollapsible.collapsed = True

    def test_the_panel_does_not_import_torch(self):
        before = "torch" in sys.modules  # another module may have
        self.panel.enter()
        assert before or "torch" not in sys.modules
