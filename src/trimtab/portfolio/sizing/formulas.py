"""The arithmetic that the functions of this package and the compiled sizers share: plain numbers, nothing checked.

numba compiles these as they stand.
"""

from __future__ import annotations


def volatility_multiple(target: float, vol: float, cap: float) -> float:
    """target / vol, at most cap."""
    return min(cap, target / vol)


def confidence_weight(confidence: float, threshold: float, power: float) -> float:
    """What a confidence in [0, 1] is worth: 0 up to the threshold, then rising to 1 as a power."""
    if confidence <= threshold:
        return 0.0
    share = (min(confidence, 1.0) - threshold) / (1.0 - threshold)
    return share if power == 1.0 else share**power  # the commonest power, without the cost of one


def kelly_fraction(excess: float, variance: float) -> float:
    """Growth-optimal fraction of a diffusion."""
    return excess / variance


def measured_shrink(sharpe_squared: float, periods: float) -> float:
    """1 - 1 / (T S**2), at least 0, of a ratio that was measured over T periods."""
    noise = sharpe_squared * periods
    return 1.0 - 1.0 / noise if noise > 1.0 else 0.0


def convex_multiple(profit: float, slope: float, low: float, high: float) -> float:
    """1 + slope * profit, within [low, high]."""
    return min(high, max(low, 1.0 + slope * profit))
