"""What is known before a run, found out in the background while the user still chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
import vtk

from ..ResultWords import errorWords, estimateWords
from ..ScanChecks import ScanChecks, ScansOutcome
from ..Texts import _
from ..VolumeSegmenter import SegmentationSettings
from ..Workspace import Workspace
from .Lines import showLine

SETTLE_MS = 500
"""After the last change; a check reads the scan."""


class CheckLine:
    """Warnings, time and memory, below the choices.

    Args:
        ui: the section's widgets.
        parent: owns the timer.
        workspace: asks the worker.
        onChange: called when there is something else to say.
    """

    def __init__(self, ui: Any, parent: Any, workspace: Workspace, onChange: Callable[[], None]) -> None:
        self._label, self._onChange = ui.checkLabel, onChange
        self._checks = ScanChecks(workspace.segmenter, workspace.worker)
        self._asked: Any = None  # what the answer that is shown, or on its way, is about
        self._question: tuple[Any, ...] | None = None
        self.outcome: ScansOutcome | None = None
        self._timer = qt.QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.connect("timeout()", self._ask)
        self._show("")

    @property
    def warned(self) -> bool:
        """Whether something speaks against a run that is possible all the same."""
        return self.outcome is not None and bool(self.outcome.warnings)

    def ask(
        self,
        volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        settings: SegmentationSettings,
        region: slicer.vtkMRMLMarkupsROINode | None,
    ) -> None:
        """Checks soon; what has been asked already is not asked again."""
        about = (
            [(node, _state(node)) for node in volumeNodes],
            settings,
            region,
            region and region.GetMTime(),
        )
        if about == self._asked:
            return
        self._checks.stop()
        self._asked, self._question, self.outcome = about, (volumeNodes, settings, region), None
        self._show(_("Looking at the scan…"))
        self._timer.start()

    def stop(self) -> None:
        """Says nothing, and asks nothing any more."""
        self._timer.stop()
        self._checks.stop()
        self._asked = self._question = self.outcome = None
        self._show("")

    def pause(self) -> None:
        """Asks nothing any more, and goes on showing what is known; what could not be known is asked anew later."""
        failed = self.outcome is not None and bool(self.outcome.errors)
        if self._timer.isActive() or self._checks.running or failed:
            self.stop()

    def _ask(self) -> None:
        if self._question is not None:
            self._checks.start(*self._question, self._answered)

    def _answered(self, outcome: ScansOutcome) -> None:
        self.outcome = outcome
        lines = [_("Warning: {text}").format(text=text) for text in outcome.warnings]
        lines += [errorWords(error) for error in outcome.errors]
        estimate = estimateWords(outcome.seconds, outcome.memoryMiB, outcome.device)
        if estimate:
            lines.append(_("Estimate: {text}").format(text=estimate))
        self._show("\n".join(lines))
        self._onChange()

    def _show(self, text: str) -> None:
        showLine(self._label, text)


def _state(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> tuple[Any, ...]:
    """Another one when the volume's voxels or its grid are others."""
    ijkToRAS = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRAS)
    image = volumeNode.GetImageData()
    return (image and image.GetMTime(), slicer.util.arrayFromVTKMatrix(ijkToRAS).tobytes())
