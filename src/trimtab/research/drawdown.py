"""Falls from a running peak: depth, length and recovery.

Equity always includes its start, so that a loss on the first day is a drawdown.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trimtab.types import F64, I64


class Drawdowns(NamedTuple):
    """Every spell under a running peak, in order of time, as parallel arrays (E,).

    peak      index into equity of the last touch of the peak
    recovery  index of the first point back at the peak; -1 if it never came back
    depth     deepest equity / peak - 1 of the spell, fraction < 0
    length    points strictly below the peak
    """

    peak: I64
    recovery: I64
    depth: F64
    length: I64


def underwater(equity: ArrayLike) -> F64:
    """equity / running peak - 1 at each point, fraction <= 0; equity (D+1,) starts with the capital."""
    e = np.asarray(equity, dtype=np.float64)
    depth = np.maximum.accumulate(e)
    np.divide(e, depth, out=depth)
    return np.subtract(depth, 1.0, out=depth)


def max_drawdown(equity: ArrayLike) -> float:
    """Deepest fall from a running peak, fraction <= 0; equity (D+1,) includes the start; NaN with no day at all."""
    e = np.asarray(equity, dtype=np.float64)
    return float(underwater(e).min()) if e.size > 1 else math.nan


def drawdowns(equity: ArrayLike) -> Drawdowns:
    """Every spell below a running peak; see Drawdowns. Points level with the peak are not under water."""
    e = np.asarray(equity, dtype=np.float64)
    return drawdowns_from_depth(underwater(e))


def drawdowns_from_depth(depth: F64) -> Drawdowns:
    """As `drawdowns`, of an underwater curve (D+1,) that starts at 0."""
    under = np.concatenate(([False], depth < 0.0, [False]))
    change = np.flatnonzero(under[1:] != under[:-1])
    first, after = change[0::2], change[1::2]
    if first.size == 0:
        none = np.empty(0, np.int64)
        return Drawdowns(none, none, np.empty(0), none)
    recovery = np.where(after < depth.size, after, -1)
    return Drawdowns(first - 1, recovery, np.minimum.reduceat(depth, first), after - first)


def recovery_length(spells: Drawdowns, last: int) -> int:
    """Steps from the peak of the deepest drawdown to its recovery, or to index `last` if it has none; 0 without one."""
    if spells.depth.size == 0:
        return 0
    deepest = int(spells.depth.argmin())
    recovery = int(spells.recovery[deepest])
    return (recovery if recovery >= 0 else last) - int(spells.peak[deepest])
