"""Line charts as SVG for an HTML page: no script, and names at the lines' ends, so that colour is never the only key.

Colours, dashes and text sizes are classes of `STYLE`, which the page holds once, in a light and a dark version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

Point = tuple[float, float]

WIDTH, LEAST_HEIGHT = 720, 340
TOP, BOTTOM, LEFT = 30, 46, 58
LABEL_GAP = 15.0
LONGEST_NAME = 26
CHARACTER_WIDTH = 6.9
KEY_LENGTH = 26.0
MOST_POINTS = 600
MOST_MARKERS = 60
# A logarithmic axis begins where the linear one would squeeze the smaller values into its lowest twentieth.
LOGARITHMIC_FROM = 20.0
DECADES = 3
DASHES = 3

# Both palettes keep apart in normal sight and under the three kinds of colour blindness (CIE 1976 difference of 20
# and more), and have a contrast of 3 : 1 and more to the page; a test computes it.
LIGHT = ("#2a62e8", "#d8261c", "#2f5a4a", "#8a3580", "#5fa35a")
DARK = ("#4a90ff", "#f0734a", "#4af0b8", "#c37fb0", "#f2e640")


_RULES = """
.chart { display: block; width: 100%; height: auto; }
.chart text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.chart .quiet { fill: var(--quiet); }
.chart .grid { stroke: var(--rule); stroke-width: 1; }
.chart .axis { stroke: var(--quiet); stroke-width: 1; }
.chart .mark { stroke: var(--quiet); stroke-width: 1.5; stroke-dasharray: 2 3; }
.chart .line { fill: none; stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round; }
.chart .main { --c: var(--ink); stroke-width: 3; }
.chart text.main { font-weight: 650; }
.chart .line, .chart .leader { stroke: var(--c); }
.chart circle { fill: var(--c); }
.chart .d1 { stroke-dasharray: 7 4; } .chart .d2 { stroke-dasharray: 1 4.5; }
.chart .leader { fill: none; stroke-width: 1; stroke-dasharray: none; opacity: .45; }
"""


def _palette(colors: Sequence[str]) -> str:
    return " ".join(f".chart .c{number} {{ --c: {color}; }}" for number, color in enumerate(colors))


STYLE = f"""{_RULES}{_palette(LIGHT)}
@media (prefers-color-scheme: dark) {{ {_palette(DARK)} }}
@media print {{ {_palette(LIGHT)} }}
"""


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: what stands at its end.
        points: ``(x, y)`` by rising x; the line is broken where y is not finite.
        main: drawn thicker, in the colour of the text.
    """

    name: str
    points: Sequence[Point]
    main: bool = False

    @property
    def drawable(self) -> list[Point]:
        """The points that are numbers."""
        return [point for point in self.points if math.isfinite(point[1])]


@dataclass(frozen=True)
class Axis:
    """Where values lie between the ends of an axis."""

    low: float
    high: float
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        """Whether the value can be drawn: it is a number, and not below the end of a logarithmic axis."""
        return math.isfinite(value) and not (self.logarithmic and value < self.low)

    @property
    def ticks(self) -> list[float]:
        """Round values from end to end, about five."""
        if not self.logarithmic:
            return _round_values(self.low, self.high)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        fine = [figure * 10.0**decade for decade in decades for figure in (1, 2, 5)]
        found = [value for value in fine if self.low <= value <= self.high]
        return found if len(found) <= 8 else [value for value in found if f"{value:e}".startswith("1.")]


