"""Is the new model better? The rule by which paired Dice values become a verdict and a recommendation.

Pure arithmetic on the Dice of two models in the same cases; `docs/model-store.md` gives the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["better", "worse", "cannot tell"]
Recommendation = Literal["promote", "keep the old model", "cannot tell whether better"]

FEWEST_CASES = 3
CONFIDENCE = 0.95
MEAN = "mean of organs"
RULE = (
    f"Each row: better or worse when the {100 * CONFIDENCE:g} % interval of the mean paired difference (t "
    f"distribution) leaves out zero; fewer than {FEWEST_CASES} cases, or zero inside: cannot tell. Promote: the mean "
    f"of organs is better, no organ is worse, no organ is lost, and every organ that both models know has at least "
    f"{FEWEST_CASES} cases. Keep the old model: the mean is not better, and it or an organ is worse; or the training "
    "kept its start. Otherwise: cannot tell whether better."
)
NOTHING_GAINED = (
    "Nothing was gained: no step of the training was better on the validation cases than its start, so the start was "
    "kept."
)


@dataclass(frozen=True)
class CaseDice:
    """Dice of both models in one validation case.

    Attributes:
        case: its name.
        before: Dice, 0 to 1, by organ; ``None``: neither the reference nor the model has it there. Only organs that
            the model knows and that were annotated in the case. Empty when there is no model before.
        after: likewise, of the new model.
    """

    case: str
    before: dict[str, float | None]
    after: dict[str, float | None]

    def pair(self, organ: str) -> tuple[float, float] | None:
        """Dice before and after, where both models know the organ and at least one of the three maps has it.

        A model that rightly finds nothing, where the other one finds something, scores 1 against 0.
        """
        if organ not in self.before or organ not in self.after:
            return None
        before, after = self.before[organ], self.after[organ]
        if before is None and after is None:
            return None
        return (1.0 if before is None else before), (1.0 if after is None else after)

    @property
    def rightly_empty(self) -> list[str]:
        """Organs that the reference lacks and one model only finds: those for which `pair` holds a 1 for the other."""
        both = (organ for organ in self.after if organ in self.before)
        return [organ for organ in both if (self.before[organ] is None) != (self.after[organ] is None)]


@dataclass(frozen=True)
class Row:
    """One line of the comparison.

    Attributes:
        organ: the label's name, or `MEAN`.
        n: number of cases that count.
        before: mean Dice of the old model over these; ``None``: it does not know the organ, or no case counts.
        after: mean Dice of the new model, likewise.
        difference: mean of after minus before.
        interval: lower and upper end of the difference's confidence interval; ``None`` with too few cases.
        verdict: ``None`` where only one model knows the organ.
        known: to which model.
    """

    organ: str
    n: int
    before: float | None
    after: float | None
    difference: float | None
    interval: tuple[float, float] | None
    verdict: Verdict | None
    known: Literal["to both", "to the old", "to the new"] = "to both"


def paired_row(organ: str, pairs: Sequence[tuple[float, float]]) -> Row:
    """The row of an organ that both models know.

    Args:
        organ: its name.
        pairs: Dice before and after in every case that counts.
    """
    if not pairs:
        return Row(organ, 0, None, None, None, None, "cannot tell")
    values = np.array(pairs)
    differences = np.round(values[:, 1] - values[:, 0], 9)  # what differs by rounding only is the same
    before, after = (float(mean) for mean in values.mean(0))
    n, mean = len(differences), float(differences.mean())
    if n < FEWEST_CASES:
        return Row(organ, n, before, after, mean, None, "cannot tell")
    low, high = _interval(differences)
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    return Row(organ, n, before, after, mean, (low, high), verdict)


def single_row(organ: str, values: Sequence[float], known: Literal["to the old", "to the new"]) -> Row:
    """The row of an organ that only one model knows.

    Args:
        organ: its name.
        values: Dice of that model in every case that counts.
        known: which model that is.
    """
    mean = float(np.mean(values)) if values else None
    before, after = (mean, None) if known == "to the old" else (None, mean)
    return Row(organ, len(values), before, after, None, None, None, known)


def paired_rows(cases: Sequence[CaseDice], before: Iterable[str], after: Iterable[str]) -> tuple[Row, ...]:
    """A row for every organ that a model knows.

    Args:
        cases: Dice of both models.
        before: organs that the old model knows, none when there is no such model.
        after: organs that the new model knows.
    """
    before, after = tuple(before), tuple(after)
    rows = []
    for organ in dict.fromkeys((*after, *before)):
        if organ in before and organ in after:
            pairs = [pair for case in cases if (pair := case.pair(organ)) is not None]
            rows.append(paired_row(organ, pairs))
        elif organ in before:
            rows.append(single_row(organ, _numbers(case.before.get(organ) for case in cases), "to the old"))
        else:
            rows.append(single_row(organ, _numbers(case.after.get(organ) for case in cases), "to the new"))
    return tuple(rows)


def mean_row(cases: Sequence[CaseDice], compared: bool) -> Row:
    """The row of the mean: of each case's mean over the organs that count in it.

    Args:
        cases: Dice of both models.
        compared: whether there is a model before; if so, only organs count that count for both.
    """
    if not compared:
        means = [float(np.mean(counted)) for case in cases if (counted := _numbers(case.after.values()))]
        return single_row(MEAN, means, "to the new")
    pairs = []
    for case in cases:
        found = [pair for organ in case.after if (pair := case.pair(organ)) is not None]
        if found:
            before, after = np.mean(found, axis=0)
            pairs.append((float(before), float(after)))
    return paired_row(MEAN, pairs)


def recommend(
    rows: Sequence[Row], mean: Row, compared: bool, gained: bool = True
) -> tuple[Recommendation, str]:
    """What to do with the new model, and why, in one sentence.

    Args:
        rows: of all organs.
        mean: the mean of organs.
        compared: whether there is a model before.
        gained: whether the new model holds any training (`skcdf.fine_tune_kept`).
    """
    if not gained:
        return "keep the old model", NOTHING_GAINED
    unsure: Recommendation = "cannot tell whether better"
    worse = [row.organ for row in rows if row.verdict == "worse"]
    lost = [row.organ for row in rows if row.known == "to the old"]
    few = [row.organ for row in rows if row.known == "to both" and row.n < FEWEST_CASES]
    if not compared and mean.n == 0:
        return unsure, "Nothing was measured: no validation case counts, and there is no model before."
    if not compared:
        return unsure, "There is no model before: promote it if its figures are good enough for you."
    if mean.verdict != "better" and (worse or mean.verdict == "worse"):
        names = [*([MEAN] if mean.verdict == "worse" else []), *worse]
        return "keep the old model", f"The new model is worse: {', '.join(names)}."
    if mean.n < FEWEST_CASES:
        return unsure, f"Validation cases that count: {mean.n}; at least {FEWEST_CASES} are needed."
    if mean.verdict != "better":
        return unsure, "The mean of organs may be better or worse: the range of its change holds zero."
    if worse:
        return (
            unsure,
            f"The mean of organs is better, but worse are {', '.join(worse)}: that is for you to weigh.",
        )
    if lost:
        return unsure, f"The mean of organs is better, but the new model does not know {', '.join(lost)}."
    if few:
        return unsure, f"The mean of organs is better, but too few cases show {', '.join(few)}."
    return "promote", "The mean of organs is better, and no organ is worse."


def _interval(differences: np.ndarray) -> tuple[float, float]:
    from scipy import stats  # takes half a second

    n, mean = len(differences), float(differences.mean())
    spread = float(differences.std(ddof=1))
    if math.isclose(spread, 0.0, abs_tol=1e-12):  # all cases agree: the interval is the point
        return mean, mean
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * spread / math.sqrt(n)
    return max(mean - reach, -1.0), min(mean + reach, 1.0)  # Dice cannot differ by more


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
