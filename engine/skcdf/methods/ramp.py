"""How the weight of what unlabelled images teach grows (`docs/methods.md` §4.3)."""

from __future__ import annotations

import math


def ramp(progress: float, weight: float) -> float:
    """λ = w · exp(−5 (1 − t)²)."""
    return weight * math.exp(-5 * (1 - progress) ** 2)
