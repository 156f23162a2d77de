"""``parameterNodeWrapper`` as Slicer's does it: typed fields in a real script node, saved scenes, bound widgets."""

from __future__ import annotations

import pathlib
from typing import Annotated

import numpy as np
import pytest
import user


@pytest.fixture
def kind(slicer):
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    fields = {
        "volume": slicer.vtkMRMLScalarVolumeNode,
        "name": str,
        "allOrgans": bool,
        "organs": list[str],
        "overlap": Annotated[float, WithinRange(0, 0.9)],
        "minutes": Annotated[int, Default(10)],
        "device": Annotated[str, Choice(["auto", "cpu"])],
        "folder": pathlib.Path,
    }
    # As a class body with these annotations, and values for three of them, would be.
    body = {"__annotations__": fields, "allOrgans": True, "overlap": 0.5, "device": "auto"}
    return parameterNodeWrapper(type("Parameters", (), body))


@pytest.fixture
def logic(slicer):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    return type("SomethingLogic", (ScriptedLoadableModuleLogic,), {})()


@pytest.fixture
def parameters(kind, logic):
    return kind(logic.getParameterNode())


@pytest.fixture
def ct(slicer):
    return slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="CT")


class TestFields:
    def test_they_have_their_defaults(self, parameters):
        assert parameters.volume is None and parameters.name == ""
        assert parameters.allOrgans is True and parameters.organs == []
        assert (parameters.overlap, parameters.minutes, parameters.device) == (0.5, 10, "auto")

    def test_they_are_text_and_references_of_the_script_node(self, parameters, logic, ct):
        parameters.volume, parameters.organs, parameters.allOrgans = ct, ["liver", "spleen"], False
        node = logic.getParameterNode()
        assert node.GetNodeReference("volume") is ct
        assert node.GetParameter("organs_len") == "2" and node.GetParameter("organs_1") == "spleen"
        assert node.GetParameter("allOrgans") == "False"

    def test_a_list_is_written_when_it_is_changed(self, parameters, kind, logic):
        parameters.organs = ["liver", "spleen"]
        parameters.organs.append("aorta")
        parameters.organs.remove("liver")
        assert kind(logic.getParameterNode()).organs == ["spleen", "aorta"]
        assert not logic.getParameterNode().HasParameter("organs_2")

    @pytest.mark.parametrize(
        ("name", "value", "error"),
        [
            ("overlap", 0.95, ValueError),
            ("overlap", "half", TypeError),
            ("minutes", None, ValueError),
            ("minutes", 1.5, TypeError),
            ("device", "tpu", ValueError),
            ("allOrgans", "yes", TypeError),
            ("organs", [1], TypeError),
            ("name", None, ValueError),
        ],
    )
    def test_values_that_do_not_fit_are_refused(self, parameters, name, value, error):
        before = getattr(parameters, name)
        with pytest.raises(error):
            setattr(parameters, name, value)
        assert getattr(parameters, name) == before

    def test_a_node_of_another_type_is_refused(self, parameters, slicer):
        with pytest.raises(TypeError):
            parameters.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")

    def test_a_type_that_slicer_cannot_keep_is_refused(self, slicer):
        from slicer.parameterNodeWrapper import parameterNodeWrapper

        with pytest.raises(TypeError, match="Unable to create serializer"):
            parameterNodeWrapper(type("Bad", (), {"__annotations__": {"thing": set}}))

    def test_a_node_that_goes_is_none(self, parameters, ct, slicer):
        parameters.volume = ct
        slicer.mrmlScene.RemoveNode(ct)
        parameters.Modified()
        assert parameters.volume is None

    def test_an_observer_hears_of_a_change_once_it_can_be_read(self, parameters, slicer):
        import vtk

        seen = []
        parameters.AddObserver(
            vtk.vtkCommand.ModifiedEvent, lambda caller, event: seen.append(parameters.minutes)
        )
        parameters.minutes = 3
        assert seen[-1] == 3


