"""The whole module in the harness: it comes up, follows scenes, and its self-test passes here, too."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import user
from sample_data import sampleDataModule


def test_the_module_opens_under_its_title_without_a_dialog(module, slicer, dialogs):
    assert slicer.modules.skcdfsegmenter.title == "Semi-supervised organ segmentation (SKCDF)"
    assert dialogs.shown == []
    sections = [section.widget.name for section in module.panel.sections]
    assert sections == ["ProjectPanel", "SegmentPanel", "CorrectPanel", "TeachPanel", "AdvancedPanel"]


def test_phantoms_are_in_sample_data_whenever_the_module_is_loaded(slicer, monkeypatch, request):
    sampleData, sources = sampleDataModule()
    monkeypatch.setitem(sys.modules, "SampleData", sampleData)
    request.getfixturevalue("module")  # opened after the start, as one that was added in a running Slicer
    offered = [source.sampleName for category in sources.values() for source in category]
    assert "PhantomCT" in offered
    user.startupCompleted()
    assert [source.sampleName for category in sources.values() for source in category] == offered, "each once"


def test_a_closed_scene_leaves_a_panel_that_goes_on(module, slicer):
    ui = module.panel.segment.ui
    for name in ("CT", "MR"):
        assert not ui.segmentButton.enabled
        volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name=name)
        assert user.pump(lambda: ui.segmentButton.enabled)
        assert ui.inputSelector.currentNode() is volume
        user.closeScene()
    assert ui.inputSelector.currentNode() is None


def test_a_picture_of_the_panel_is_not_blank(module, slicer, screenshot):
    from PySide6.QtGui import QImage

    image = QImage(str(screenshot(slicer.util.mainWindow(), "panel")))
    colours = {image.pixel(x, y) for x in range(0, image.width(), 3) for y in range(0, image.height(), 3)}
    assert len(colours) > 10


class TestSelfTest:
    """What runs inside Slicer by *Reload and Test*, in the Python console and by ``ctest``."""

    @pytest.fixture
    def said(self, slicer, module, monkeypatch):
        """Runs it and returns its words, part by part."""
        import SKCDFSegmenter

        words = []
        test = SKCDFSegmenter.SKCDFSegmenterTest
        monkeypatch.setattr(
            test, "delayDisplay", lambda _self, text, *_more: words.append(text), raising=False
        )

        def run():
            slicer.selfTests["SKCDFSegmenter"]()
            return dict(line.split(": ", 1) for line in words)

        return run

    @pytest.mark.slow
    def test_every_part_passes(self, said):
        pytest.importorskip("torch", reason="PyTorch is not installed")
        passed = said()
        assert set(passed.values()) == {"passed"}, passed

    @pytest.mark.slow
    def test_without_pytorch_only_what_needs_it_is_skipped(self, said, slicer, tmp_path, monkeypatch):
        from scripted_home import doctorSays

        doctorSays(tmp_path / "home", "missing")
        logic = slicer.modules.SKCDFSegmenterWidget.logic
        monkeypatch.setattr(logic.workspace, "_slicerHome", str(tmp_path / "home"))
        passed = said()
        assert passed.pop("phantomIsSegmented") == "skipped: PyTorch is not installed"
        assert set(passed.values()) == {"passed"}, passed


@pytest.mark.slow
def test_the_tests_for_ctest_pass_here_too(module):
    """``Testing/Slicer`` runs inside the application, where nobody notices for long that it has not kept up."""
    import importlib.util
    import unittest

    from panel_bootstrap import ROOT

    path = ROOT / "Testing" / "Slicer" / "SKCDFSegmenterPanelTest.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(script).run(result)
    assert result.testsRun > 3
    assert result.wasSuccessful(), result.errors + result.failures
