"""The curves of a training appear in Slicer's plot views, and the old layout comes back."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from vtk.util.numpy_support import vtk_to_numpy

from SKCDFSegmenterLib.LearningCurves import DICE_VIEW, LAYOUT_ID, LOSS_VIEW, LearningCurves

LOSS = {"event": "curve", "iteration": 20, "loss": 1.5, "parts": {"dice": 0.9, "cross entropy": 0.6}}
DICE = {"event": "curve", "iteration": 40, "dice": 0.7, "organs": {"liver": 0.9, "spleen": None}}


@pytest.fixture
def layout(slicer, monkeypatch):
    """The layout of a window, with Slicer's own logic behind it; only the window is missing."""
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: logic, raising=False)
    node = logic.GetLayoutNode()
    node.SetViewArrangement(node.SlicerLayoutConventionalView)
    yield node
    logic.SetMRMLScene(None)


@pytest.fixture
def curves():
    return LearningCurves()


def chartIn(slicer, viewName):
    view = slicer.mrmlScene.GetSingletonNode(viewName, "vtkMRMLPlotViewNode")
    return slicer.mrmlScene.GetNodeByID(view.GetPlotChartNodeID())


def lines(chart):
    """Points by the name of the line."""
    found = {}
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(index)
        table = series.GetTableNode().GetTable()
        x, y = (
            vtk_to_numpy(table.GetColumnByName(name))
            for name in (series.GetXColumnName(), series.GetYColumnName())
        )
        found[series.GetName()] = list(zip(x.tolist(), y.tolist(), strict=True))
    return found


class TestLines:
    def test_losses_have_a_line_for_every_part_and_the_total(self, slicer, layout, curves):
        curves.add(LOSS)
        curves.add({**LOSS, "iteration": 40, "loss": 1.0, "parts": {"dice": 0.6, "cross entropy": 0.4}})
        curves.showCurves()
        assert lines(chartIn(slicer, LOSS_VIEW)) == {
            "total": [(20, 1.5), (40, 1.0)],
            "dice": [(20, 0.9), (40, 0.6)],
            "cross entropy": [(20, 0.6), (40, 0.4)],
        }

    def test_dice_has_a_line_for_every_organ_and_the_mean(self, slicer, layout, curves):
        curves.add(DICE)
        curves.showCurves()
        chart = chartIn(slicer, DICE_VIEW)
        found = lines(chart)
        assert (found["mean"], found["liver"]) == ([(40, 0.7)], [(40, 0.9)])
        assert math.isnan(found["spleen"][0][1])  # not counted: no point, rather than zero
        assert chart.GetYAxisRange() == (0, 1)

    def test_points_that_come_while_they_are_shown_are_drawn(self, slicer, layout, curves):
        curves.showCurves()
        curves.add(LOSS)
        assert lines(chartIn(slicer, LOSS_VIEW))["total"] == [(20, 1.5)]
        curves.add({**LOSS, "iteration": 40})
        assert [x for x, _y in lines(chartIn(slicer, LOSS_VIEW))["total"]] == [20, 40]

    def test_a_part_that_begins_later_has_no_points_before(self, slicer, layout, curves):
        curves.add(LOSS)
        curves.showCurves()
        curves.add({**LOSS, "iteration": 40, "parts": {**LOSS["parts"], "consistency": 0.2}})
        consistency = lines(chartIn(slicer, LOSS_VIEW))["consistency"]
        assert math.isnan(consistency[0][1]) and consistency[1] == (40, 0.2)

    def test_a_single_part_is_not_drawn_twice(self, slicer, layout, curves):
        curves.add({"event": "curve", "iteration": 20, "loss": 0.4, "parts": {"dice": 0.4}})
        curves.showCurves()
        assert list(lines(chartIn(slicer, LOSS_VIEW))) == ["dice"]

    def test_sixteen_organs_are_told_apart(self, slicer, layout, curves):
        organs = {f"organ_{number}": 0.5 for number in range(16)}
        curves.add({**DICE, "organs": organs})
        curves.showCurves()
        chart = chartIn(slicer, DICE_VIEW)
        looks = set()
        for index in range(chart.GetNumberOfPlotSeriesNodes()):
            series = chart.GetNthPlotSeriesNode(index)
            looks.add(
                (np.round(series.GetColor(), 3).tobytes(), series.GetLineStyle(), series.GetLineWidth())
            )
        assert len(looks) == 17

    def test_the_next_training_begins_anew(self, slicer, layout, curves):
        curves.add(LOSS)
        curves.add(DICE)
        curves.showCurves()
        curves.clear()
        assert not curves.hasPoints
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode") == 0
        curves.add({**LOSS, "iteration": 10})
        assert [x for x, _y in lines(chartIn(slicer, LOSS_VIEW))["total"]] == [10]


class TestLayout:
    def test_back_brings_the_old_one(self, layout, curves):
        assert curves.showCurves() and curves.shown
        assert layout.GetViewArrangement() == LAYOUT_ID
        assert curves.showCurves()
        curves.hideCurves()
        assert layout.GetViewArrangement() == layout.SlicerLayoutConventionalView
        assert not curves.shown

    def test_one_that_the_user_chose_meanwhile_stays(self, layout, curves):
        curves.showCurves()
        layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
        assert not curves.shown
        curves.hideCurves()
        assert layout.GetViewArrangement() == layout.SlicerLayoutOneUpRedSliceView

    def test_a_scene_saved_with_the_curves_on_screen_finds_a_way_back(self, layout, curves):
        curves.showCurves()
        later = LearningCurves()
        assert later.shown
        later.hideCurves()
        assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView

    def test_without_a_window_nothing_is_shown(self, slicer, curves):
        curves.add(LOSS)
        assert curves.hasPoints and not curves.showCurves() and not curves.shown
        curves.hideCurves()
        curves.clear()

    def test_closing_the_scene_loses_no_points(self, slicer, layout, curves):
        curves.add(LOSS)
        curves.showCurves()
        slicer.mrmlScene.Clear(0)
        curves.showCurves()
        curves.add({**LOSS, "iteration": 40})
        assert [x for x, _y in lines(chartIn(slicer, LOSS_VIEW))["total"]] == [20, 40]

    def test_a_saved_scene_holds_no_curves(self, slicer, layout, curves, tmp_path):
        curves.add(LOSS)
        curves.showCurves()
        slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
        slicer.mrmlScene.Commit()
        text = (tmp_path / "scene.mrml").read_text(encoding="utf-8")
        assert "<PlotSeries" not in text and "<PlotChart" not in text and "<Table" not in text
