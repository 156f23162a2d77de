"""The panel in the real application: run by ``ctest``, or by hand with ``slicer.testing.runUnitTest``."""

import unittest

import numpy as np
import slicer


class SKCDFSegmenterPanelTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_the_module_is_loaded_under_its_title(self):
        assert "Semi-supervised" in slicer.modules.skcdfsegmenter.title

    def test_segment_needs_a_volume(self):
        slicer.util.selectModule("SKCDFSegmenter")
        panel = slicer.modules.SKCDFSegmenterWidget
        assert not panel.ui.segmentButton.enabled
        panel.ui.inputSelector.setCurrentNode(slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16)))
        assert panel.ui.segmentButton.enabled
        assert not panel.ui.cancelButton.enabled

    def test_the_panel_does_not_import_torch(self):
        import sys

        slicer.util.selectModule("SKCDFSegmenter")
        assert "torch" not in sys.modules
