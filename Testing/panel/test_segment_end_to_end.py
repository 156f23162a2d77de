"""From one click to organs: the panel, the real worker, and the model of phantoms that ships."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")
pytest.importorskip("torch", reason="PyTorch is not installed")

import user

PATIENCE_S = 240


@pytest.fixture
def sections(slicer, tmp_path):
    from sections import Sections

    made = Sections(tmp_path)
    yield made
    made.close()


@pytest.fixture
def phantom(slicer):
    """A phantom in the scene and on screen, and where its organs really are ``(z, y, x)``."""
    from skcdf.phantom import make_phantom
    from SKCDFSegmenterLib.InputChoice import SYNTHETIC
    from SKCDFSegmenterLib.VolumeImage import RAS_TO_LPS

    scan, truth = make_phantom(5, shape=(64, 90, 100), spacing=(4.0, 4.0, 4.0))
    volume = slicer.util.addVolumeFromArray(
        scan.array, ijkToRAS=RAS_TO_LPS @ scan.geometry.affine, name="Phantom"
    )
    volume.SetAttribute(SYNTHETIC, "true")
    slicer.util.setSliceViewerLayers(background=volume)
    return volume, truth.array


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_one_click_finds_the_organs_where_they_are(slicer, sections, phantom, screenshot):
    from skcdf.models import default_model

    volume, truth = phantom
    ui, correct = sections.ui, sections.correct.ui
    sections.settle()
    text = sections.checked(PATIENCE_S)
    assert "Estimate: " in text and " of memory on CPU." in text and "Warning" not in text
    assert ui.segmentButton.text == "Segment" and ui.deviceLabel.text.startswith("CPU, because ")
    screenshot(sections.window, "segment_ready")
    user.click(ui.segmentButton)
    assert user.pump(lambda: ui.statusLabel.text.startswith("Segmenting"), PATIENCE_S)
    screenshot(sections.window, "segment_running")
    sections.end(PATIENCE_S)
    node = sections.parameters.outputSegmentation
    labels = {label.name: label for label in default_model().label_set.labels}
    for name in ("liver", "spleen", "right_kidney"):
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume) > 0
        assert dice(found, truth == labels[name].value) > 0.6, name
    assert ui.organTable.rowCount == len(labels), "organs that were not found have a row, too"
    screenshot(sections.window, "segment_result")

    user.unfold(ui.segmentCollapsible, False)
    user.unfold(correct.correctCollapsible)
    sections.settle()
    user.click(correct.nextPlaceButton)
    assert correct.placeLabel.text.startswith("1 of ")
    screenshot(sections.window, "correct")