@dataclass(frozen=True)
class Chart:
    """What a line chart shows.

    Attributes:
        key: begins the ids in the SVG; unique on the page.
        title: for those who do not see the chart.
        description: what it shows, in a sentence or two, likewise.
        x_label, y_label: under and above the axes.
        lines: at least one of them has a point to draw.
        limits: ends of the y axis; by default they follow the values, on a logarithmic axis where it helps.
        mark: an x that is marked with a text.
    """

    key: str
    title: str
    description: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    limits: tuple[float, float] | None = None
    mark: tuple[float, str] | None = None

    @cached_property
    def x_axis(self) -> Axis:
        """From 0, unless everything lies in the further half."""
        values = [x for line in self.lines for x, _ in line.drawable]
        values += [self.mark[0]] if self.mark else []
        low, high = min(values), max(values)
        low = low if low > high / 2 and low < high else min(low, 0.0)
        return Axis(low, high if high > low else low + 1)

    @cached_property
    def y_axis(self) -> Axis:
        """The ends and kind of the y axis."""
        if self.limits:
            return Axis(*self.limits)
        values = [y for line in self.lines for _, y in line.drawable]
        low, high = min(values), max(values)
        positive = [y for y in values if y > 0 and y >= high * 10.0**-DECADES]
        if low >= 0 and positive and high / min(positive) >= LOGARITHMIC_FROM:
            return Axis(min(positive) / 1.15, high * 1.15, logarithmic=True)
        low = min(low, 0.0)
        reach = _round_values(low, high if high > low else low + 1)
        step = reach[1] - reach[0]
        return Axis(step * math.floor(low / step), step * math.ceil(max(high, low + step / 2) / step))

    @property
    def omitted(self) -> int:
        """How many points the chart cannot show: not numbers, or off a logarithmic axis."""
        return sum(not self.y_axis.holds(y) for line in self.lines for _, y in line.points)


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> tuple[list[Point], int]:
    """At most ``most`` points and how many neighbours each of them is the mean of."""
    size = max(1, math.ceil(len(points) / most))
    if size == 1:
        return list(points), 1
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return [(group[-1][0], _mean([y for _, y in group])) for group in groups], size


def three_digits(value: float) -> str:
    """``0.650``, ``40.0``, ``123``."""
    return f"{value:#.3g}".rstrip(".")


def line_chart(chart: Chart) -> str:
    """Draws a chart as an ``<svg>`` element for a page that has `STYLE`."""
    lines = [line for line in chart.lines if any(chart.y_axis.holds(y) for _, y in line.points)]
    return _Drawing(chart, lines).svg()


