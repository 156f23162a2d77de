"""Semi-supervised organ segmentation in 3D Slicer: the module, its panel and its logic.

The work is done by ``SKCDFSegmenterLib`` (scene) and ``skcdf`` (child process), imported at first use.
"""

import sys

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
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
            "Segments the organs of a CT or MR volume on this computer; nothing is uploaded. "
            "Research use, not for diagnosis."
        )
        self.parent.acknowledgementText = _(
            "The methods are SKCDF (semantic knowledge complementarity based decoupled framework, CVPR 2025) "
            "and SCDL (arXiv 2603.05202)."
        )


@parameterNodeWrapper
class SKCDFSegmenterParameterNode:
    """What the panel shows and a saved scene keeps.

    inputVolume - the scan to segment.
    """

    inputVolume: vtkMRMLScalarVolumeNode


class SKCDFSegmenterWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: choose a volume, segment it, read what was found."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self):
        """Called when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SKCDFSegmenter.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SKCDFSegmenterLogic()

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegmentButton)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancelButton)
        self._showRunning(False)
        self.initializeParameterNode()

    def cleanup(self):
        """Called when the application closes and before the module is reloaded."""
        self.logic.cancel()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        """Called each time the user opens this module."""
        self.initializeParameterNode()

    def exit(self):
        """Called each time the user opens a different module."""
        self.setParameterNode(None)

    def onReload(self):
        """Called by Reload in developer mode; Slicer by itself reloads the module file only."""
        for name in list(sys.modules):
            if name.split(".")[0] in ("SKCDFSegmenterLib", "skcdf"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event):
        """Called just before the scene is closed."""
        self.logic.cancel()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        """Called just after the scene is closed."""
        self.ui.resultLabel.text = ""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        """Shows the scene's parameters, with the first volume chosen where none is."""
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
                if (
                    volume.GetClassName() == "vtkMRMLScalarVolumeNode"
                ):  # not a label map, which derives from it
                    self._parameterNode.inputVolume = volume
                    break

    def setParameterNode(self, parameterNode):
        """Binds the panel to a parameter node, or to none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanSegment)
        self._parameterNode = parameterNode
        if self._parameterNode is not None:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanSegment)
        self._checkCanSegment()

    def _checkCanSegment(self, caller=None, event=None):
        hasVolume = self._parameterNode is not None and self._parameterNode.inputVolume is not None
        self.ui.segmentButton.enabled = hasVolume and not self.logic.running

    def onSegmentButton(self, checked=False):
        """Starts the segmentation of the chosen volume."""
        from skcdf.errors import SkcdfError
        from SKCDFSegmenterLib.Requirements import ensureRequirements

        self.ui.resultLabel.text = ""
        try:
            ensureRequirements(self.resourcePath("requirements.txt"))
            self.logic.start(self._parameterNode.inputVolume, self._showProgress, self._showOutcome)
        except SkcdfError as error:
            self._showError(error)
        self._showRunning(self.logic.running)

    def onCancelButton(self, checked=False):
        """Ends the segmentation; the scene stays as it was."""
        self.logic.cancel()

    def _showRunning(self, running):
        self.ui.progressBar.visible = running
        self.ui.progressLabel.visible = running
        self.ui.progressLabel.text = _("Starting…") if running else ""
        self.ui.cancelButton.enabled = running
        self._checkCanSegment()

    def _showProgress(self, line):
        self.ui.progressLabel.text = line

    def _showOutcome(self, outcome):
        self._showRunning(False)
        if outcome.error is not None:
            self._showError(outcome.error)
        elif outcome.cancelled:
            self.ui.resultLabel.text = _("Cancelled; the scene is unchanged.")
        else:
            self.ui.resultLabel.text = "\n".join([self._sentence(outcome.imported), *outcome.warnings])

    def _sentence(self, imported):
        found = ", ".join(label.title for label in imported.found)
        notFound = ", ".join(label.title for label in imported.notFound)
        sentence = _("New segmentation: {name}.").format(name=imported.segmentationNode.GetName())
        sentence += "\n" + (_("Found: {organs}.").format(organs=found) if found else _("No organ was found."))
        if notFound:
            sentence += "\n" + _("Not found, no segment: {organs}.").format(organs=notFound)
        return sentence + "\n" + imported.segmentationNode.GetDescription()

    def _showError(self, error):
        self.ui.resultLabel.text = error.message
        slicer.util.errorDisplay(f"{error.message}\n\n{error.hint}")


class SKCDFSegmenterLogic(ScriptedLoadableModuleLogic):
    """Segments volumes of the scene; works without the panel."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self._segmenter = None

    def getParameterNode(self):
        """The scene's parameters of this module."""
        return SKCDFSegmenterParameterNode(super().getParameterNode())

    @property
    def running(self):
        """Whether a segmentation is under way."""
        return self._segmenter is not None and self._segmenter.running

    def start(self, inputVolume, onProgress, onFinished):
        """Starts a segmentation and returns at once; see ``VolumeSegmenter.start``."""
        self._requireSegmenter().start(inputVolume, onProgress, onFinished)

    def process(self, inputVolume):
        """Segments a volume, waits, and returns the new segmentation node; raises SkcdfError."""
        return self._requireSegmenter().segment(inputVolume).segmentationNode

    def cancel(self):
        """Ends the segmentation, if one is under way."""
        if self._segmenter is not None:
            self._segmenter.cancel()

    def _requireSegmenter(self):
        if self._segmenter is None:
            from skcdf.inside_slicer import python_slicer_path
            from SKCDFSegmenterLib.EngineProcess import EngineProcess
            from SKCDFSegmenterLib.QtChildProcess import QtChildProcess
            from SKCDFSegmenterLib.VolumeSegmenter import VolumeSegmenter

            engine = EngineProcess(python_slicer_path(slicer.app.slicerHome), QtChildProcess())
            self._segmenter = VolumeSegmenter(engine, slicer.app.temporaryPath)
        return self._segmenter


class SKCDFSegmenterTest(ScriptedLoadableModuleTest):
    """Self-test inside the application: no torch, no network."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_labelMapGoesToSegmentsAndBack()

    def test_labelMapGoesToSegmentsAndBack(self):
        """A label map becomes named segments and comes back unchanged, on an oblique grid."""
        import numpy as np

        from skcdf.image import Image
        from skcdf.labels import LabelSet
        from SKCDFSegmenterLib.LabelMapExport import labelMapFromSegmentation
        from SKCDFSegmenterLib.LabelMapImport import segmentationFromLabelMap
        from SKCDFSegmenterLib.VolumeImage import geometryOfVolume

        ijkToRAS = np.array([[-0.8, -0.6, 0, 9], [-0.6, 0.8, 0, -5], [0, 0, 2.5, 3], [0, 0, 0, 1]])
        volume = slicer.util.addVolumeFromArray(np.zeros((6, 8, 10), np.int16), ijkToRAS=ijkToRAS)
        labels = np.zeros((6, 8, 10), np.uint8)
        labels[1:3, 2:5, 3:7], labels[4, 1:4, 1:9] = 1, 4
        labelSet = LabelSet.load("phantom13")
        imported = segmentationFromLabelMap(Image(labels, geometryOfVolume(volume)), labelSet, volume, "Test")
        exported = labelMapFromSegmentation(imported.segmentationNode, labelSet, volume)
        assert exported.annotated == (labelSet.names[0], labelSet.names[3])
        np.testing.assert_array_equal(exported.image.array, labels)
        self.delayDisplay("Test passed")
