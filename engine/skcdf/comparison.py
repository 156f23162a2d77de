"""Before and after: two models on the pinned validation cases, organ by organ, and an honest recommendation.

`compare_models` measures, `Comparison` holds and prints the outcome; `skcdf.verdicts` is the rule and
`skcdf.validation_scores` the evidence. Importable without torch: only measuring needs it.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .cases import Case, Dataset, read_case_labels
from .errors import SkcdfError
from .image import read_image
from .model_parts import Accuracy
from .models import ModelBundle
from .progress import CancelToken, Progress, ProgressCallback, ignore_progress
from .records import FieldError, plain_record, record_from_plain
from .text_table import table
from .validation_scores import CaseScorer, LeakGuard, LeftOut, model_label
from .verdicts import (
    FEWEST_CASES,
    RULE,
    CaseDice,
    Recommendation,
    Row,
    mean_row,
    paired_rows,
    recommend,
)

if TYPE_CHECKING:
    from .device import Device

SCHEMA = 1
WIDTH = 100
HOW_TO_GET_CASES = (
    "How to get validation cases: add corrected scans of further persons to the labelled pool. It keeps the third "
    "labelled person for validation, then every fifth; or say so when you add one. They are never trained on."
)
CHOSEN_ON_THEM = (
    "A training may have chosen its best step on these same cases: then figures are a little too high."
)
_DIGITS = 8
"""Of a checksum, where it tells two models apart."""

__all__ = ["CaseDice", "Comparison", "LeftOut", "Row", "compare_models"]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same validation cases.

    Attributes:
        before: name and version of the old model; ``None``: there is none.
        after: name and version of the new one. Where both are the same, the first digits of the weights' SHA-256
            tell them apart.
        dataset: name of the data set that the cases are from.
        organs: a row for every organ that one of the models knows.
        mean: the row of the mean over organs.
        recommendation: what to do.
        reason: why, a sentence.
        notes: what must be known of the figures, a sentence each.
        cases: Dice in every case that counts.
        left_out: validation cases that are no evidence.
    """

    before: str | None
    after: str
    dataset: str
    organs: tuple[Row, ...]
    mean: Row
    recommendation: Recommendation
    reason: str
    notes: tuple[str, ...]
    cases: tuple[CaseDice, ...]
    left_out: tuple[LeftOut, ...]

    def text(self) -> str:
        """The table and what goes with it, for a terminal."""
        compared = self.before is not None
        head = ["organ", "cases", "before", "after", "difference", "95 % interval", "verdict"]
        rows = [head, *(_cells(row) for row in (*self.organs, self.mean))]
        if not compared:
            rows = [[row[0], row[1], row[3]] for row in rows]
        lines = table(rows).splitlines()
        lines.insert(-1, "-" * max(map(len, lines)))
        cases = f"{len(self.cases)} pinned validation case{'' if len(self.cases) == 1 else 's'}"
        paragraphs = [
            f"before: {self.before or 'no model'}",
            f"after:  {self.after}",
            f"mean Dice on {cases} of {self.dataset}",
            "",
            *lines,
            "",
            *_wrapped(f"Recommendation: {self.recommendation}. {self.reason}"),
            *([] if self.mean.n >= FEWEST_CASES else _wrapped(HOW_TO_GET_CASES)),
            *(_wrapped(f"Rule: {RULE}") if compared else []),
        ]
        if self.left_out:
            paragraphs.append("Left out, because they are no evidence:")
            paragraphs += [line for each in self.left_out for line in _item(f"{each.case}: {each.reason}")]
        if self.notes:
            paragraphs.append("Notes:")
            paragraphs += [line for note in self.notes for line in _item(note)]
        return "\n".join(paragraphs)

    def accuracies(self) -> tuple[Accuracy, ...]:
        """The new model's figures as a model's description holds them."""
        protocol = f"pinned validation cases of {self.dataset}"
        found = []
        organs = [row.organ for row in self.organs if row.known != "to the old"]
        for organ in organs:
            dice = [value for case in self.cases if (value := case.after.get(organ)) is not None]
            if dice:
                sd = float(np.std(dice, ddof=1)) if len(dice) > 1 else None
                found.append(Accuracy(organ, "dice", float(np.mean(dice)), sd, len(dice), protocol))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON."""
        return {"schema": SCHEMA, **plain_record(self)}

    @classmethod
    def from_json(cls, content: Any, source: str = "comparison") -> Comparison:
        """Reads what `to_json` gave.

        Raises:
            SkcdfError: it is of another schema or damaged; the message names ``source`` and the field.
        """
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            raise SkcdfError(f"{source}: comparison schema {schema!r} is not known.", "Compare again.")
        stored = {name: value for name, value in content.items() if name != "schema"}
        try:
            return record_from_plain(cls, stored, source)
        except FieldError as error:
            raise SkcdfError(f"{source}: field {error.field} {error.problem}.", "Compare again.") from error


def compare_models(
    before: ModelBundle | None,
    after: ModelBundle,
    dataset: Dataset,
    device: Device,
    *,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
    cache_folder: Path | None = None,
    gained: bool = True,
) -> Comparison:
    """Measures both models on the validation cases that the data set has now.

    Args:
        before: the model in use; ``None``: there is none.
        after: the new one.
        dataset: labelled cases that are for validation count, each for the organs that were annotated in it.
        device: where to compute.
        progress: called after every case and model.
        cancel: obeyed before every window.
        cache_folder: remembers Dice by weights, scan and label map; ``None``: nothing is remembered.
        gained: whether the new model holds any training; without, it is never recommended.

    Raises:
        Cancelled: the token was raised; what was measured so far is remembered.
        SkcdfError: a model or a case is damaged, or there is too little memory.
    """
    models = [after] if before is None else [before, after]
    cases, used, left_out = _measure(models, dataset, device, progress, cancel, cache_folder)
    rows = paired_rows(cases, before.label_set.names if before else (), after.label_set.names)
    mean = mean_row(cases, before is not None)
    recommendation, reason = recommend(rows, mean, before is not None, gained)
    return Comparison(
        _titles(models)[0] if before else None,
        _titles(models)[-1],
        dataset.name,
        rows,
        mean,
        recommendation,
        reason,
        tuple(_notes(models, used, cases)),
        tuple(cases),
        tuple(left_out),
    )


def _measure(
    models: Sequence[ModelBundle],
    dataset: Dataset,
    device: Device,
    progress: ProgressCallback,
    cancel: CancelToken | None,
    cache_folder: Path | None,
) -> tuple[list[CaseDice], list[Case], list[LeftOut]]:
    """Dice of one model or two in every case that is evidence, these cases, and those that are not."""
    scorers = [CaseScorer(model, device, cache_folder) for model in models]
    guard = LeakGuard(dataset, models)
    validation = [case for case in dataset.validation if case.label is not None]
    steps = len(models) * len(validation)
    cases, used, left_out = [], [], []
    for index, case in enumerate(validation):
        scan = read_image(case.image)
        if reason := guard.reason_against(case, scan):
            left_out.append(LeftOut(case.name, reason))
            progress(Progress("compare", len(models) * (index + 1), steps, case.name))
            continue
        reference = read_case_labels(case, scan, dataset.label_set)
        dice = []
        for number, scorer in enumerate(scorers, start=1):
            if cancel is not None:
                cancel.raise_if_cancelled()
            found = scorer.dice(scan, guard.hash_of(case), reference, dataset.label_set, cancel)
            dice.append({organ: value for organ, value in found.items() if organ in case.annotated})
            progress(Progress("compare", len(models) * index + number, steps, case.name))
        cases.append(CaseDice(case.name, dice[0] if len(models) > 1 else {}, dice[-1]))
        used.append(case)
    return cases, used, left_out


def _notes(
    models: Sequence[ModelBundle],
    cases: Sequence[Case],
    scores: Sequence[CaseDice],
) -> list[str]:
    """What must be known of figures that come from these cases."""
    notes = []
    empty = Counter(organ for score in scores for organ in score.rightly_empty)
    if empty:
        names = ", ".join(f"{organ} ({count})" for organ, count in empty.items())
        notes.append(
            f"Where a case lacks an organ and only one model finds it, that counts as 0 against 1: {names}."
        )
    helped = Counter(name for case in cases if (name := case.proposed_by))
    if helped:
        names = ", ".join(f"{name} ({count})" for name, count in helped.items())
        notes.append(
            f"{helped.total()} of {len(cases)} validation label maps were corrected from a model's proposal: {names}. "
            "They favour that model and those like it."
        )
    if cases:
        notes.append(CHOSEN_ON_THEM)
    persons = len({case.subject for case in cases})
    if persons < len(cases):
        notes.append(
            f"The {len(cases)} cases are of {persons} persons: scans of one person are alike, so the intervals are "
            "narrower than they should be."
        )
    for model, title in zip(models, _titles(models), strict=True):
        training = model.training
        known, scans = len(training.image_hashes), training.labelled_cases + training.unlabelled_cases
        if known < scans or not known:
            notes.append(
                f"{title} does not name all scans that it was trained on ({known} of "
                f"{scans or 'an unknown number'}): whether it has seen a validation case cannot be excluded."
            )
    return notes


def _titles(models: Sequence[ModelBundle]) -> list[str]:
    """Name and version of each; where these are the same, also the first digits of the weights' checksum."""
    titles = [model_label(model) for model in models]
    if len(set(titles)) == len(titles):
        return titles
    digits = [model.weights.sha256[:_DIGITS] if model.weights else "none" for model in models]
    return [f"{title} (weights {each})" for title, each in zip(titles, digits, strict=True)]


def _cells(row: Row) -> list[str]:
    before, after = ("-" if value is None else f"{value:.3f}" for value in (row.before, row.after))
    difference = "-" if row.difference is None else f"{row.difference:+.3f}"
    interval = "-" if row.interval is None else "{:+.3f} to {:+.3f}".format(*row.interval)
    return [
        row.organ,
        str(row.n),
        before,
        after,
        difference,
        interval,
        row.verdict or f"known {row.known} only",
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH)


def _item(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="- ", subsequent_indent="  ")
