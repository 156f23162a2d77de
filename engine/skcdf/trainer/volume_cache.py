"""Preprocessed volumes within a memory budget: what does not fit lies in memory-mapped files."""

from __future__ import annotations

import shutil
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import SkcdfError
from .data import TrainingVolume

GIB = 2**30
PREFIX = ".skcdf-cache-"
LEFTOVER_AGE_S = 7 * 24 * 3600.0


class VolumeCache:
    """Keeps volumes in memory up to a budget, further ones in files that the system pages in and out.

    The files are made anew by every run and removed by `close`; what a killed run left behind is removed when the
    next one begins, by its name alone.

    Args:
        folder: the run's; the files go to a folder of their own in it, made when the first is needed.
        budget_gib: memory for volumes, in GiB.
    """

    def __init__(self, folder: Path, budget_gib: float) -> None:
        self.folder = folder / f"{PREFIX}{uuid.uuid4().hex}"
        self._left = budget_gib * GIB
        self._files = 0
        for leftover in folder.glob(f"{PREFIX}*"):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE_S:  # a younger one may be in use
                shutil.rmtree(leftover, ignore_errors=True)

    def __enter__(self) -> VolumeCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def keep(self, volume: TrainingVolume) -> TrainingVolume:
        """The same volume, in memory or memory-mapped.

        Raises:
            SkcdfError: the files cannot be written.
        """
        image, labels = volume.image, volume.labels
        size = image.nbytes + (0 if labels is None else labels.nbytes)
        if size <= self._left:
            self._left -= size
            return volume
        labels = None if labels is None else self._mapped(labels)
        return replace(volume, image=self._mapped(image), labels=labels)

    def close(self) -> None:
        """Removes the files. Where the system keeps open files (Windows), the next run's start removes them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mapped(self, array: np.ndarray) -> np.ndarray:
        path = self.folder / f"{self._files:05d}.npy"
        self._files += 1
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
        except OSError as error:
            raise SkcdfError(
                f"{path}: a preprocessed scan cannot be written ({error.strerror or error}).",
                "Free some disk space, or give more memory by --cache-gib.",
            ) from error
        return np.load(path, mmap_mode="r")
