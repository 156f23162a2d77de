"""What the panel would run now, as a line for a terminal."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import slicer

from .RegionOfInterest import Box
from .VolumeSegmenter import SegmentationSettings

ALONE = "--alone"
"""Tells `EngineMain` that nobody holds the command's input open."""
SCAN, ORGANS = "SCAN.nii.gz", "ORGANS.nii.gz"
"""In the place of a scan that lies in no file, and of its result."""


def commandLine(command: Sequence[str], *, windows: bool = os.name == "nt") -> str:
    """Program and arguments as a terminal takes them; on Windows that of the Command Prompt."""
    return subprocess.list2cmdline(command) if windows else shlex.join(command)


def segmentArguments(
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None, settings: SegmentationSettings, box: Box | None = None
) -> list[str]:
    """The segmentation as arguments of ``skcdf``.

    Args:
        volumeNode: the scan.
        settings: how to segment.
        box: the voxels to compute; ``None``: all.
    """
    scan = scanFile(volumeNode)
    arguments = ["segment", scan or SCAN, _output(scan)]
    if settings.model:
        arguments += ["--model", settings.model]
    if settings.store:
        arguments += ["--store", settings.store]
    if settings.organs:
        arguments += ["--organs", *settings.organs]
    if box is not None:
        arguments += ["--region", *(str(end) for side in box for end in side)]
    if settings.overlap is not None:
        arguments += ["--overlap", f"{settings.overlap:g}"]
    if settings.memoryMiB is not None:
        arguments += ["--memory", str(settings.memoryMiB)]
    return [*arguments, "--device", settings.device]


def scanFile(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """The file that a scan was loaded from; of a DICOM series its folder; empty: none."""
    storage = volumeNode.GetStorageNode() if volumeNode is not None else None
    if storage is None or not storage.GetFileName():
        return ""
    path = Path(storage.GetFullNameFromFileName())
    return str(path.parent) if storage.GetNumberOfFileNames() > 1 else str(path)


def _output(scan: str) -> str:
    """Where the result would lie: beside the scan, but a DICOM folder must stay as it is."""
    if not scan:
        return ORGANS
    path = Path(scan)
    name = path.name
    for ending in (".nii.gz", *path.suffixes[-1:]):
        if not path.is_dir() and name.endswith(ending):
            name = name[: -len(ending)]
            break
    return str(path.parent / f"{name}_organs.nii.gz")
