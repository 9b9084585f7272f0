"""Moving-average cross: hold while a short average of the close is above a long one.

Idea      a trend that has lasted for `fast` bars against `slow` bars tends to last longer.
Formula   mean(close, fast) against mean(close, slow), windows including the current bar, compared cross-multiplied as
          slow * sum(fast) against fast * sum(slow) on integer ticks where the tick is known, so ties are exact.
          Above: +1. Below: 0, or -1 with `short`. Equal: the previous side stays (flat, if there was none).
Source    Brock, Lakonishok, LeBaron (1992), J. Finance 47(5); Kaufman, Trading Systems and Methods, ch. 8.
Fails     in ranges: each swing inside the range costs a round trip; and with fees that are large against the swing.
Typical   win rate 30-45%, few large winners; holds about `slow` bars in a trend, a few bars in a range.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import RESUM, ring_of, ring_sum
from trimtab.types import F64, Strategy, TrimtabError


class Params(NamedTuple):
    """fast, slow: window lengths in bars; short: whether below means short instead of flat."""

    fast: int = 20
    slow: int = 50
    short: bool = False


class State(NamedTuple):
    """ring of closes; rows read; resum: the row of the next re-addition; gap: slow * sum(fast) - fast * sum(slow)."""

    ring: F64
    rows: int
    resum: int
    gap: float
    side: float


@compiled
def init(p: Params) -> State:
    return State(ring_of(p.slow), 0, p.slow, np.nan, 0.0)


@compiled
def gap_of(ring: F64, rows: int, p: Params) -> float:
    """The gap added up from the ring after `rows` rows."""
    return p.slow * ring_sum(ring, rows - p.fast, p.fast) - p.fast * ring_sum(ring, rows - p.slow, p.slow)


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    """One ring and one accumulator serve both windows: of integers the gap is exact, else it is re-added on schedule.

    The gap is NaN until the slow window is full, which the first re-addition ends, and while a NaN is remembered: then
    the forecast abstains.
    """
    close = x[0, 0]
    size = s.ring.shape[0]
    mask = np.uint64(size - 1)
    left_fast = s.ring[np.uint64(s.rows + (size - p.fast)) & mask]
    left_slow = s.ring[np.uint64(s.rows + (size - p.slow)) & mask]
    gap = s.gap + (p.slow * (close - left_fast) - p.fast * (close - left_slow))
    s.ring[np.uint64(s.rows) & mask] = close
    rows, resum = s.rows + 1, s.resum
    if rows == resum:
        gap = gap_of(s.ring, rows, p)
        resum += RESUM
    # Selects, not branches: a cross is what the processor cannot predict.
    side = 1.0 if gap > 0.0 else s.side
    side = (-1.0 if p.short else 0.0) if gap < 0.0 else side
    return State(s.ring, rows, resum, gap, side), (side if gap == gap else np.nan)  # NaN


def warmup(p: Params) -> int:
    if p.fast >= p.slow:
        raise TrimtabError(f"sma_cross: fast ({p.fast}) must be below slow ({p.slow}); swap them, or lengthen slow.")
    return p.slow - 1


STRATEGY = Strategy(
    name="sma_cross",
    fields=("ticks",),
    params=Params(),
    ranges={"fast": (1, 5_000), "slow": (2, 10_000), "short": (0, 1)},
    init=init,
    step=step,
    warmup=warmup,
)
