"""The picture of the README: slice and 3-D view through Slicer's displayable managers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import make_pictures
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
PIL = pytest.importorskip("PIL.Image", reason="pillow is not installed (pip install pillow)")


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A small picture, drawn in a process of its own: a broken driver ends the process, not the tests."""
    if not make_pictures.can_draw():
        pytest.skip(make_pictures.NEEDS_DRIVER)
    path = tmp_path_factory.mktemp("pictures") / "views.png"
    small = "make_pictures.SHAPE, make_pictures.SPACING = (64, 100, 100), (4.0, 4.0, 4.0)"
    code = f"import pathlib, make_pictures; {small}; make_pictures.main(pathlib.Path({os.fspath(path)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "docs", check=True, timeout=120)
    return np.asarray(PIL.open(path).convert("RGB")).astype(int)


def share(pixels, color, tolerance=40):
    """The share of pixels whose colour is near."""
    return (np.abs(pixels - color).max(axis=-1) < tolerance).mean()


def colorful(pixels):
    return (pixels.max(axis=-1) - pixels.min(axis=-1) > 40).mean()


@pytest.mark.slow
class TestPicture:
    def test_the_slice_shows_a_grey_scan_with_coloured_organs(self, picture):
        view = picture[:, :800]
        assert share(view, (0, 0, 0)) > 0.2
        assert 0.05 < colorful(view) < 0.4
        assert ((np.ptp(view, axis=-1) < 12) & (view.max(axis=-1) > 60)).mean() > 0.1

    def test_the_3d_view_shows_many_colours_before_the_background(self, picture):
        view = picture[:, 800:]
        assert share(view[:20], (13, 18, 26), 8) > 0.9
        assert colorful(view) > 0.15

    def test_the_liver_lies_on_the_left_of_both_views(self, picture):
        # The patient faces us, so that the right side of the body is on the left.
        for view in (picture[:, :800], picture[:, 800:]):
            liver = (view[..., 0] - view[..., 2] > 45) & (view[..., 0] - view[..., 1] > 25)
            columns = np.nonzero(liver)[1]
            assert np.median(columns) < view.shape[1] * 0.5
