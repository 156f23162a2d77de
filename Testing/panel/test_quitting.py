"""Quitting during a training: who is asked what, and that the training ends with the window and not before."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import user

ENGINE = Path(__file__).resolve().parents[1] / "mrml" / "scripted_engine.py"
QUESTION, QUIT, STAY = "A training is running", "Stop training and quit", "Stay"


@pytest.fixture
def training(module, tmp_path):
    """A training that goes on until it is stopped, by a real child."""
    from SKCDFSegmenterLib.Workspace import WorkspaceOptions

    launcher = tmp_path / "python"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ENGINE}" "$@"\n', "utf-8")
    os.chmod(launcher, 0o755)
    workspace = module.panel.workspace
    workspace.setOptions(WorkspaceOptions(pythonPath=str(launcher)))
    workspace.training.start(["finetune", "pool", "run"])
    assert user.pump(lambda: workspace.training.lastProgress is not None)
    return workspace.training


@pytest.fixture
def window(slicer):
    return slicer.util.mainWindow()


def asked(dialogs):
    return [text for text in dialogs.texts if QUESTION in text]


def test_the_training_ends_with_a_checkpoint_when_the_window_has_closed(training, window, dialogs):
    dialogs.answer(QUESTION, QUIT)
    window.close()
    assert not window.visible and not training.running
    assert training.outcome.stopped["iteration"] == 7


def test_whoever_stays_keeps_window_and_training(training, window, dialogs):
    dialogs.answer(QUESTION, STAY)
    assert not user.quitSlicer()
    assert window.visible and training.running and not training.stopping


def test_whoever_cancels_slicers_own_question_keeps_the_training_and_is_asked_again(
    training, window, dialogs, monkeypatch
):
    dialogs.answer(QUESTION, QUIT)
    with monkeypatch.context() as patch:
        patch.setattr(type(window), "_confirmClose", lambda _window: False)
        assert not user.quitSlicer()
    assert window.visible and training.running and not training.stopping
    dialogs.answer(QUESTION, QUIT)
    assert user.quitSlicer()
    assert len(asked(dialogs)) == 2 and not training.running


def test_a_second_closing_of_the_window_asks_nothing(training, window, dialogs, slicer):
    """On macOS a window that has closed is closed once more as the application ends (QTBUG-43344)."""
    from PySide6.QtGui import QCloseEvent

    dialogs.answer(QUESTION, QUIT)
    window.close()
    slicer.app.sendEvent(window, QCloseEvent())
    assert len(asked(dialogs)) == 1


def test_other_ways_out_stop_the_training_too(training, slicer):
    from PySide6 import QtCore

    QtCore.QMetaObject.invokeMethod(slicer.app, "aboutToQuit")
    assert not training.running and training.outcome.stopped["iteration"] == 7
