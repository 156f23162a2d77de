"""Means over test cases with 95 % bootstrap intervals, alone and as paired differences.

Arrays are ``(seed, case, organ)`` with nan for what is not counted. A mean is over seeds, then cases, then organs,
so that every organ counts alike. Cases are drawn again; seeds are not, since three say nothing of their spread: they
are shown one by one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

DRAWS = 4000
CONFIDENCE = 0.95
_SEED = 20260302
"""Of the draws: the same records always give the same table."""


@dataclass(frozen=True)
class Estimate:
    """A mean and what is known of it.

    Attributes:
        mean: over seeds, cases and organs.
        low, high: ends of its interval over cases.
        seeds: the mean of every seed.
        n: cases with a value.
    """

    mean: float
    low: float
    high: float
    seeds: tuple[float, ...]
    n: int


def estimate(values: np.ndarray) -> Estimate:
    """Mean of ``values`` ``(seed, case, organ)`` with its interval over cases."""
    cases = _nanmean(values, 0)
    number = len(cases)
    # how often each draw takes each case; a draw's mean over cases is then a product of matrices
    times = np.random.default_rng(_SEED).multinomial(number, np.full(number, 1 / number), DRAWS)
    known = np.isfinite(cases)
    counted = times @ known.astype(float)
    organs = np.divide(
        times @ np.where(known, cases, 0.0), counted, out=np.full(counted.shape, np.nan), where=counted > 0
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(_nanmean(organs, 1), (tail, 1 - tail)) if known.any() else (np.nan, np.nan)
    means = tuple(_over_cases(seed) for seed in values)
    return Estimate(_over_cases(cases), float(low), float(high), means, int(known.any(axis=1).sum()))


def difference(better: np.ndarray, than: np.ndarray) -> Estimate:
    """Mean paired difference ``better − than`` over the same cases and organs, and as many seeds of both."""
    seeds = min(len(better), len(than))
    if better.shape[1:] != than.shape[1:]:
        raise ValueError(f"not the same cases and organs: {better.shape} and {than.shape}")
    return estimate(better[:seeds] - than[:seeds])


def _over_cases(cases: np.ndarray) -> float:
    return float(_nanmean(_nanmean(cases, 0), 0))


def _nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an organ that is counted nowhere stays nan
        return np.asarray(np.nanmean(values, axis))
