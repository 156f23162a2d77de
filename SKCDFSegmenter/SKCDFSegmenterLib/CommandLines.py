"""What the panel would run now, as a line for a terminal."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import slicer

from .Texts import _
from .VolumeSegmenter import SegmentationSettings


def commandLine(command: Sequence[str], *, windows: bool = os.name == "nt") -> str:
    """Program and arguments as a terminal takes them; on Windows that of the Command Prompt."""
    return subprocess.list2cmdline(command) if windows else shlex.join(command)


def segmentArguments(
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None, settings: SegmentationSettings
) -> list[str]:
    """The segmentation as arguments of ``skcdf``.

    Args:
        volumeNode: the scan; one that was not loaded from a file is named by a placeholder.
        settings: model and device; what a command line cannot say is in `notInCommand`.
    """
    scan = scanFile(volumeNode)
    arguments = ["segment", scan or "SCAN.nii.gz", _output(scan)]
    if settings.model:
        arguments += ["--model", settings.model]
    if settings.store:
        arguments += ["--store", settings.store]
    return [*arguments, "--device", settings.device]


def scanFile(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """The file that a scan was loaded from; of a DICOM series its folder; empty: none."""
    storage = volumeNode.GetStorageNode() if volumeNode is not None else None
    if storage is None or not storage.GetFileName():
        return ""
    path = Path(storage.GetFullNameFromFileName())
    return str(path.parent) if storage.GetNumberOfFileNames() > 1 else str(path)


def notInCommand(settings: SegmentationSettings, *, hasRegion: bool) -> list[str]:
    """What the panel would do and the command line does not."""
    missing = []
    if settings.organs:
        missing.append(_("the choice of organs"))
    if hasRegion:
        missing.append(_("the region"))
    if settings.overlap is not None:
        missing.append(_("the own overlap"))
    if settings.memoryMiB is not None:
        missing.append(_("the memory limit"))
    return missing


def _output(scan: str) -> str:
    """Where the result would lie: beside the scan, but a DICOM folder must stay as it is."""
    if not scan:
        return "ORGANS.nii.gz"
    path = Path(scan)
    name = path.name
    for ending in (".nii.gz", *path.suffixes[-1:]):
        if not path.is_dir() and name.endswith(ending):
            name = name[: -len(ending)]
            break
    return str(path.parent / f"{name}_organs.nii.gz")
