"""Semi-supervised organ segmentation in 3D Slicer: the module, its parameters, its panel's glue and its logic.

The work is done by ``SKCDFSegmenterLib`` (scene), its ``Panels`` (widgets) and ``skcdf`` (child processes), imported
at first use.
"""

import sys
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

import SKCDFSegmenterLib  # noqa: F401 - light: only makes skcdf importable


class SKCDFSegmenter(ScriptedLoadableModule):
    """What Slicer shows of the module in its lists."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Semi-supervised organ segmentation (SKCDF)")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["SKCDFSegmenter contributors"]
        self.parent.helpText = _(
            "Segment the organs of a CT or MR volume with one click, correct them in the Segment Editor, and teach "
            "the model with what you corrected. Everything is computed on this computer; nothing is uploaded. "
            "Research use, not for diagnosis."
        )
        self.parent.acknowledgementText = _(
            "The methods are SKCDF (semantic knowledge complementarity based decoupled framework, CVPR 2025) "
            "and SCDL (arXiv 2603.05202)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Adds the phantom to the module Sample Data; it is made on this computer when the user asks for it."""
    from SKCDFSegmenterLib.SampleScans import registerPhantoms

    registerPhantoms()


@parameterNodeWrapper
class SKCDFSegmenterParameterNode:
    """What the panel shows and a saved scene keeps.

    inputVolume - the scan to segment.
    outputSegmentation - the segmentation that is corrected, taught and, if the user wants so, segmented again.
    region - where to segment; none: everywhere.
    projectFolder - pool, models and runs.
    modelReference - the model to segment with; empty: the one in use.
    allOrgans, organs - which organs of the model are wanted.
    device - where to compute.
    ownOverlap, overlap - how much windows overlap, where not as the model says.
    memoryLimitGiB - for sums of scores; 0: the engine's own limit.
    keepWarmMinutes - how long the model stays in memory after use.
    pythonPath - the Python that runs the engine; empty: Slicer's.
    startFrom, method, preset, timeBudgetMinutes - of a training; method empty: what the pool suggests.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    region: vtkMRMLMarkupsROINode
    projectFolder: str
    modelReference: str
    allOrgans: bool = True
    organs: list[str]
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"]), Default("auto")]
    ownOverlap: bool = False
    overlap: Annotated[float, WithinRange(0.0, 0.9), Default(0.5)]
    memoryLimitGiB: Annotated[float, WithinRange(0.0, 64.0), Default(0.0)]
    keepWarmMinutes: Annotated[int, WithinRange(1, 240), Default(10)]
    pythonPath: str
    startFrom: str
    method: Annotated[str, Choice(["", "supervised", "skcdf"]), Default("")]
    preset: Annotated[str, Choice(["quick", "standard", "published"]), Default("standard")]
    timeBudgetMinutes: Annotated[int, WithinRange(0, 10080), Default(30)]


class SceneParameters(SKCDFSegmenterParameterNode):
    """The parameters, of which widgets can let go: Slicer's own leave an observer behind when a gui is disconnected,
    which keeps them and their observers of every field as long as the scene's node."""

    def __init__(self, parameterNode):
        super().__init__(parameterNode)
        self._newTags, self._guiTags = [], {}

    def AddObserver(self, event, callback, priority=0.0):
        self._newTags.append(super().AddObserver(event, callback, priority))
        return self._newTags[-1]

    def connectParametersToGui(self, mapping):
        self._newTags = []
        gui = super().connectParametersToGui(mapping)
        self._guiTags[gui] = self._newTags
        return gui

    def disconnectGui(self, guiTag):
        super().disconnectGui(guiTag)
        for tag in self._guiTags.pop(guiTag, ()):
            self.RemoveObserver(tag)


class SKCDFSegmenterWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Glue between Slicer and the panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None

    def setup(self):
        """Called when the user opens the module for the first time."""
        from SKCDFSegmenterLib.Panels.MainPanel import MainPanel

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SKCDFSegmenterLogic()
        self.panel = MainPanel(self.resourcePath("UI"), self.logic.workspace)
        self.layout.addWidget(self.panel.widget)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()
        registerSampleData()  # a module that was added in a running Slicer has missed the end of its start

    def cleanup(self):
        """Called when the application closes and before the module is reloaded."""
        self.setParameterNode(None)
        self.removeObservers()
        if self.panel is not None:  # setup may have failed
            self.panel.cleanup()

    def enter(self):
        """Called each time the user opens this module."""
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self):
        """Called each time the user opens a different module."""
        self.panel.exit()
        self.setParameterNode(None)

    def onReload(self):
        """Called by Reload in developer mode; Slicer by itself reloads the module file only."""
        for name in list(sys.modules):
            if name.split(".")[0] in ("SKCDFSegmenterLib", "skcdf"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event):
        """Called just before the scene is closed."""
        self.panel.sceneClosing()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        """Called just after the scene is closed."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        """Shows the scene's parameters."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        """Binds the panel to a parameter node, or to none."""
        # The node itself is observed: whatever was, the mixin keeps, and these parameters are made anew each time.
        if self._parameterNode is not None:
            node = self._parameterNode.parameterNode
            self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            node = parameterNode.parameterNode
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        if self.panel is not None:
            self.panel.setParameterNode(parameterNode)

    def _onParametersChanged(self, caller=None, event=None):
        self.panel.parametersChanged()


class SKCDFSegmenterLogic(ScriptedLoadableModuleLogic):
    """Segments, adds to the pool, trains and promotes; without the panel, too (docs/scripting.md)."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self._workspace = None

    def getParameterNode(self):
        """The scene's parameters of this module."""
        node = super().getParameterNode()
        # Were the node's last name in Python gone, as after a reload, Python would collect what still observes it, and
        # VTK would still call that: the application would crash.
        slicer.mrmlScene.skcdfParameterNode = node
        return SceneParameters(node)

    @property
    def workspace(self):
        """The open project and the child processes."""
        if self._workspace is None:
            from SKCDFSegmenterLib.Panels.QtChildProcess import QtChildProcess
            from SKCDFSegmenterLib.Workspace import Workspace

            self._workspace = Workspace(QtChildProcess, slicer.app.slicerHome, slicer.app.temporaryPath)
        return self._workspace

    def process(self, volumeNode, segmentationNode=None, model="", organs=(), region=None, device="auto"):
        """Segments a volume, waits, and returns the segmentation node.

        :param volumeNode: the scan.
        :param segmentationNode: is segmented again: what was edited or completed in it stays; none: a new node.
        :param model: reference, as in the panel's list; empty: the project's model in use, else the shipped one.
        :param organs: names; empty: all of the model.
        :param region: ROI node; none: everywhere.
        :param device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        :raises skcdf.errors.SkcdfError: it cannot be done; the scene is as it was.
        """
        return self.workspace.segment(volumeNode, segmentationNode, model, organs, region, device)

    def addCase(self, volumeNode, segmentationNode, checkedOrgans, subject):
        """Adds a corrected case to the open project's pool, waits, and returns what was stored.

        :param checkedOrgans: names of the organs that a person has looked at.
        :param subject: whose scan it is; only its salted hash is stored.
        :raises skcdf.errors.SkcdfError: it cannot be done; the pool is as it was.
        """
        return self.workspace.addCase(volumeNode, segmentationNode, checkedOrgans, subject)

    def fineTune(self, settings=None):
        """Trains on the open project's pool, waits, and returns the candidate; see ``Teaching.TrainingSettings``.

        :raises skcdf.errors.SkcdfError: it did not work, or gained nothing; the model in use is as it was.
        """
        return self.workspace.fineTune(settings)

    def promote(self):
        """The last training's model becomes the one in use.

        :raises skcdf.errors.SkcdfError: there is none.
        """
        self.workspace.teaching.useCandidate()


class SKCDFSegmenterTest(ScriptedLoadableModuleTest):
    """Self-test inside the application, without network; what needs torch is skipped where it is missing."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        from SKCDFSegmenterLib.SelfTest import runSelfTest

        runSelfTest(self)
