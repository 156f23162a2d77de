"""A training that makes nothing better: the panel says so in a sentence, shows no table, and keeps the old model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from user import click

pytest_plugins = ("teaching",)
pytestmark = pytest.mark.usefixtures("slicer")
TRAINING_S = 240
NOTHING = "Nothing was gained: on the validation cases no step of the training was better than its start"


@pytest.fixture(scope="module")
def perfect(tmp_path_factory) -> Path:
    """A project whose model in use finds every organ."""
    from toy_project import makeToyProject

    return makeToyProject(tmp_path_factory.mktemp("perfect") / "project", perfect=True)


@pytest.fixture(scope="module")
def stopped(perfect, tmp_path_factory) -> Path:
    """The same with a training that was stopped after one step of two."""
    from toy_project import stopToyTraining

    folder = shutil.copytree(perfect, tmp_path_factory.mktemp("stopped") / "project")
    stopToyTraining(folder)
    return folder


@pytest.mark.slow
def test_the_end_of_such_a_training_is_a_sentence_and_what_helps(teach, opened, stopped, pump, picture):
    folder = opened(stopped)
    training, box, teaching = teach.panel.training, teach.panel.outcome, teach.workspace.teaching
    click(training.ui.trainButton)  # Resume
    assert pump(lambda: not teaching.running, TRAINING_S), training.ui.progressLabel.text
    assert training.ui.statusLabel.text == "Done, but nothing was gained: see below."
    assert training.ui.trainButton.text == "Train", "there is nothing to resume"
    said = box.ui.recommendationLabel.text
    assert said.startswith(NOTHING) and "There is no new model; the one in use stays." in said
    assert "more corrected cases and a longer training may help" in said
    assert not box.ui.table.isVisible() and not box.ui.modelsLabel.isVisible()
    assert not box.ui.useButton.isVisible() and box.ui.keepButton.isVisible()
    assert box.ui.reportButton.isEnabled()
    assert not training.ui.resumeLabel.isVisible()
    picture(teach.window, "teach-nothing-gained")
    assert [each.version for each in teach.workspace.project.store().versions("Toys")] == ["v1"]

    teach.workspace.closeProject()  # as over night
    assert not box.widget.isVisible()
    teach.workspace.openProject(folder)
    assert box.ui.recommendationLabel.text == said and not box.ui.useButton.isVisible()
    click(box.ui.keepButton)
    assert not box.widget.isVisible()
    teach.workspace.closeProject()
    teach.workspace.openProject(folder)
    assert not box.widget.isVisible(), "it is not asked again"


@pytest.mark.slow
def test_an_old_model_that_another_method_changed_is_no_new_one_either(teach, opened, perfect, picture):
    from teaching import finetune

    folder = opened(perfect)
    # batch norm's statistics move at any rate; in 16 bit that may look better than the start, and so like a training
    finetune(folder, "--method", "skcdf", "--learning-rate", "1e-9", "--precision", "fp32")
    teach.workspace.openProject(folder)
    box = teach.panel.outcome
    said = box.ui.recommendationLabel.text
    assert said.startswith(NOTHING)
    assert "the old model as another method has it, not trained. Recommended: keep the old model." in said
    assert "v2 under Versions" in said
    assert not box.ui.table.isVisible() and not box.ui.useButton.isVisible()
    picture(teach.window, "teach-nothing-gained-method")
    teach.panel.versions.ui.group.collapsed = False
    teach.panel.versions.ui.table.selectRow(0)
    assert "Toys@v2: " in teach.panel.versions.ui.detailsLabel.text
    assert "NOTHING GAINED" in teach.panel.versions.ui.detailsLabel.text
    click(box.ui.keepButton)
    assert "The old model stays in use; Toys v2 is a candidate" in box.ui.statusLabel.text


@pytest.mark.slow
def test_a_script_gets_an_error_instead_of_a_model(slicer, stopped, tmp_path):
    import SKCDFSegmenter
    from skcdf.errors import SkcdfError
    from SKCDFSegmenterLib.Teaching import TrainingSettings

    logic = SKCDFSegmenter.SKCDFSegmenterLogic()
    try:
        logic.workspace.openProject(shutil.copytree(stopped, tmp_path / "project"))
        with pytest.raises(SkcdfError, match=NOTHING) as told:
            logic.fineTune(TrainingSettings("Toys@v1", "supervised", "quick", 0, "cpu"))
        assert "a longer training may help" in told.value.hint
        with pytest.raises(SkcdfError, match="no new model"):
            logic.promote()
    finally:
        logic.workspace.shutdown()
