"""Sections 1 and 2 on their own: with the module's parameters and workspace, and without the other sections."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import qt
import slicer
import user
import vtk
from slicer.util import VTKObservationMixin

from SKCDFSegmenterLib.Panels.CorrectPanel import CorrectPanel
from SKCDFSegmenterLib.Panels.Dialogs import Dialogs
from SKCDFSegmenterLib.Panels.SegmentPanel import SegmentPanel
from SKCDFSegmenterLib.Workspace import WorkspaceOptions

ROOT = Path(__file__).resolve().parents[2]
UI = ROOT / "SKCDFSegmenter" / "Resources" / "UI"
SCRIPTED_ENGINE = ROOT / "Testing" / "mrml" / "scripted_engine.py"
WIDTH = 400
"""Of Slicer's module panel, as most people have it."""


class Sections(VTKObservationMixin):
    """The two sections in a window, told of scene and parameters as the module tells its panel.

    Args:
        folder: for what the test needs on disk.
    """

    def __init__(self, folder: Path) -> None:
        from SKCDFSegmenter import SKCDFSegmenterLogic

        VTKObservationMixin.__init__(self)
        self.folder, self.logic = folder, SKCDFSegmenterLogic()
        self.workspace = self.logic.workspace
        self.entered, self.parameters = False, None
        self._buildWindow()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onEndClose)
        self.enter()

    def _buildWindow(self) -> None:
        self.window = qt.QScrollArea()
        content = qt.QWidget()
        layout = qt.QVBoxLayout(content)
        self.segment = SegmentPanel(UI, self.workspace, Dialogs())
        self.correct = CorrectPanel(UI, self.workspace, Dialogs())
        self.both = (self.segment, self.correct)
        for section in self.both:
            layout.addWidget(section.widget)
        layout.addStretch(1)
        self.window.setWidgetResizable(True)
        self.window.setWidget(content)
        self.window.resize(WIDTH, 900)
        self.window.show()
        self._timer = qt.QTimer(self.window)
        self._timer.setInterval(50)
        self._timer.connect("timeout()", self.workspace.tick)
        self._timer.start()

    @property
    def ui(self) -> Any:
        """The widgets of section 1."""
        return self.segment.ui

    def useEngine(self, *options: str) -> None:
        """Segments with the scripted engine instead of the real one."""
        launcher = self.folder / "python"
        words = " ".join(options)
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{SCRIPTED_ENGINE}" {words} "$@"\n', "utf-8")
        os.chmod(launcher, 0o755)
        self.workspace.setOptions(WorkspaceOptions(pythonPath=str(launcher)))
        self.workspace.worker.shutdown()  # the next request starts one of this kind

    def enter(self) -> None:
        """The user opens the module."""
        self.entered = True
        self._setParameters(self.logic.getParameterNode())
        for section in self.both:
            section.enter()

    def exit(self) -> None:
        """The user opens another module."""
        self.entered = False
        for section in self.both:
            section.exit()
        self._setParameters(None)

    def close(self) -> None:
        """The application closes."""
        self._timer.stop()
        self._setParameters(None)
        self.removeObservers()
        for section in self.both:
            section.cleanup()
        self.workspace.shutdown()
        self.window.deleteLater()

    def settle(self) -> None:
        """Waits until nothing is put off any more; what is put off for a moment need not wait for it."""
        timers = [timer for timer in self.window.findChildren(qt.QTimer) if timer.isSingleShot()]
        slicer.app.processEvents()
        moments = [timer.interval for timer in timers]
        for timer in timers:
            timer.setInterval(0)
        assert user.pump(lambda: not any(timer.isActive() for timer in timers))
        for timer, moment in zip(timers, moments, strict=True):
            timer.setInterval(moment)

    def run(self, seconds: float = 20.0) -> None:
        """Presses the button and waits for the end."""
        user.click(self.ui.segmentButton)
        self.end(seconds)

    def end(self, seconds: float = 20.0) -> None:
        """Waits for the end of a run."""
        assert user.pump(lambda: self.ui.progressBar.isHidden(), seconds), self.ui.statusLabel.text
        user.pump(seconds=0.05)

    def checked(self, seconds: float = 20.0) -> str:
        """Waits for what is said of the scan before a run."""
        user.pump(seconds=0.05)
        assert user.pump(lambda: "Looking at the scan" not in self.ui.checkLabel.text, seconds)
        return self.ui.checkLabel.text

    def _setParameters(self, parameters: Any) -> None:
        if self.parameters is not None:
            self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self.parameters = parameters
        if parameters is not None:
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        for section in self.both:
            section.setParameterNode(parameters)
        self._onParameters()

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        for section in self.both:
            section.parametersChanged()

    def _onStartClose(self, caller: Any, event: Any) -> None:
        for section in self.both:
            section.sceneClosing()
        self._setParameters(None)

    def _onEndClose(self, caller: Any, event: Any) -> None:
        if self.entered:
            self._setParameters(self.logic.getParameterNode())
