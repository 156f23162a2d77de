"""What docs/scripting.md shows: segment, add, train and promote from a script, without panel, dialog or event loop."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")
if importlib.util.find_spec("torch") is None:  # not imported: it has no place in the application's process
    pytest.skip("PyTorch is not installed", allow_module_level=True)

from skcdf.errors import SkcdfError


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> Path:
    """A project with a model in use."""
    from toy_project import makeToyProject

    return makeToyProject(tmp_path_factory.mktemp("toys") / "project")


@pytest.fixture
def logic(slicer) -> Any:
    import SKCDFSegmenter

    made = SKCDFSegmenter.SKCDFSegmenterLogic()
    yield made
    made.workspace.shutdown()


@pytest.mark.slow
def test_the_whole_loop_in_a_script(slicer, logic, toys, tmp_path, dialogs):
    from teaching import loadToyCase

    from SKCDFSegmenterLib.SegmentRecord import setCompleted
    from SKCDFSegmenterLib.Teaching import TrainingSettings

    project = shutil.copytree(toys, tmp_path / "project")
    volume, corrected = loadToyCase(7)
    logic.workspace.openProject(project)

    segmentation = logic.process(volume, device="cpu")
    segments = segmentation.GetSegmentation()
    assert segmentation.GetNodeReference("referenceImageGeometryRef") is volume
    assert segments.GetNumberOfSegments() > 0 and "Toys" in segmentation.GetName()
    kept = segments.GetSegmentIDs()[0]
    setCompleted(segments.GetSegment(kept), True)
    before = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, kept, volume)
    assert logic.process(volume, segmentation, model="Toys@v1", organs=[kept], device="cpu") is segmentation
    assert (slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, kept, volume) == before).all()

    labelled = logic.workspace.project.counts().labelled
    organs = list(corrected.GetSegmentation().GetSegmentIDs())
    stored = logic.addCase(volume, corrected, checkedOrgans=organs, subject="study 17")
    assert stored["action"] == "add" and logic.workspace.project.counts().labelled == labelled + 1

    settings = TrainingSettings("Toys@v1", "supervised", "quick", timeBudgetMinutes=1, device="cpu")
    candidate = logic.fineTune(settings)
    assert (candidate.line, candidate.version) == ("Toys", "v2") and candidate.comparison.text()
    assert logic.workspace.project.store().promoted("Toys").version == "v1"
    logic.promote()
    assert logic.workspace.project.store().promoted("Toys").version == "v2"
    assert dialogs.shown == []


def test_what_cannot_be_done_is_an_error_with_words_and_no_dialog(slicer, logic, dialogs):
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    for attempt, words in (
        (lambda: logic.process(volume, model="nobody"), "no model called nobody"),
        (lambda: logic.process(volume), "Empty"),
        (lambda: logic.addCase(volume, None, ["liver"], "somebody"), "No project folder is open"),
        (lambda: logic.fineTune(), "No project folder is open"),
        (lambda: logic.promote(), "no new model to decide on"),
    ):
        with pytest.raises(SkcdfError, match=words):
            attempt()
    assert dialogs.shown == [] and not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
