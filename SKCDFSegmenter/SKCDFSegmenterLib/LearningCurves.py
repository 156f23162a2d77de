"""The curves of a training in Slicer's own plot views: losses above, Dice on the validation cases below."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import slicer

from .CurvePlot import CurvePlot
from .Texts import _

LAYOUT_ID = 52710
"""Of the layout with both plots: a number that Slicer and other extensions do not use."""
LOSS_VIEW, DICE_VIEW = "SKCDFLoss", "SKCDFDice"
_VIEW = (
    '<item><view class="vtkMRMLPlotViewNode" singletontag="{tag}">'
    '<property name="viewlabel" action="default">{label}</property></view></item>'
)
LAYOUT = '<layout type="vertical" split="true">{}{}</layout>'.format(
    _VIEW.format(tag=LOSS_VIEW, label="L"), _VIEW.format(tag=DICE_VIEW, label="D")
)


class LearningCurves:
    """Gathers the points of one training, and shows them when the user wants to see them.

    The nodes are made when they are shown first; a saved scene does not hold them.
    """

    def __init__(self) -> None:
        self._losses: list[dict[str, float]] = []
        self._dice: list[dict[str, float]] = []
        self._plots: tuple[CurvePlot, CurvePlot] | None = None
        self._layoutBefore: int | None = None

    @property
    def hasPoints(self) -> bool:
        """Whether there is anything to show."""
        return bool(self._losses or self._dice)

    @property
    def shown(self) -> bool:
        """Whether the views show the curves now; the user may choose another layout at any time."""
        node = _layoutNode()
        return node is not None and node.GetViewArrangement() == LAYOUT_ID

    def add(self, event: Mapping[str, Any]) -> None:
        """Takes a ``curve`` event of a training (`docs/finetune-command.md`)."""
        iteration = {"iteration": float(event["iteration"])}
        if event.get("loss") is not None:
            parts = dict(event.get("parts") or {})
            # the sum of one part would only repeat it
            total = {"total": event["loss"]} if len(parts) != 1 else {}
            self._losses.append(iteration | _numbers(total | parts))
        if event.get("dice") is not None:
            organs = dict(event.get("organs") or {})
            self._dice.append(iteration | _numbers({"mean": event["dice"]} | organs))
        if self.shown:
            self._draw()

    def clear(self) -> None:
        """Forgets all points, for the next training."""
        self._losses, self._dice = [], []
        self._removePlots()

    def showCurves(self) -> bool:
        """Shows the curves in place of the present layout; returns whether there is a window to show them in."""
        node = _layoutNode()
        if node is None:
            return False
        if node.GetViewArrangement() != LAYOUT_ID:
            self._layoutBefore = node.GetViewArrangement()
        if not node.IsLayoutDescription(LAYOUT_ID):
            node.AddLayoutDescription(LAYOUT_ID, LAYOUT)
        node.SetViewArrangement(LAYOUT_ID)
        self._draw()
        return True

    def hideCurves(self) -> None:
        """Brings back the layout from before; another one that the user has chosen meanwhile stays."""
        node = _layoutNode()
        if node is not None and node.GetViewArrangement() == LAYOUT_ID:
            # A scene that was saved with the curves on screen does not know what was there before.
            node.SetViewArrangement(self._layoutBefore or node.SlicerLayoutFourUpView)
        self._layoutBefore = None

    def _draw(self) -> None:
        if self._plots is None or not all(plot.isInScene for plot in self._plots):
            self._removePlots()
            self._plots = (
                CurvePlot(_("Loss"), _("loss"), main="total"),
                CurvePlot(_("Dice on the validation cases"), _("Dice"), main="mean", limits=(0.0, 1.0)),
            )
        for plot, points, view in zip(
            self._plots, (self._losses, self._dice), (LOSS_VIEW, DICE_VIEW), strict=True
        ):
            plot.draw(points)
            plot.showIn(view)

    def _removePlots(self) -> None:
        for plot in self._plots or ():
            plot.remove()
        self._plots = None


def _layoutNode() -> slicer.vtkMRMLLayoutNode | None:
    """The application's layout; ``None`` where there is no window, as in scripts."""
    layoutManager = getattr(slicer.app, "layoutManager", lambda: None)()
    if layoutManager is None:
        return None
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in values.items()}
