"""Line charts: everything is drawn or counted, labels keep apart, colours can be told from each other."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skcdf.line_chart import DARK, LABEL_GAP, LIGHT, Chart, Line, line_chart, thinned


def test_thinning_keeps_the_mean_and_the_last_point() -> None:
    points = [(float(n), math.nan if n == 3 else float(n)) for n in range(1, 8)]
    assert thinned(points, 3) == ([(3.0, 1.5), (6.0, 5.0), (7.0, 7.0)], 3)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=8),
        min_size=1,
        max_size=30,
    )
)
def test_any_figures_make_a_chart_whose_labels_do_not_overlap(series: list[list[float]]) -> None:
    lines = [Line(f"line {n}", [(float(x), y) for x, y in enumerate(each)]) for n, each in enumerate(series)]
    drawn = [line for line in lines if line.drawable]
    if not drawn:
        return
    svg = line_chart(Chart("x", "title", "text", "iteration", "value", lines))
    assert "nan" not in svg and "inf" not in svg
    heights = sorted(float(y) for y in re.findall(r'class="line [^"]*" d="M[\d.]+ ([\d.]+)H', svg))
    assert all(b - a >= LABEL_GAP - 0.2 for a, b in itertools.pairwise(heights))


def test_fifteen_lines_differ_in_colour_or_dash() -> None:
    lines = [Line(str(n), [(0.0, n), (1.0, n)]) for n in range(15)]
    svg = line_chart(Chart("x", "title", "text", "iteration", "value", lines))
    assert len(set(re.findall(r'class="line (c\d d\d)"', svg))) == 15


# linear RGB as seen without one kind of cones (Machado, Oliveira and Fernandes 2009, severity 1)
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize(("palette", "paper"), [(LIGHT, "#ffffff"), (DARK, "#14171b")])
class TestColours:
    @pytest.mark.parametrize("sight", SIGHT)
    def test_no_two_look_alike(self, palette, paper, sight) -> None:
        seen = [lightness_and_hue(np.array(SIGHT[sight]) @ linear(color)) for color in palette]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= 20

    def test_all_stand_out_from_the_page(self, palette, paper) -> None:
        for color in palette:
            dark, light = sorted(float(linear(each) @ (0.2126, 0.7152, 0.0722)) for each in (color, paper))
            assert (light + 0.05) / (dark + 0.05) >= 3


def linear(color: str) -> np.ndarray:
    """Linear RGB of ``#rrggbb``."""
    value = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lightness_and_hue(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b*, in which distances are about as the eye sees them."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(matrix) @ np.clip(rgb, 0, 1) / (0.9505, 1.0, 1.089)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
