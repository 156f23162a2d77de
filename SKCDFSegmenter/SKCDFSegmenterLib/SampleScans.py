"""Synthetic scans in Slicer's module *Sample Data*: made on this computer when asked for, nothing is downloaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from skcdf.image import Image
from skcdf.labels import LabelSet
from skcdf.phantom import PHANTOM_LABELS, make_phantom
from skcdf.progress import Progress

from .InputChoice import SYNTHETIC
from .LabelMapImport import segmentationFromLabelMap
from .Texts import _
from .VolumeImage import RAS_TO_LPS

ICONS = Path(__file__).resolve().parents[1] / "Resources" / "Icons"
SHAPE, SPACING_MM = (80, 128, 128), (3.0, 3.0, 3.0)
LITTLE_CONTRAST = 0.2
"""So little contrast agent that the model which ships fails on these scans: there is something to teach it."""
WINDOW, LEVEL = 400, 50


@dataclass(frozen=True)
class SamplePhantom:
    """A synthetic patient.

    Attributes:
        name: in English; that of the sample and of its volume.
        seed: which patient.
        cutOffShare: 1: the scan ends in the middle of organs; 0: it shows them all.
        contrast: how much contrast agent the patient was given, 1 the usual dose.
        withOrgans: its organs come along as a segmentation, as if somebody had drawn them: a case to import.
    """

    name: str
    seed: int
    cutOffShare: float = 0.0
    contrast: float = 1.0
    withOrgans: bool = False

    @property
    def thumbnail(self) -> str:
        """The picture's file name in ``Resources/Icons``."""
        return f"{self.name}.png"

    def scan(self, onProgress: Callable[[Progress], None] | None = None) -> tuple[Image, Image]:
        """The patient's scan and label map; see `make_phantom`."""
        return make_phantom(
            self.seed,
            shape=SHAPE,
            spacing=SPACING_MM,
            cut_off_share=self.cutOffShare,
            contrast=self.contrast,
            progress=onProgress or (lambda _progress: None),
        )


PHANTOMS = (
    SamplePhantom("PhantomCT", 7),
    SamplePhantom("PhantomCTCutOff", 21, cutOffShare=1.0),
    SamplePhantom("PhantomLowContrast", 34, contrast=LITTLE_CONTRAST),
    SamplePhantom("PhantomLowContrastOrgans1", 31, contrast=LITTLE_CONTRAST, withOrgans=True),
    SamplePhantom("PhantomLowContrastOrgans2", 32, contrast=LITTLE_CONTRAST, withOrgans=True),
    SamplePhantom("PhantomLowContrastOrgans3", 33, contrast=LITTLE_CONTRAST, withOrgans=True),
)


def addPhantomVolume(
    phantom: SamplePhantom = PHANTOMS[0], onProgress: Callable[[Progress], None] | None = None
) -> slicer.vtkMRMLScalarVolumeNode:
    """Makes a phantom, in seconds, adds it to the scene and shows it in the slice views.

    Args:
        phantom: which.
        onProgress: called between the parts of the work, on this thread.
    """
    return addPhantom(phantom, onProgress)[0]


def addPhantom(
    phantom: SamplePhantom, onProgress: Callable[[Progress], None] | None = None
) -> list[slicer.vtkMRMLNode]:
    """The same, with the phantom's organs where they come along: the volume, and after it their segmentation."""
    scan, labels = phantom.scan(onProgress)
    volume = _addScan(scan, slicer.mrmlScene.GenerateUniqueName(phantom.name))
    if not phantom.withOrgans:
        return [volume]
    name = _("{scan} organs").format(scan=volume.GetName())
    organs = segmentationFromLabelMap(labels, LabelSet.load(PHANTOM_LABELS), volume, name)
    return [volume, organs.segmentationNode]


def _addScan(scan: Image, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    volume = slicer.util.addVolumeFromArray(scan.array, ijkToRAS=RAS_TO_LPS @ scan.geometry.affine, name=name)
    volume.SetAttribute(SYNTHETIC, "true")
    volume.SetDescription(_("Synthetic scan of nobody, made on this computer."))
    display = volume.GetDisplayNode()
    if display is not None:
        display.AutoWindowLevelOff()
        display.SetWindowLevel(WINDOW, LEVEL)
    selection = slicer.app.applicationLogic().GetSelectionNode()
    if selection is not None:
        selection.SetActiveVolumeID(volume.GetID())
        slicer.app.applicationLogic().PropagateVolumeSelection(1)
    return volume


def registerPhantoms() -> None:
    """Adds the phantoms to the module *Sample Data*, in place of those from before a reload."""
    try:
        import SampleData
    except ImportError:  # an application may come without that module
        return
    category = _("Organ segmentation (SKCDF)")
    sources = SampleData.SampleDataLogic.sampleDataSourcesByCategory(category)
    names = {phantom.name for phantom in PHANTOMS}
    sources[:] = [source for source in sources if source.sampleName not in names]
    for phantom in PHANTOMS:
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=category,
            sampleName=phantom.name,
            # The module wants one of each; nothing is fetched since there is a downloader of our own.
            uris=[""],
            fileNames=[f"{phantom.name}.nrrd"],
            nodeNames=[phantom.name],
            thumbnailFileName=str(ICONS / phantom.thumbnail),
            customDownloader=_Maker(phantom),
        )


class _Maker:
    """Makes a phantom when its button is pressed; the application stays responsive meanwhile."""

    _busy = False  # of all: while one is made, the user could press another button

    def __init__(self, phantom: SamplePhantom) -> None:
        self._phantom = phantom

    def __call__(self, _source: Any = None) -> list[slicer.vtkMRMLNode]:
        if _Maker._busy:
            return []
        with self._alone():
            nodes = addPhantom(self._phantom, self._tell)
        slicer.util.showStatusMessage(_("{name} is ready.").format(name=nodes[0].GetName()), 3000)
        return nodes

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        _Maker._busy = True
        try:
            yield
        finally:
            _Maker._busy = False

    def _tell(self, progress: Progress) -> None:
        percent = round(100 * progress.done / progress.total)
        slicer.util.showStatusMessage(
            _("Making {name}: {percent} %").format(name=self._phantom.name, percent=percent)
        )
        slicer.app.processEvents()
