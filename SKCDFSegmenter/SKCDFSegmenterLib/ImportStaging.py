"""Puts what is to be imported into a folder of its own, as an import wants it: a scan beside its segmentation."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import slicer

from skcdf.errors import SkcdfError

from .CaseContribution import subjectOfVolume
from .Texts import _
from .VolumeImage import writeVolume

FILE_PATTERN = "*.nii.gz *.nii *.nrrd *.mha"
"""Of scans and segmentations that are single files; a header with a file of voxels beside it comes as a folder."""


@dataclass(frozen=True)
class LoadedCase:
    """A segmentation in the scene and the scan it was drawn on.

    Attributes:
        volumeNode: the scan.
        segmentationNode: its organs.
    """

    volumeNode: slicer.vtkMRMLScalarVolumeNode
    segmentationNode: slicer.vtkMRMLSegmentationNode


def loadedCases() -> tuple[LoadedCase, ...]:
    """The segmentations of the scene that have voxels and were drawn on a scan that is still there."""
    cases = []
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
        if volume is not None and volume.GetImageData() is not None and _hasVoxels(node):
            cases.append(LoadedCase(volume, node))
    return tuple(cases)


def stageLoaded(cases: Iterable[LoadedCase], folder: Path) -> dict[str, str]:
    """Writes cases of the scene; returns whose scans they are, by the case's name, where the scene knows it.

    Args:
        cases: of the scene.
        folder: an empty one.

    Raises:
        SkcdfError: a case cannot be written, or its segmentation was moved against its scan.
    """
    subjects: dict[str, str] = {}
    taken: set[str] = set()
    for case in cases:
        volume, segmentation = case.volumeNode, case.segmentationNode
        if volume.GetParentTransformNode() != segmentation.GetParentTransformNode():
            raise SkcdfError(
                _("{segmentation} and {scan} are under different transforms.").format(
                    segmentation=segmentation.GetName(), scan=volume.GetName()
                ),
                _("Put both under the same one in the Transforms module, or harden it."),
            )
        name = _fileName(segmentation.GetName(), taken)
        writeVolume(volume, folder / f"{name}.nrrd")
        _writeSegmentation(segmentation, folder / f"{name}.seg.nrrd")
        subject = subjectOfVolume(volume)
        if subject:
            subjects[name] = subject
    return subjects


def stageFiles(paths: Iterable[Path | str], folder: Path) -> None:
    """Puts files into a folder, by a second name where the disk allows it, else as copies.

    Raises:
        SkcdfError: two have the same name, or one cannot be read or written.
    """
    for path in map(Path, paths):
        target = folder / path.name
        if target.exists():
            raise SkcdfError(
                _("There are two files called {name}.").format(name=path.name),
                _("Import them one after the other, or give them different names."),
            )
        try:
            os.link(path, target)
        except OSError:  # another drive, or one without second names
            _copy(path, target)


def _copy(path: Path, target: Path) -> None:
    try:
        shutil.copyfile(path, target)
    except OSError as error:
        raise SkcdfError(
            _("{path} cannot be taken ({reason}).").format(path=path, reason=error.strerror or error),
            _("Check that the drive is there, and the free space for temporary files."),
        ) from error


def _hasVoxels(node: slicer.vtkMRMLSegmentationNode) -> bool:
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    return bool(node.GetSegmentation().ContainsRepresentation(name))


def _writeSegmentation(node: slicer.vtkMRMLSegmentationNode, path: Path) -> None:
    """Writes a segmentation; the node's own file and its "modified" state stay as they are."""
    storageNode = slicer.vtkMRMLSegmentationStorageNode()
    storageNode.SetFileName(str(path))
    storageNode.SetCropToMinimumExtent(False)
    if not storageNode.WriteData(node):
        raise SkcdfError(
            _("{name} cannot be written to a temporary file.").format(name=node.GetName()),
            _("Check the free disk space."),
        )


def _fileName(name: str, taken: set[str]) -> str:
    """A name that files can have on any system and that none of ``taken`` has, which it joins."""
    plain = re.sub(r"[^\w-]+", "_", name).strip("_") or "case"
    unique, number = plain, 2
    while unique.casefold() in taken:
        unique, number = f"{plain}_{number}", number + 1
    taken.add(unique.casefold())
    return unique
