"""The camera of the tutorial's pictures: parts of the panel in full, and the panel beside what the views show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")
PIL = pytest.importorskip("PIL.Image", reason="pillow is not installed (pip install pillow)")

ROOT = Path(__file__).resolve().parents[2]
VIEW_SIZE, BAR = (300, 280), 18
BARS = {"Red": (243, 74, 51), "Green": (110, 176, 75), "Yellow": (237, 213, 76), "3D": (116, 115, 195)}
# In a process of its own: a broken driver ends the process, not the tests.
PROGRAM = """
import sys
from pathlib import Path
import make_panel_pictures, make_pictures
if not make_pictures.can_draw():
    sys.exit(make_pictures.NEEDS_DRIVER)
from panel_bootstrap import startPanelApplication
slicer = startPanelApplication()
with make_panel_pictures.opened_module(slicer) as widget:
    import numpy as np
    from panel_camera import Camera
    camera = Camera(Path(sys.argv[1]), widget.panel.widget)
    block = np.zeros((20, 20, 20), np.int16)
    block[5:15, 5:15, 5:15] = 1000
    volume = slicer.util.addVolumeFromArray(block, name="Block")
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    camera.window(widget.panel.widget, "window")
    camera.part(widget.panel.project.ui.projectSection, "part")
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The pixels of both pictures, by name."""
    folder = tmp_path_factory.mktemp("pictures")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, os.fspath(folder)],
        cwd=ROOT / "docs",
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    if "cannot draw off-screen" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return {path.stem: np.asarray(PIL.open(path).convert("RGB")).astype(int) for path in folder.iterdir()}


@pytest.mark.slow
def test_the_views_stand_beside_the_panel_as_in_slicer(pictures):

    (width, height), window = VIEW_SIZE, pictures["window"]
    assert window.shape[0] == 2 * (BAR + height)
    left = window.shape[1] - 2 * width
    for name, (x, y) in {"Red": (0, 0), "3D": (1, 0), "Green": (0, 1), "Yellow": (1, 1)}.items():
        bar = window[y * (BAR + height) + 1, left + x * width + width // 2]
        assert np.abs(bar - BARS[name]).max() < 12, name
        if name != "3D":
            view = window[y * (BAR + height) + BAR :][:height, left + x * width :][:, :width]
            assert view[height // 2, width // 2].min() > 200, "the block in the middle is bright"
            assert view[height // 2, 5].max() < 60


@pytest.mark.slow
def test_a_part_is_drawn_whole_and_in_few_colours(pictures):
    part = pictures["part"]
    assert 380 < part.shape[1] < 460 and part.shape[0] > 100
    assert len(np.unique(part.reshape(-1, 3), axis=0)) <= 256
