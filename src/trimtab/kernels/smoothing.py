"""Exponential memories: mean and variance with finite weights, Wilder's relative strength, and annualising."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined


class Ewm(NamedTuple):
    """Exponentially weighted mean and biased variance of what was read; weight is the sum of the weights."""

    alpha: float
    weight: float
    mean: float
    variance: float


class Rsi(NamedTuple):
    """Wilder's averages of gains and losses; changes counts those that were read, value is in [0, 100]."""

    length: int
    changes: int
    previous: float
    gain: float
    loss: float
    value: float


@compiled
def ewm_init(alpha: float) -> Ewm:
    """An empty memory in which a value counts (1 - alpha)**k after k more rows; alpha in (0, 1)."""
    return Ewm(alpha, 0.0, np.nan, np.nan)


@inlined
def ewm_step(s: Ewm, x: float) -> Ewm:
    """Read x; a NaN is passed over. The first value gives a variance of 0.

    Weights are divided by their sum, so the first rows carry no seed: mean and variance are those of the weighted
    sample, without a correction for its size. Source: West (1979), CACM 22(9), with decaying weights.
    """
    if x != x:  # NaN
        return s
    kept = (1.0 - s.alpha) * s.weight
    weight = kept + 1.0
    if kept == 0.0:
        return Ewm(s.alpha, weight, x, 0.0)
    gap = x - s.mean
    share = kept / weight
    return Ewm(s.alpha, weight, s.mean + gap / weight, share * (s.variance + gap * gap / weight))


@inlined
def annualised(vol: float, periods: float) -> float:
    """Per-bar volatility as a yearly one; periods is bars per year."""
    return vol * np.sqrt(periods)


@compiled
def rsi_init(length: int) -> Rsi:
    """Relative strength over `length` changes, 1 or more."""
    return Rsi(length, -1, np.nan, 0.0, 0.0, np.nan)


@inlined
def rsi_step(s: Rsi, x: float) -> Rsi:
    """Read a price; a NaN is passed over. value is NaN for the first `length` rows, and where nothing ever moved.

    The first averages are plain means of the first `length` changes, then each change enters with weight 1 / length.
    value = 100 * gain / (gain + loss). Source: Wilder (1978), New Concepts in Technical Trading Systems, sec. VI.
    """
    if x != x:  # NaN
        return s
    changes = s.changes + 1
    if changes == 0:
        return Rsi(s.length, changes, x, 0.0, 0.0, np.nan)
    change = x - s.previous
    # Up to `length` changes the divisor is their count, which makes the recursion their plain mean.
    share = 1.0 / min(changes, s.length)
    gain = s.gain + share * (max(change, 0.0) - s.gain)
    loss = s.loss + share * (max(-change, 0.0) - s.loss)
    value = np.nan
    if changes >= s.length and gain + loss > 0.0:
        value = 100.0 * gain / (gain + loss)
    return Rsi(s.length, changes, x, gain, loss, value)
