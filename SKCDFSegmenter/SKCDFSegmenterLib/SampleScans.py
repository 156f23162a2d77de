"""Synthetic scans in Slicer's module *Sample Data*: made on this computer when asked for, nothing is downloaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from skcdf.phantom import make_phantom
from skcdf.progress import Progress

from .InputChoice import SYNTHETIC
from .Texts import _
from .VolumeImage import RAS_TO_LPS

ICONS = Path(__file__).resolve().parents[1] / "Resources" / "Icons"
SHAPE, SPACING_MM = (80, 128, 128), (3.0, 3.0, 3.0)
WINDOW, LEVEL = 400, 50


@dataclass(frozen=True)
class SamplePhantom:
    """A synthetic patient.

    Attributes:
        name: in English; that of the sample and of its volume.
        seed: which patient.
        cutOffShare: 1: the scan ends in the middle of organs; 0: it shows them all.
        thumbnail: the picture's file name in ``Resources/Icons``.
    """

    name: str
    seed: int
    cutOffShare: float
    thumbnail: str


PHANTOMS = (
    SamplePhantom("PhantomCT", 7, 0.0, "PhantomCT.png"),
    SamplePhantom("PhantomCTCutOff", 21, 1.0, "PhantomCTCutOff.png"),
)


def addPhantomVolume(
    phantom: SamplePhantom = PHANTOMS[0], onProgress: Callable[[Progress], None] | None = None
) -> slicer.vtkMRMLScalarVolumeNode:
    """Makes a phantom, in seconds, adds it to the scene and shows it in the slice views.

    Args:
        phantom: which.
        onProgress: called between the parts of the work, on this thread.
    """
    scan, _labels = make_phantom(
        phantom.seed,
        shape=SHAPE,
        spacing=SPACING_MM,
        cut_off_share=phantom.cutOffShare,
        progress=onProgress or (lambda _progress: None),
    )
    name = slicer.mrmlScene.GenerateUniqueName(phantom.name)
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

    def __call__(self, _source: Any = None) -> list[slicer.vtkMRMLScalarVolumeNode]:
        if _Maker._busy:
            return []
        with self._alone():
            volume = addPhantomVolume(self._phantom, self._tell)
        slicer.util.showStatusMessage(_("{name} is ready.").format(name=volume.GetName()), 3000)
        return [volume]

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
