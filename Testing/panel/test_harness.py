"""The harness itself: the panel as it is comes up in it and is used like by a user."""

from __future__ import annotations

import numpy as np
import user


def test_the_panel_opens_and_shows_the_first_volume(module, slicer):
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="CT")
    assert module.ui.inputSelector.currentNode() is volume
    assert module.ui.segmentButton.enabled


def test_a_closed_scene_leaves_a_panel_that_goes_on(module, slicer):
    slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="CT")
    user.closeScene()
    assert not module.ui.segmentButton.enabled
    slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="MR")
    assert module.ui.segmentButton.enabled


def test_a_picture_of_the_panel_is_not_blank(module, slicer, screenshot):
    from PySide6.QtGui import QImage

    image = QImage(str(screenshot(slicer.util.mainWindow(), "panel")))
    colours = {image.pixel(x, y) for x in range(0, image.width(), 3) for y in range(0, image.height(), 3)}
    assert len(colours) > 10
