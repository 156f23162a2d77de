"""Fixtures for tests on real MRML nodes."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("Testing/mrml", "SKCDFSegmenter", "engine", "docs")]


@pytest.fixture(scope="session")
def _slicer() -> Any:
    pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
    from mrml_bootstrap import startSlicerCore

    return startSlicerCore()


@pytest.fixture
def slicer(_slicer: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The slicer module with an empty scene, and no application even where the panel's tests have started one."""
    bare = types.SimpleNamespace(applicationLogic=_slicer.app.applicationLogic)
    monkeypatch.setattr(_slicer, "app", bare)
    _slicer.mrmlScene.Clear(1)
    yield _slicer
    _slicer.mrmlScene.Clear(1)


@pytest.fixture
def makeVolume(slicer: Any) -> Callable[..., Any]:
    """Makes a volume node ``CT`` of the given array shape and IJK to RAS matrix, maybe under a transform."""

    def make(shape: tuple[int, int, int], ijkToRAS: np.ndarray, transform: np.ndarray | None = None) -> Any:
        array = np.random.default_rng(0).normal(0, 100, shape).astype(np.int16)
        volume = slicer.util.addVolumeFromArray(array, ijkToRAS=ijkToRAS, name="CT")
        if transform is not None:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Table")
            node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(transform))
            volume.SetAndObserveTransformNodeID(node.GetID())
        return volume

    return make
