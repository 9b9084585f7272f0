"""The business cycle: expansion, slowdown, contraction, recovery, by the yield curve and an index of activity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import Lag, WindowSum, lag_init, lag_step, sum_init, sum_step
from trimtab.portfolio.regime.labels import UNKNOWN, Labels
from trimtab.types import F64

EXPANSION, SLOWDOWN, CONTRACTION, RECOVERY = 0, 1, 2, 3
NAMES = ("expansion", "slowdown", "contraction", "recovery")


class Params(NamedTuple):
    """growth: days over which activity's growth is taken; band: growth inside ±band changes nothing, fraction.

    smoothing: days of the spread's mean; inversion: the mean below which the curve is inverted, fraction; lead: days
    for which an inversion counts.
    """

    growth: int = 126
    band: float = 0.005
    smoothing: int = 21
    inversion: float = 0.0
    lead: int = 252


class State(NamedTuple):
    """past: activity of `growth` days ago; spread: its sum; peak: activity's highest; side of growth: -1, 1, 0 not yet;

    regaining: 1 from a contraction until the peak is seen again; since: days since the curve was inverted, at most
    `lead`; label.
    """

    past: Lag
    spread: WindowSum
    peak: float
    side: int
    regaining: int
    since: int
    label: int


@compiled
def init(p: Params) -> State:
    return State(lag_init(p.growth), sum_init(p.smoothing), 0.0, 0, 0, p.lead, UNKNOWN)


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, int]:
    """Macro: expansion, slowdown, contraction or recovery, by activity's growth and the slope of the yield curve.

    Idea      the curve inverts before activity falls, and activity falls before it is known to: the curve announces,
              the index confirms, and what was lost has to be regained before it is an expansion again.
    Formula   growth = activity / (activity of `growth` days ago) - 1, falling below -band, rising above +band
              inverted when the mean of the last `smoothing` spreads < inversion
              contraction  while growth is falling; what the curve announced has come, so its inversion is forgotten
              slowdown     else, while the curve was inverted within the last `lead` days
              recovery     else, from a contraction until activity is back at its highest
              expansion    else
    Fields    term_spread: 10-year less 3-month (or 2-year) Treasury yield, fraction a year. activity: a positive index
              (industrial production, payrolls), as known on that day: a value of a reference month may be used only
              `lags["activity"]` after that month's first day.
    Source    Estrella, Mishkin (1998), Rev. Economics and Statistics 80(1) (10-year less 3-month, monthly means, four
              quarters ahead); Burns, Mitchell (1946) for phases by the last peak. Half a year and 0.5% are ours: about
              one month's noise of industrial production.
    Fails     a lag keeps the reference month honest, not the vintage: index values of today's databases were revised
              after the fact, so history looks cleaner than it was. Industry is a small part of activity: its own
              recession (2015) and hurricanes (2005) are contractions here and were none of the economy's. Turning
              points are seen up to half a year late, or more.
    """
    spread_now, activity = float(x[0, 0]), float(x[0, 1])
    if not (activity > 0.0 and activity < np.inf and abs(spread_now) < np.inf):
        return s, s.label
    past, spread = lag_step(s.past, activity), sum_step(s.spread, spread_now)
    growth = activity / past.value - 1.0
    side = 1 if growth > p.band else (-1 if growth < -p.band else s.side)
    since = 0 if spread.total < p.inversion * p.smoothing else min(s.since + 1, p.lead)
    regaining = 0 if activity >= s.peak else s.regaining
    label = EXPANSION
    if past.value != past.value or spread.total != spread.total:  # NaN: not warm
        label = UNKNOWN
    elif side < 0:
        label, since, regaining = CONTRACTION, p.lead, 1
    elif since < p.lead:
        label = SLOWDOWN
    elif regaining:
        label = RECOVERY
    return State(past, spread, max(s.peak, activity), side, regaining, since, label), label


@compiled
def fold(p: Params, s: State, x: F64, out: Labels) -> State:
    for t in range(x.shape[0]):
        s, out[t] = step(p, s, x[t])
    return s


def warmup(p: Params) -> int:
    return max(p.growth, p.smoothing - 1)
