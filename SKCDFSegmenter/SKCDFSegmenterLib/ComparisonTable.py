"""Before and after, as a clinician reads it: the rows of a comparison, its recommendation and its notes in words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from skcdf.comparison import HOW_TO_GET_CASES, Comparison, Row
from skcdf.labels import LabelSet
from skcdf.verdicts import FEWEST_CASES, MEAN

from .Texts import _, plural

NOTHING = "–"  # noqa: RUF001 - the dash of a table's empty cell


@dataclass(frozen=True)
class ComparisonRow:
    """One line of the table, each cell as text.

    Attributes:
        organ: as people call it.
        cases: how many validation cases count.
        dice: mean Dice of the old model, and of the new one in a second line.
        difference: mean of the differences, and its interval in a second line.
        verdict: better, worse, cannot tell, or why there is none.
    """

    organ: str
    cases: str
    dice: str
    difference: str
    verdict: str

    @property
    def cells(self) -> tuple[str, ...]:
        """From left to right, narrow enough for Slicer's module panel."""
        return (f"{self.organ}\n{self.verdict}, {self.cases}", self.dice, self.difference)


@dataclass(frozen=True)
class ComparisonTable:
    """A comparison, ready to be shown.

    Attributes:
        head: names of the columns.
        tips: what the columns mean, longer.
        rows: the mean of organs first, since it is asked for first.
        models: which models were compared, on what.
        recommendation: what to do, and why.
        notes: what must be known of the figures, a sentence each.
    """

    head: tuple[str, ...]
    tips: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    models: str
    recommendation: str
    notes: tuple[str, ...]


def comparisonTable(
    comparison: Comparison, labelSet: LabelSet | None = None, newModel: str = ""
) -> ComparisonTable:
    """The table of a comparison.

    Args:
        comparison: of the engine.
        labelSet: knows the organs' titles; an organ that it lacks keeps its name.
        newModel: what the new model is called; empty: as when it was compared, which was before it got its version.
    """
    titles = {label.name: label.title for label in labelSet.labels} if labelSet is not None else {}
    head = (_("Organ and verdict"), _("Dice"), _("Change"))
    tips = (
        _(
            "The first row is the mean over all organs. Better or worse only where the whole range of the change is "
            "on one side of zero, from three cases on. Cases: how many validation cases show the organ; none of them "
            "was trained on."
        ),
        _("Overlap with the annotation, 0 to 1: of the model in use, then of the new one."),
        _(
            "Mean of new minus old over the same cases. Below: the range in which it lies with 95 % confidence. "
            "If that range holds zero, nobody can tell."
        ),
    )
    rows = [_row(row, titles, comparison.before is not None) for row in (comparison.mean, *comparison.organs)]
    return ComparisonTable(
        head,
        tips,
        tuple(rows),
        _models(comparison, newModel or comparison.after),
        _withTitles(recommendationWords(comparison), titles),
        tuple(_withTitles(note, titles) for note in notesOf(comparison)),
    )


def recommendationWords(comparison: Comparison) -> str:
    """What to do with the new model, and why."""
    advice = {
        "promote": _("Recommended: use the new model."),
        "keep the old model": _("Recommended: keep the old model."),
        "cannot tell whether better": _("It cannot be told whether the new model is better."),
    }[comparison.recommendation]
    return f"{advice} {comparison.reason}"


def notesOf(comparison: Comparison) -> tuple[str, ...]:
    """What must be known of the figures: how to get better ones, the engine's notes, cases that do not count."""
    leftOut = [
        _("{case} does not count: {reason}").format(case=each.case, reason=each.reason)
        for each in comparison.left_out
    ]
    few = [HOW_TO_GET_CASES] if comparison.mean.n < FEWEST_CASES else []
    return (*few, *comparison.notes, *leftOut)


def _models(comparison: Comparison, new: str) -> str:
    count = len(comparison.cases)
    cases = plural(_("{n} validation case"), _("{n} validation cases"), count).format(n=count)
    if comparison.before is None:
        return _("{new} on {cases}; there was no model before.").format(new=new, cases=cases)
    return _("{old}, in use, and {new}, new, on the same {cases}.").format(
        old=comparison.before, new=new, cases=cases
    )


def _withTitles(text: str, titles: dict[str, str]) -> str:
    """The engine's sentence with ``right_kidney`` as people call it."""
    return re.sub(r"[a-z0-9]+(?:_[a-z0-9]+)+", lambda found: titles.get(found[0], found[0]), text)


def _row(row: Row, titles: dict[str, str], compared: bool) -> ComparisonRow:
    title = _("Mean of organs") if row.organ == MEAN else titles.get(row.organ, row.organ.replace("_", " "))
    dice = f"{_dice(row.before)}\n→ {_dice(row.after)}" if compared else _dice(row.after)
    cases = plural(_("{n} case"), _("{n} cases"), row.n).format(n=row.n)
    return ComparisonRow(title, cases, dice, _difference(row), _verdict(row, compared))


def _dice(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _difference(row: Row) -> str:
    if row.difference is None:
        return NOTHING
    if row.interval is None:
        return signed(row.difference)
    low, high = row.interval
    return f"{signed(row.difference)}\n{signed(low)} … {signed(high)}"


def _verdict(row: Row, compared: bool) -> str:
    if row.verdict is None:
        return {
            "to the old": _("lost: the new model lacks it"),
            "to the new": _("new organ") if compared else NOTHING,
            "to both": NOTHING,
        }[row.known]
    if row.verdict == "cannot tell" and row.n < FEWEST_CASES:
        return _("too few cases")
    return {"better": _("better"), "worse": _("worse"), "cannot tell": _("cannot tell")}[row.verdict]


def signed(value: float) -> str:
    """A difference of Dice with its sign: a real minus, as wide as the plus; none for what rounds to zero."""
    text = f"{abs(value):.3f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "−") + text  # noqa: RUF001
