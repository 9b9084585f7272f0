"""Sharpe, skew and kurtosis of many records at once: what the ledger keeps of each trial.

Compiled, and only loaded when it is asked for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trimtab.compiled import loop
from trimtab.research.inference.spread import spread
from trimtab.types import F64

_CHUNK = 64


def moments_of_rows(returns: NDArray[np.float32], rate: float, threads: int | None = None) -> F64:
    """(S, 3) Sharpe, skew and kurtosis of each row of returns (S, D), as `sharpe.moments_of` says; NaN as there.

    rate  risk-free, per period: taken off each return. A row with a NaN has three.
    """
    out = np.empty((len(returns), 3))

    def work(first: int, last: int) -> None:
        write_moments(returns[first:last], rate, out[first:last])

    spread(work, len(returns), _CHUNK, threads)
    return out


@loop
def write_moments(returns: NDArray[np.float32], rate: float, out: F64) -> None:
    """Two passes over each row: the mean, then what is central to it."""
    days = returns.shape[1]
    for c in range(returns.shape[0]):
        out[c, :] = np.nan
        total, low, high = 0.0, np.inf, -np.inf
        for d in range(days):
            r = np.float64(returns[c, d])
            total += r
            low, high = min(low, r), max(high, r)
        if days < 3 or not high - low > 1e-12 * max(abs(low), abs(high)):
            continue
        mean = total / days
        second, third, fourth = 0.0, 0.0, 0.0
        for d in range(days):
            gap = np.float64(returns[c, d]) - mean
            square = gap * gap
            second += square
            third += square * gap
            fourth += square * square
        second, third, fourth = second / days, third / days, fourth / days
        out[c, 0] = (mean - rate) / math.sqrt(second * days / (days - 1.0))
        out[c, 1] = third / second**1.5
        out[c, 2] = fourth / (second * second)
