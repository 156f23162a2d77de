"""Section 1 on the bench: with an engine that finds what is bright, and scans for it."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def sections(slicer, tmp_path):
    from sections import Sections

    made = Sections(tmp_path)
    made.useEngine()
    yield made
    made.close()


@pytest.fixture
def ui(sections):
    return sections.ui


@pytest.fixture
def scan(slicer):
    """Loads a scan that is dark but for a block; `shown`: in all slice views."""

    def load(name="CT", shown=True):
        array = np.zeros((6, 9, 12), np.int16)
        array[1:4, 2:6, 3:8] = 1000
        volume = slicer.util.addVolumeFromArray(array, name=name)
        if shown:
            slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None)
        return volume

    return load