class _Drawing:
    """A chart laid out in the units of its view box."""

    def __init__(self, chart: Chart, lines: Sequence[Line]) -> None:
        self.chart, self.lines = chart, lines
        longest = max((len(self._text(line)) for line in lines), default=0)
        self.right = WIDTH - KEY_LENGTH - 18 - CHARACTER_WIDTH * longest
        self.height = max(LEAST_HEIGHT, TOP + BOTTOM + math.ceil(LABEL_GAP * len(lines)))
        self.bottom = self.height - BOTTOM

    def svg(self) -> str:
        """The whole element."""
        chart, key = self.chart, escape(self.chart.key)
        look = self._looks()
        parts = [
            f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {self.height}"'
            f' aria-labelledby="{key}-title {key}-text">',
            f'<title id="{key}-title">{escape(chart.title)}</title>',
            f'<desc id="{key}-text">{escape(chart.description)}</desc>',
            *self._axes(),
            *self._mark(),
            *(self._line(line, style) for line, style in zip(self.lines, look, strict=True) if not line.main),
            *(self._line(line, "main") for line in self.lines if line.main),  # on top
            *self._labels(look),
            "</svg>",
        ]
        return "\n".join(parts)

    def _looks(self) -> list[str]:
        """Classes of every line; no two of the first 15 have colour and dash in common."""
        looks, number = [], 0
        for line in self.lines:
            looks.append("main" if line.main else f"c{number % len(LIGHT)} d{number % DASHES}")
            number += not line.main
        return looks

    def _x(self, value: float) -> float:
        return LEFT + (self.right - LEFT) * self.chart.x_axis.share(value)

    def _y(self, value: float) -> float:
        return self.bottom + (TOP - self.bottom) * self.chart.y_axis.share(value)

    def _axes(self) -> list[str]:
        chart, parts = self.chart, []
        for value in chart.y_axis.ticks:
            y = self._y(value)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{self.right:.1f}"/>')
            parts.append(_words(LEFT - 8, y + 4, _number(value), "quiet", "end"))
        for value in chart.x_axis.ticks:
            x = self._x(value)
            parts.append(f'<path class="axis" d="M{x:.1f} {self.bottom}v4"/>')
            parts.append(_words(x, self.bottom + 18, _number(value), "quiet", "middle"))
        scale = ", logarithmic" if chart.y_axis.logarithmic else ""
        parts.append(f'<path class="axis" d="M{LEFT} {self.bottom}H{self.right:.1f}"/>')
        parts.append(_words(LEFT - 8, 14, chart.y_label + scale, "quiet", "start"))
        parts.append(_words(self.right, self.height - 8, chart.x_label, "quiet", "end"))
        return parts

    def _mark(self) -> list[str]:
        if not self.chart.mark:
            return []
        value, text = self.chart.mark
        x = self._x(value)
        left_half = x < (LEFT + self.right) / 2
        at, anchor = (x + 5, "start") if left_half else (x - 5, "end")
        return [
            f'<path class="mark" d="M{x:.1f} {TOP - 22}V{self.bottom}"/>',
            _words(at, TOP - 12, text, "", anchor),
        ]

    def _line(self, line: Line, look: str) -> str:
        runs = self._runs(line)
        title = f"<title>{escape(line.name)}</title>"
        path = "".join(
            f"M{'L'.join(f'{self._x(x):.1f} {self._y(y):.1f}' for x, y in run)}"
            for run in runs
            if len(run) > 1
        )
        few = sum(map(len, runs)) <= MOST_MARKERS
        dots = [point for run in runs if few or len(run) == 1 for point in run]
        circles = (
            f'<circle class="{look}" cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="{3.5 if line.main else 2.5}">'
            f"<title>{escape(line.name)} at {_number(x)}: {three_digits(y)}</title></circle>"
            for x, y in dots
        )
        drawn = f'<path class="line {look}" d="{path}">{title}</path>' if path else ""
        return drawn + "".join(circles)

    def _runs(self, line: Line) -> list[list[Point]]:
        """The points between the gaps."""
        runs: list[list[Point]] = [[]]
        for x, y in line.points:
            if self.chart.y_axis.holds(y):
                runs[-1].append((x, y))
            elif runs[-1]:
                runs.append([])
        return [run for run in runs if run]

    def _labels(self, look: Sequence[str]) -> list[str]:
        """Name and last value of every line at its end, with a piece of the line as key."""
        ends = [self._runs(line)[-1][-1] for line in self.lines]
        heights = _spread([self._y(y) for _, y in ends], LABEL_GAP, TOP + 4.0, self.bottom - 2.0)
        parts = []
        for line, style, (x, y), height in zip(self.lines, look, ends, heights, strict=True):
            start, key = self.right + 10, self.right + 10 + KEY_LENGTH
            parts.append(
                f'<path class="leader {style}" d="M{self._x(x):.1f} {self._y(y):.1f}L{start:.1f} {height:.1f}"/>'
                f'<path class="line {style}" d="M{start:.1f} {height:.1f}H{key:.1f}"/>'
                + _words(key + 6, height + 4, self._text(line), "main" if line.main else "", "start")
            )
        return parts

    def _text(self, line: Line) -> str:
        # names that begin alike often differ at the end: left, right, 1, 2
        half = (LONGEST_NAME - 1) // 2
        name = line.name if len(line.name) <= LONGEST_NAME else f"{line.name[:half]}…{line.name[-half:]}"
        return f"{name} {three_digits(self._runs(line)[-1][-1][1])}"


def _words(x: float, y: float, text: str, style: str, anchor: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.10g}" if abs(value) < 1e9 else f"{value:g}"


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan


def _round_values(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``, three to seven of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(figure * power for figure in (1, 2, 5, 10) if figure * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights as near to the wanted ones as leaves ``gap`` between any two; order is kept."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed = dict.fromkeys(order, 0.0)
    least = low
    for index in order:
        placed[index] = max(wanted[index], least)
        least = placed[index] + gap
    most = high
    for index in reversed(order):
        placed[index] = min(placed[index], most)
        most = placed[index] - gap
    return [placed[index] for index in range(len(wanted))]
