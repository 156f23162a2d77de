"""How a training went, as figures of its report: losses, and Dice on the validation cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .html_page import Markup, chart, element, figure, table
from .line_chart import Chart, Line, line_chart, thinned, three_digits

MOST_ORGAN_LINES = 15
LOWEST_SHOWN = 5


@dataclass(frozen=True)
class LossPoint:
    """The losses of one iteration, or their means since the point before.

    Attributes:
        iteration: optimiser steps done.
        values: loss by name. The one called ``total`` is the total; without it, the total is the sum.
    """

    iteration: int
    values: Mapping[str, float]

    @property
    def total(self) -> float:
        """What was minimised."""
        return self.values["total"] if "total" in self.values else math.fsum(self.values.values())


@dataclass(frozen=True)
class ValidationPoint:
    """Dice of every organ over the validation cases at one iteration.

    Attributes:
        iteration: optimiser steps done.
        dice: mean Dice, 0 to 1, by organ; ``None`` or nan where no case counts.
    """

    iteration: int
    dice: Mapping[str, float | None]

    def of(self, organ: str) -> float:
        """Dice of one organ; nan where it was not measured."""
        value = self.dice.get(organ)
        return math.nan if value is None else value

    @property
    def mean(self) -> float:
        """Over the organs that were measured; nan where none was."""
        return mean(map(self.of, self.dice))


def loss_figure(points: Sequence[LossPoint]) -> Markup:
    """The total and the named losses over iterations."""
    names = list(dict.fromkeys(name for point in points for name in point.values if name != "total"))
    lines = [
        Line(name, [(float(point.iteration), point.values.get(name, math.nan)) for point in points])
        for name in names
    ]
    # the sum of one loss would only repeat it
    if len(names) != 1 or any("total" in point.values for point in points):
        total = [(float(point.iteration), point.total) for point in points]
        lines.insert(0, Line("total", total, main=True))
    if not any(line.drawable for line in lines):
        return nothing("No loss was recorded.")
    size = max(thinned(line.points)[1] for line in lines)
    lines = [Line(line.name, thinned(line.points)[0], line.main) for line in lines]
    content = Chart("loss", "Loss", _described(lines), "iteration", "loss", lines)
    notes = [
        f"Loss at {count(len(points), 'recorded point')}.",
        f"Every point drawn is the mean of {size} recorded ones." if size > 1 else "",
        _omission(content),
    ]
    return figure(chart(line_chart(content), content.title), _sentences(notes))


def validation_figures(points: Sequence[ValidationPoint], chosen: int | None) -> Iterator[Markup]:
    """Dice over iterations with the ``chosen`` one marked; of many organs the lowest, and a table of all."""
    organs = dict.fromkeys(organ for point in points for organ in point.dice)
    series = {organ: [(float(point.iteration), point.of(organ)) for point in points] for organ in organs}
    lines = [Line(readable(organ), each) for organ, each in series.items()]
    measured = [line for line in lines if line.drawable]
    if not measured:
        yield nothing("No validation was made during training.")
        return
    average = Line("mean", [(float(point.iteration), point.mean) for point in points], main=True)
    shown, notes = measured, [f"{count(len(points), 'validation')}."]
    if len(measured) > MOST_ORGAN_LINES:
        shown = sorted(measured, key=lambda line: line.drawable[-1][1])[:LOWEST_SHOWN]
        notes.append(f"Of {len(measured)} organs the {LOWEST_SHOWN} that ended lowest are drawn.")
    if len(measured) > 1:
        shown = [average, *shown]
        notes.append("The mean is over the organs measured at each validation.")
    if chosen is None:
        notes.append("No iteration was chosen by validation.")
    unmeasured = [line.name for line in lines if not line.drawable]
    if unmeasured:
        notes.append(f"Never measured: {', '.join(unmeasured)}.")
    content = Chart(
        key="dice",
        title="Dice on the validation cases",
        description=_described(shown),
        x_label="iteration",
        y_label="Dice",
        lines=shown,
        limits=(0.0, 1.0),
        mark=None if chosen is None else (float(chosen), f"kept: {chosen:,}"),
    )
    yield figure(chart(line_chart(content), content.title), _sentences([*notes, _omission(content)]))
    if len(measured) > MOST_ORGAN_LINES:
        yield _validation_table([average, *measured], chosen)


def mean(values: Iterable[float]) -> float:
    """Mean of the values that are numbers; nan where none is."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan


def readable(organ: str) -> str:
    """An organ's name without the underscores."""
    return organ.replace("_", " ")


def count(number: int, what: str) -> str:
    """``1 organ``, ``13 organs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def dice_text(value: float) -> str:
    """Three decimals, or a dash where nothing was measured."""
    return f"{value:.3f}" if math.isfinite(value) else "–"  # noqa: RUF001


def nothing(text: str) -> Markup:
    """A sentence where a figure would be."""
    return element("p", text, class_="quiet")


def _validation_table(lines: Sequence[Line], chosen: int | None) -> Markup:
    rows = []
    for line in lines:
        iteration, best = max(line.drawable, key=lambda point: point[1])
        kept = [] if chosen is None else [dice_text(dict(line.points).get(float(chosen), math.nan))]
        rows.append([line.name, *kept, dice_text(line.points[-1][1]), dice_text(best), f"{iteration:,.0f}"])
    last = f"last ({lines[0].points[-1][0]:,.0f})"
    head = ["Organ", *([] if chosen is None else [f"kept ({chosen:,})"]), last, "best", "at iteration"]
    return table(head, rows, "Dice on the validation cases of every organ; best is by this organ alone")


def _described(lines: Sequence[Line]) -> str:
    """The chart in words: where its lines begin and end."""
    parts = []
    for line in lines:
        if line.drawable:
            (start, first), (end, last) = line.drawable[0], line.drawable[-1]
            begin = f"{line.name} from {three_digits(first)} at iteration {start:,.0f}"
            parts.append(f"{begin} to {three_digits(last)} at {end:,.0f}")
    return "; ".join(parts) + "."


def _omission(content: Chart) -> str:
    if not content.omitted:
        return ""
    small = ", zero or under a thousandth of the largest" if content.y_axis.logarithmic else ""
    return f"{count(content.omitted, 'value')} not drawn: not measured{small}."


def _sentences(texts: Iterable[str]) -> str:
    return " ".join(text for text in texts if text)
