"""Whether the records decide a claim, and how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .evidence import Evidence, evidence, row_named
from .intervals import Estimate, difference, estimate
from .matrix import NNUNET, Budget, Claim, Matrix
from .records import Records

LEAST_SHARE = 0.9
"""Of the winner's time: who lost with less of it may have lost for that."""


@dataclass(frozen=True)
class Verdict:
    """A claim's state.

    Attributes:
        claim: the claim.
        budget: for which column.
        state: ``reached``, ``missed``, ``not settled`` or ``open``.
        why: in words, with the figures.
        row: the row that `BEST` stood for, or the claim's own.
        estimate: the paired difference, where the claim is one.
    """

    claim: Claim
    budget: Budget
    state: str
    why: str
    row: str | None = None
    estimate: Estimate | None = None


def judge(matrix: Matrix, records: Records, scale: str, claim: Claim, budget: Budget) -> Verdict:
    """Reached: the mean paired difference is at least the margin, its interval lies above 0, and so does every seed.

    Where a seed says the opposite, it is not settled: the interval is over cases and knows nothing of trainings. Nor
    is it at equal time, which is planned from measured steps, where the one that lost had less than 90 % of it.
    """
    row = row_named(matrix, records, scale, claim.dataset, claim.better, budget)
    better = evidence(matrix, records, scale, claim.dataset, row, budget) if row else None
    if better is None:
        return Verdict(claim, budget, "open", f"no figures of {row or 'any complete row'} yet", row)
    if not better.is_complete:
        return Verdict(claim, budget, "open", _seeds(better), row)
    if not claim.than:
        return _least(claim, budget, better)
    than = evidence(matrix, records, scale, claim.dataset, claim.than, budget)
    if than is None:
        return Verdict(claim, budget, "open", f"no figures of {claim.than} yet", row)
    if not than.is_complete:
        return Verdict(claim, budget, "open", _seeds(than), row)
    if claim.than == NNUNET and than.records[0]["status"] != "converged":
        return Verdict(claim, budget, "open", "nnU-Net has not converged: no claim is made", row)
    return _margin(matrix, claim, budget, better, than, matrix.scales[scale]["time"])


def _margin(
    matrix: Matrix, claim: Claim, budget: Budget, better: Evidence, than: Evidence, time: str
) -> Verdict:
    """``time`` names what of a record the budget is counted in."""
    organs = tuple(matrix.datasets[claim.dataset]["smallest"]) if claim.organs == "smallest" else ()
    if better.cases != than.cases:
        raise ValueError(f"{better.row} and {than.row} were tested on other cases")
    one, other = better.values(organs=organs), than.values(organs=organs)
    if len(one) != len(other):  # nnU-Net has one seed: it stands beside the mean of ours
        one = one.mean(0, keepdims=True)
    found = difference(one, other)
    state = "reached" if found.mean >= claim.margin and found.low > 0 else "missed"
    seeds = ", ".join(f"{each:+.3f}" for each in found.seeds)
    why = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}], by seed {seeds}; wanted {claim.margin:+.3f}"
    if state == "reached" and min(found.seeds) <= 0:
        state = "not settled"
    if budget == "time" and than.row != NNUNET:
        loser, winner = (than, better) if state == "reached" else (better, than)
        share = loser.seconds(time) / winner.seconds(time)
        if loser.processors != winner.processors:
            state, why = "not settled", f"{why}; trained on different processors"
        elif share < LEAST_SHARE:
            state, why = "not settled", f"{why}; {loser.row} had only {share:.0%} of the time of {winner.row}"
    return Verdict(claim, budget, state, why, better.row, found)


def _least(claim: Claim, budget: Budget, better: Evidence) -> Verdict:
    """By organ and seed."""
    found = [
        (estimate(better.values(organs=(organ,))[[seed]]).mean, organ, seed)
        for organ in better.organs
        for seed in range(len(better.records))
    ]
    # nan is neither less nor more than a number: what is counted nowhere would be passed over
    for dice, organ, seed in found:
        if not np.isfinite(dice):
            return Verdict(claim, budget, "missed", f"{organ} is counted nowhere, seed {seed}", better.row)
    dice, organ, seed = min(found)
    state = "reached" if dice >= claim.least else "missed"
    return Verdict(claim, budget, state, f"the least is {organ} with {dice:.3f}, seed {seed}", better.row)


def _seeds(found: Evidence) -> str:
    return f"{len(found.records)} of {found.wanted} seeds of {found.row}"