class TestScenes:
    def test_all_fields_survive_a_scene_bundle(self, parameters, kind, logic, ct, slicer, tmp_path):
        parameters.volume, parameters.organs, parameters.overlap = ct, ["liver"], 0.25
        parameters.name, parameters.allOrgans, parameters.device = "Ä 1", False, "cpu"
        assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
        user.closeScene()
        slicer.util.loadScene(str(tmp_path / "scene.mrb"))
        read = kind(logic.getParameterNode())
        assert read.volume.GetName() == "CT" and read.organs == ["liver"] and read.overlap == 0.25
        assert (read.name, read.allOrgans, read.device) == ("Ä 1", False, "cpu")

    def test_the_script_node_is_one_and_keeps_its_module(self, logic, slicer):
        node = logic.getParameterNode()
        assert node is logic.getParameterNode() and node.GetAttribute("ModuleName") == "Something"
        user.closeScene()
        again = logic.getParameterNode()
        assert again.GetAttribute("ModuleName") == "Something" and again.GetSingletonTag() == "Something"


class TestWidgets:
    @pytest.fixture
    def widgets(self, slicer):
        import qt

        made = {
            "allOrgans": qt.QCheckBox(),
            "name": qt.QLineEdit(),
            "minutes": qt.QSpinBox(),
            "overlap": qt.QDoubleSpinBox(),
            "device": qt.QComboBox(),
            "volume": slicer.qMRMLNodeComboBox(),
        }
        made["volume"].noneEnabled = True
        made["volume"].setMRMLScene(slicer.mrmlScene)
        for name, widget in made.items():
            widget.setProperty("SlicerParameterName", name)
            widget.show()
        return made

    @pytest.fixture
    def ui(self, widgets):
        ui = type("Ui", (), {})()
        ui.__dict__.update(widgets)
        return ui

    def test_widgets_show_the_fields_and_fields_follow_the_widgets(self, parameters, widgets, ui, ct):
        parameters.name = "case 7"
        parameters.connectGui(ui)
        assert widgets["name"].text == "case 7" and widgets["allOrgans"].checked
        user.write(widgets["name"], "case 8")
        user.click(widgets["allOrgans"])
        user.choose(widgets["device"], "cpu")
        user.choose(widgets["volume"], ct)
        widgets["overlap"].value = 0.25
        assert (parameters.name, parameters.allOrgans, parameters.device) == ("case 8", False, "cpu")
        assert parameters.volume is ct and parameters.overlap == 0.25
        parameters.minutes = 3
        assert widgets["minutes"].value == 3

    def test_ranges_of_the_types_become_those_of_the_widgets(self, parameters, widgets, ui):
        parameters.connectGui(ui)
        assert (widgets["overlap"].minimum, widgets["overlap"].maximum) == (0, 0.9)
        assert widgets["minutes"].maximum == 2**31 - 1

    def test_connecting_a_gui_returns_nothing_so_it_cannot_be_disconnected(self, parameters, widgets, ui):
        tag = parameters.connectGui(ui)
        assert tag is None
        parameters.disconnectGui(tag)
        user.write(widgets["name"], "still bound")
        assert parameters.name == "still bound"

    def test_widgets_connected_one_by_one_can_be_disconnected(self, parameters, widgets):
        tag = parameters.connectParametersToGui({"name": widgets["name"]})
        parameters.disconnectGui(tag)
        user.write(widgets["name"], "free")
        assert parameters.name == ""

    @pytest.mark.parametrize(
        ("module", "widget", "parameter", "message"),
        [
            ("ctk", "ctkPathLineEdit", "name", "Unable to create GUI connector"),
            ("qt", "QListWidget", "organs", "Unable to create GUI connector"),
            ("qt", "QComboBox", "name", "Choice annotation"),
            ("qt", "QSlider", "minutes", "unbounded"),
            ("ctk", "ctkComboBox", "device", "Unable to create GUI connector"),
        ],
    )
    def test_pairs_that_slicer_does_not_know_are_refused(
        self, parameters, module, widget, parameter, message
    ):
        import importlib

        made = getattr(importlib.import_module(module), widget)()
        with pytest.raises(RuntimeError, match=message):
            parameters.connectParametersToGui({parameter: made})
