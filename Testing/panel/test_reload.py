"""*Reload* in developer mode, at any time: nothing of the old panel stays behind, and the new one works."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest
import user

pytestmark = pytest.mark.usefixtures("dialogs")
RELOADED = ("skcdf", "SKCDFSegmenterLib", "SKCDFSegmenter")


@pytest.fixture(autouse=True)
def oldModulesAfterwards() -> Iterator[None]:
    """Other test files hold the classes of before, such as the errors that they expect."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in RELOADED}
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in RELOADED]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.slow
def test_the_new_panel_has_the_scenes_project_and_changes_parameters(slicer, module, tmp_path):
    from skcdf.labels import LabelSet

    workspace = module.panel.workspace
    workspace.createProject(tmp_path / "Project", LabelSet.load("phantom13"), "CT")
    workspace.worker.warm()
    assert user.pump(lambda: workspace.worker.hello is not None, 60)
    module.onReload()
    assert not workspace.worker.running
    new = slicer.modules.SKCDFSegmenterWidget
    assert new is not module
    assert new.panel.workspace.project.root == tmp_path / "Project"
    for device in ("cpu", "auto"):
        new._parameterNode.device = device
        assert new.panel.workspace.options.device == device


def test_the_scenes_parameters_outlive_the_panel(slicer, module):
    """Slicer leaves observers on their node; the application crashes where Python collects what VTK still calls."""
    module.parent.exit()
    module.cleanup()
    gc.collect()
    node = slicer.mrmlScene.GetSingletonNode("SKCDFSegmenter", "vtkMRMLScriptedModuleNode")
    node.SetParameter("device", "cpu")
    assert module.logic.getParameterNode().device == "cpu"


def test_opening_the_module_again_and_again_leaves_nothing_on_the_scenes_parameters(slicer, module):
    node = slicer.mrmlScene.GetSingletonNode("SKCDFSegmenter", "vtkMRMLScriptedModuleNode")

    def observers() -> int:
        newest = node.AddObserver("NoEvent", lambda _caller, _event: None)
        node.RemoveObserver(newest)
        return sum(node.GetCommand(tag) is not None for tag in range(1, newest))

    bound = observers()
    for _turn in range(3):
        shown = weakref.ref(module._parameterNode)
        module.parent.exit()
        gc.collect()
        assert shown() is None, "what was shown of the scene is kept"
        module.parent.enter()
    assert observers() == bound
    module._parameterNode.keepWarmMinutes = 25
    assert module.panel.advanced.ui.keepWarmSpinBox.value == 25
    module.panel.advanced.ui.keepWarmSpinBox.value = 35
    assert module.logic.getParameterNode().keepWarmMinutes == 35
    module.parent.exit()
    gc.collect()
    assert observers() == 0
