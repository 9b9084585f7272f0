"""The normal distribution from Python's own library: the core installs no scipy, and four functions suffice."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

_STANDARD: Final = NormalDist()
#: Below it the asymptotic series is exact to 1e-13.
_TAIL: Final = -25.0


def density(x: float) -> float:
    """Standard normal density at x."""
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def distribution(x: float) -> float:
    """P(Z <= x), accurate in both tails; infinite x gives 0 and 1."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def mills_ratio(x: float) -> float:
    """P(Z <= x) over the density at x, for x up to 0: of two numbers that a float may both be too large to hold.

    Source of the tail: Abramowitz and Stegun (1964), 26.2.12.
    """
    if x > _TAIL:
        return distribution(x) / density(x)
    square = x * x
    return -(1.0 - (1.0 - (3.0 - (15.0 - 105.0 / square) / square) / square) / square) / x


def quantile(p: float) -> float:
    """The x with P(Z <= x) = p; infinite at 0 and 1."""
    if p <= 0.0:
        return -math.inf
    return math.inf if p >= 1.0 else _STANDARD.inv_cdf(p)
