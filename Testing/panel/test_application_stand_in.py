"""The application that the panel lives in: views, files, modules, packages, the end."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import user

MODULE = """
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *

class Little(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Little module")
        parent.categories = ["Segmentation"]

class LittleWidget(ScriptedLoadableModuleWidget):
    calls = []
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.calls.append("setup")
        self.logic = LittleLogic()
        slicer.app.connect("aboutToQuit()", lambda: self.calls.append("quit"))
    def enter(self):
        self.calls.append("enter")
    def exit(self):
        self.calls.append("exit")
    def cleanup(self):
        self.calls.append("cleanup")

class LittleLogic(ScriptedLoadableModuleLogic):
    pass
"""


@pytest.fixture
def little(slicer, tmp_path):
    import panel_bootstrap

    (tmp_path / "Little.py").write_text(MODULE, encoding="utf-8")
    module = panel_bootstrap.loadModule(slicer, tmp_path / "Little.py")
    yield module
    panel_bootstrap.unloadModule(slicer, module)


@pytest.fixture
def ct(slicer):
    return slicer.util.addVolumeFromArray(
        np.random.default_rng(0).normal(0, 9, (8, 9, 10)).astype(np.int16), name="CT"
    )


class TestModules:
    def test_a_module_says_what_it_is(self, little, slicer):
        assert little.title == "Little module" and little.categories == ("Segmentation",)
        assert slicer.util.modulePath("Little") == little.path
        with pytest.raises(AttributeError):
            little.colour = "red"

    def test_it_is_set_up_once_and_entered_and_left(self, little, slicer):
        slicer.util.selectModule("Little")
        calls = slicer.util.getModuleWidget("Little").calls
        slicer.util.selectModule("Data")
        slicer.util.selectModule("Little")
        assert calls == ["setup", "enter", "exit", "enter"]
        assert slicer.modules.LittleWidget is slicer.util.getModuleWidget("Little")
        assert slicer.util.getModuleWidget("Little").parent.isEntered

    def test_its_logic_is_found_by_others(self, little, slicer):
        slicer.util.selectModule("Little")
        assert slicer.util.getModuleWidget("Little").logic.moduleName == "Little"

    def test_quitting_leaves_it_tells_it_and_cleans_up(self, little, slicer):
        slicer.util.selectModule("Little")
        calls = slicer.modules.LittleWidget.calls
        calls.clear()
        assert user.quitSlicer()
        assert calls == ["exit", "quit", "cleanup"]

    def test_who_filters_the_close_event_keeps_slicer_open(self, little, slicer):
        import qt

        class Keeper(qt.QObject):
            def eventFilter(self, watched, event):
                if event.type() == qt.QEvent.Close:
                    event.ignore()
                    return True
                return False

        slicer.util.selectModule("Little")
        keeper = Keeper()
        slicer.util.mainWindow().installEventFilter(keeper)
        assert not user.quitSlicer()
        slicer.util.mainWindow().removeEventFilter(keeper)
        assert "quit" not in slicer.modules.LittleWidget.calls

    def test_reloading_cleans_up_and_sets_up_the_new_one(self, little, slicer):
        slicer.util.selectModule("Little")
        old = slicer.modules.LittleWidget
        slicer.util.reloadScriptedModule("Little")
        new = slicer.modules.LittleWidget
        assert old.calls[-1] == "cleanup" and new.calls == ["setup", "enter"]
        assert type(new) is not type(old) and new.parent is old.parent

    def test_start_up_is_told(self, slicer):
        seen = []
        slicer.app.connect("startupCompleted()", lambda: seen.append(1))
        user.startupCompleted()
        assert seen == [1]


class TestViews:
    def test_the_layout_is_that_of_the_scene(self, slicer):
        manager, seen = slicer.app.layoutManager(), []
        manager.connect("layoutChanged(int)", seen.append)
        before = manager.layout
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
        assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView != before
        assert seen == [manager.layout]

    def test_slice_views_show_a_volume_and_fit_it(self, slicer, ct):
        slicer.util.setSliceViewerLayers(background=ct, fit=True)
        composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == ct.GetID()
        assert sorted(slicer.app.layoutManager().sliceViewNames()) == ["Green", "Red", "Yellow"]
        slicer.util.resetSliceViews()

    def test_a_plot_view_comes_with_its_layout(self, slicer):
        manager = slicer.app.layoutManager()
        assert manager.plotWidget(0) is None
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
        assert manager.plotWidget(0).mrmlPlotViewNode() is not None

    def test_views_stay_when_the_scene_is_closed(self, slicer):
        user.closeScene()
        assert slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetScene() is slicer.mrmlScene


class TestFiles:
    @pytest.mark.parametrize("name", ["scan.nrrd", "scan.nii.gz"])
    def test_a_volume_is_saved_and_loaded_and_shown(self, slicer, ct, tmp_path, name):
        assert slicer.util.saveNode(ct, str(tmp_path / name))
        loaded = slicer.util.loadVolume(tmp_path / name)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(loaded), slicer.util.arrayFromVolume(ct))
        composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == loaded.GetID()

    def test_a_file_that_cannot_be_read_is_an_error(self, slicer, tmp_path):
        (tmp_path / "scan.nrrd").write_text("nothing", encoding="utf-8")
        with pytest.raises(RuntimeError, match="Failed to load node from file"):
            slicer.util.loadVolume(tmp_path / "scan.nrrd")

    def test_a_segmentation_is_saved_and_loaded(self, slicer, ct, tmp_path):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Organs")
        node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
        mask = np.zeros((8, 9, 10), np.uint8)
        mask[2:4, 3:6, 4:8] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mask, node, node.GetSegmentation().AddEmptySegment("liver", "liver"), ct
        )
        assert slicer.util.saveNode(node, str(tmp_path / "organs.seg.nrrd"))
        loaded = slicer.util.loadSegmentation(tmp_path / "organs.seg.nrrd")
        assert loaded.GetSegmentation().GetNthSegment(0).GetName() == "liver"


class TestChildren:
    def test_slicers_own_function_runs_a_module_in_its_python(self, slicer):
        said = []
        slicer.util.executePythonModule("platform", [], logCallback=said.append)
        assert sys.platform[:3] in "".join(said).lower()

    def test_a_message_for_a_while_goes_by_itself(self, slicer, dialogs):
        slicer.util.delayDisplay("Segmented.", 600)
        assert "Segmented." in dialogs.texts[0] and not dialogs.unanswered


class TestPackages:
    def test_what_is_missing_is_asked_for_and_installed_once(self, packages, dialogs, tmp_path, slicer):
        (tmp_path / "requirements.txt").write_text("safetensors>=0.4\nnibabel>=5.2\n", encoding="utf-8")
        packages.missing = {"safetensors"}
        requirements = slicer.packaging.load_requirements(tmp_path / "requirements.txt")
        dialogs.answer("installed", "OK")
        slicer.packaging.pip_ensure(requirements, requester="SKCDF")
        slicer.packaging.pip_ensure(requirements, requester="SKCDF")
        assert packages.calls == [("pip_install", ["safetensors>=0.4"])]

    def test_a_user_who_declines_is_an_error(self, packages, dialogs, slicer):
        from packaging.requirements import Requirement

        packages.missing = {"safetensors"}
        dialogs.answer("", "Cancel")
        with pytest.raises(RuntimeError, match="declined"):
            slicer.packaging.pip_ensure([Requirement("safetensors")])

    def test_pip_that_fails_is_an_error(self, packages, slicer):
        import subprocess

        packages.fail("no network")
        with pytest.raises(subprocess.CalledProcessError):
            slicer.util.pip_install("safetensors")

    def test_an_older_slicer_has_pip_install_only(self, withoutPackaging, slicer):
        with pytest.raises(ImportError):
            import slicer.packaging
        slicer.util.pip_install("safetensors>=0.4")
        assert withoutPackaging.calls == [("pip_install", "safetensors>=0.4")]

    def test_torch_comes_from_the_pytorch_extension(self, packages, monkeypatch):
        import PyTorchUtils

        packages.missing = {"torch"}
        assert not PyTorchUtils.PyTorchUtilsLogic.torchInstalled()
        PyTorchUtils.PyTorchUtilsLogic().installTorch(torchVersionRequirement=">=2.2")
        assert packages.calls == [("installTorch", {"torchVersionRequirement": ">=2.2"})]
        assert "torch" not in packages.missing
        monkeypatch.delitem(sys.modules, "PyTorchUtils")
        with pytest.raises(ModuleNotFoundError):
            import PyTorchUtils
