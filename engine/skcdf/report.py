"""The report of a training: one HTML file that needs nothing else, neither script nor network.

`TrainingReport` holds what is to be said, `write_report` writes the page. What was not measured says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from . import __version__, line_chart
from .errors import SkcdfError
from .files import atomic_write
from .html_page import Markup, document, element, figure, joined, pairs, picture, section, table
from .learning_curves import (
    LossPoint,
    ValidationPoint,
    count,
    dice_text,
    loss_figure,
    mean,
    nothing,
    readable,
    validation_figures,
)
from .metrics import OrganSummary, Statistic

__all__ = ["LossPoint", "ReportPicture", "TrainingReport", "ValidationPoint", "write_report"]

NOT_MEASURED, NOT_RECORDED = "not measured", "not recorded"


@dataclass(frozen=True)
class ReportPicture:
    """A picture and what it shows.

    Attributes:
        caption: stands under it, and in its place for those who do not see it.
        png: content of a PNG file, such as `overlay_picture` returns.
    """

    caption: str
    png: bytes


@dataclass(frozen=True)
class TrainingReport:
    """What the report of one training says.

    Attributes:
        title: heading of the page.
        notice: what goes with every result of the model; research use, not for diagnosis.
        protocol: id of the published protocol that was followed; ``None`` for none.
        method: training method.
        settings: JSON of the settings, nested as it is.
        data: what was trained on, by name: data set, counts of cases.
        device: one line on where it was computed.
        seconds: spent training.
        seconds_per_iteration: mean of an optimiser step; nan where it was not measured.
        peak_memory_bytes: the most memory used at once.
        losses: by rising iteration.
        validations: made during training, by rising iteration.
        chosen_iteration: the one whose weights were kept, where validation chose it.
        accuracy: of the kept model, organ by organ.
        accuracy_protocol: which cases ``accuracy`` is from, and how many.
        pictures: of the kept model's results.
        command: what started the training.
        notes: what a person should know of the outcome, a sentence each.
    """

    title: str
    notice: str
    protocol: str | None
    method: str
    settings: Mapping[str, object]
    data: Mapping[str, str | int]
    device: str
    seconds: float
    seconds_per_iteration: float
    peak_memory_bytes: int | None
    losses: Sequence[LossPoint]
    validations: Sequence[ValidationPoint]
    chosen_iteration: int | None
    accuracy: Sequence[OrganSummary]
    accuracy_protocol: str
    pictures: Sequence[ReportPicture]
    command: str | None = None
    notes: Sequence[str] = ()


def write_report(path: Path | str, report: TrainingReport) -> None:
    """Writes the report as one HTML file, atomically.

    Raises:
        SkcdfError: a picture is no PNG, or the file cannot be written.
    """
    parts = [
        element("h1", report.title),
        element("p", report.notice, class_="notice", role="note"),
        *(element("p", note) for note in report.notes),
        _key_figures(report),
        _run(report),
        section("Loss", loss_figure(report.losses)),
        section(
            "Validation during training", *validation_figures(report.validations, report.chosen_iteration)
        ),
        section("Accuracy of the model", *_accuracy(report)),
        section("Pictures", *_pictures(report, path)),
        section("Configuration", pairs(_flattened(report.settings), "Every setting of the training")),
        element("footer", f"Written by SKCDFSegmenter {__version__}."),
    ]
    text = document(report.title, parts, line_chart.STYLE)
    with atomic_write(path) as temporary:
        # a file name that is not UTF-8 comes as lone surrogates, and may stand in the command
        temporary.write_bytes(text.encode("utf-8", "replace"))


def _key_figures(report: TrainingReport) -> Markup:
    dice, measured = _mean_dice(report.accuracy)
    last = max((point.iteration for point in report.losses), default=None)
    figures = [
        ("Mean Dice", dice_text(dice) if measured else NOT_MEASURED, f"of {count(measured, 'organ')}"),
        ("Training time", _duration(report.seconds), "h : min : s"),
        ("Iterations", NOT_RECORDED if last is None else f"{last:,}", ""),
        ("Time per iteration", _seconds(report.seconds_per_iteration), ""),
        ("Peak memory", _memory(report.peak_memory_bytes), ""),
    ]
    boxes = []
    for name, value, note in figures:
        missing = value in (NOT_MEASURED, NOT_RECORDED)
        parts = [element("span", value, class_="missing" if missing else "")]
        parts += [element("small", note)] if note and not missing else []
        boxes.append(element("div", joined([element("dt", name), element("dd", joined(parts))])))
    return element("dl", joined(boxes), class_="figures")


def _run(report: TrainingReport) -> Markup:
    chosen = report.chosen_iteration
    rows = [
        ("Method", report.method),
        ("Protocol", report.protocol or "none of the published ones"),
        *((name, f"{value:,}" if isinstance(value, int) else value) for name, value in report.data.items()),
        ("Device", report.device),
        ("Weights kept", _kept(chosen)),
        ("Command", _command(report.command)),
    ]
    return section("The run", pairs(rows, "What was done, with what, where"))


def _kept(chosen: int | None) -> str:
    if chosen is None:
        return "not chosen by validation"
    return (
        f"those of iteration {chosen:,}" if chosen else "those of the start, since no later ones were better"
    )


def _command(command: str | None) -> str:
    """The command with lines broken only between its words, so that no option is torn."""
    if not command:
        return NOT_RECORDED
    return element("code", Markup(" ".join(element("span", word) for word in command.split(" "))))


def _accuracy(report: TrainingReport) -> Iterator[Markup]:
    if not report.accuracy:
        yield nothing("The accuracy of the model was not measured.")
        return
    yield element("p", element("strong", report.notice))
    rows = [
        [
            readable(organ.organ),
            _text(organ.dice, 3),
            _dot(organ.dice),
            _text(organ.average_surface_distance_mm, 2),
            _text(organ.hausdorff95_mm, 1),
            *(str(number) for number in (organ.counted, organ.missed, organ.spurious)),
            str(organ.absent + organ.unknown),
        ]
        for organ in report.accuracy
    ]
    dice, measured = _mean_dice(report.accuracy)
    head = ["Organ", "Dice", Markup("0 to 1"), "ASD mm", "HD95 mm", "n", "missed", "spurious", "not counted"]
    foot = [f"mean of {count(measured, 'organ')}", dice_text(dice), *[""] * (len(head) - 2)]
    yield table(head, rows, report.accuracy_protocol or "Which cases these are was not recorded.", foot)
    yield element(
        "p",
        "Mean ± standard deviation over cases; no ± where there is one case. n: the cases that count in Dice. "
        "Missed: only the reference has the organ; spurious: only the model found it; both count as Dice 0. "
        "Not counted: neither has the organ, or it was not annotated. ASD and HD95, the average and the 95 % "
        "Hausdorff surface distance, are over the cases in which both have it.",
        class_="quiet",
    )


def _pictures(report: TrainingReport, path: Path | str) -> Iterator[Markup]:
    if not report.pictures:
        yield nothing("No picture was drawn.")
    for each in report.pictures:
        try:
            yield figure(picture(each.png, each.caption), each.caption)
        except ValueError as error:
            raise SkcdfError(
                f"{path}: the picture “{each.caption}” is {error}.", "Draw it as PNG."
            ) from error


def _flattened(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values, those of nested objects with the outer name before a dot."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flattened(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", value
        else:
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False, default=str)


def _mean_dice(accuracy: Sequence[OrganSummary]) -> tuple[float, int]:
    """Mean over organs, and of how many."""
    counted = [organ.dice.mean for organ in accuracy if organ.dice.n]
    return mean(counted), len(counted)


def _text(statistic: Statistic, digits: int) -> str:
    if not statistic.n:
        return "–"  # noqa: RUF001
    spread = f" ± {statistic.sd:.{digits}f}" if statistic.n > 1 else ""
    return f"{statistic.mean:.{digits}f}{spread}"


def _dot(dice: Statistic) -> Markup:
    """Mean and spread on a line from 0 to 1; the column beside it says the same in figures."""
    marks = '<path d="M2 6H98M2 3V9M98 3V9"/>'
    if dice.n:
        x, reach = 2 + 96 * dice.mean, 96 * dice.sd if dice.n > 1 else 0.0
        marks += (
            f'<path class="spread" d="M{max(x - reach, 2):.1f} 6H{min(x + reach, 98):.1f}"/>' if reach else ""
        )
        marks += f'<circle cx="{x:.1f}" cy="6" r="3.5"/>'
    return Markup(
        f'<svg class="dot" viewBox="0 0 100 12" preserveAspectRatio="xMinYMid" aria-hidden="true">{marks}</svg>'
    )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))) if math.isfinite(seconds) else NOT_MEASURED


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if math.isfinite(seconds) else NOT_MEASURED


def _memory(size: int | None) -> str:
    if size is None:
        return NOT_MEASURED
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
