"""What a fraction does to wealth: growth, and the chances of losing, of ruin and of reaching a goal.

Each answers for an `Edge` (a diffusion; closed forms) and for a `Sample` of returns (exact where it can be, else a
seeded Monte Carlo). Wealth is in money, so what cash earns counts; for wealth measured against cash give means over
cash and a rate of 0. A probability comes as `Estimate(value, error)`, error 0 where it is exact. Nothing here sees
costs, and none of it is better than the belief it is given. NaN and levels that mean nothing raise TrimtabError.
"""

from __future__ import annotations

import math

import numpy as np

from trimtab.portfolio.sizing import diffusion, paths
from trimtab.portfolio.sizing.edges import (
    BETWEEN,
    FINITE,
    POSITIVE,
    Draws,
    Edge,
    Estimate,
    Law,
    Sample,
    checked,
    ruin_fractions,
)
from trimtab.types import F64, TrimtabError
from trimtab.words import shortest


def growth_rate(law: Law, fraction: float) -> float:
    """Expected log growth of wealth per period; the typical (median) path grows like it.

    fraction  of wealth in the bet, rebalanced all the time (Edge) or every period (Sample)
    ->        -inf where one return of the sample takes everything

    Source: Kelly (1956); Thorp (2006), eq. 7.3.
    """
    checked("fraction", fraction, FINITE)
    if isinstance(law, Edge):
        return diffusion.growth_rate(law, fraction)
    log_factor, probability = paths.log_gross(law, fraction)
    return float(probability @ log_factor)


def volatility(law: Law, fraction: float) -> float:
    """Volatility of the position per square root of the period: |fraction| times that of the bet."""
    return abs(checked("fraction", fraction, FINITE)) * law.vol


def prob_ever_below(law: Law, fraction: float, level: float, draws: Draws | None = None) -> Estimate:
    """P(wealth is ever at or below `level` times the start), in unending play.

    level  of the START, not of a running peak; between 0 and 1
    ->     exact for an Edge; for a Sample by importance sampling, where no path is cut off

    With a small level it is the probability of ruin. Source: Thorp (2006), sec. 7; `paths.ever_below`.
    """
    checked("fraction", fraction, FINITE)
    checked("level", level, BETWEEN)
    if isinstance(law, Edge):
        return Estimate(diffusion.prob_ever_below(law, fraction, level))
    return paths.ever_below(law, fraction, level, draws or Draws())


def prob_below_within(law: Law, fraction: float, level: float, horizon: float, draws: Draws | None = None) -> Estimate:
    """P(wealth is at or below `level` times the start at some time up to the horizon).

    horizon  in the law's periods; whole ones for a Sample, which is looked at once a period
    ->       exact for an Edge (watched at every instant), Monte Carlo for a Sample
    """
    _check_span(fraction, horizon)
    checked("level", level, BETWEEN)
    if isinstance(law, Edge):
        return Estimate(diffusion.prob_below_within(law, fraction, level, horizon))
    walk = _walk(law, fraction, horizon, draws)
    return paths.estimate(np.min(walk, axis=1) <= math.log(level))


def prob_drawdown_within(
    law: Law, fraction: float, depth: float, horizon: float, draws: Draws | None = None
) -> Estimate:
    """P(wealth falls by `depth` from a running peak within the horizon); the start counts as a peak.

    depth    fraction of the peak, between 0 and 1
    horizon  in the law's periods; whole ones for a Sample
    ->       an Edge: exact; by Monte Carlo with a bridge correction where the exact series loses its digits (a wealth
             that falls almost surely and almost smoothly). A Sample: Monte Carlo, looked at once a period
    """
    _check_span(fraction, horizon)
    checked("depth", depth, BETWEEN)
    if isinstance(law, Edge):
        exact = diffusion.prob_drawdown_within(law, fraction, depth, horizon)
        if not math.isnan(exact):
            return Estimate(exact)
        return paths.drawdown_within(law, fraction, depth, horizon, draws or Draws())
    return paths.estimate(paths.fell(_walk(law, fraction, horizon, draws), depth))


def prob_at_least(law: Law, fraction: float, target: float, horizon: float, draws: Draws | None = None) -> Estimate:
    """P(wealth >= `target` times the start at the horizon) with a constant fraction.

    `TargetUtility` says the best that any policy can do.
    """
    _check_span(fraction, horizon)
    checked("target", target, POSITIVE)
    if isinstance(law, Edge):
        return Estimate(diffusion.prob_at_least(law, fraction, target, horizon))
    walk = _walk(law, fraction, horizon, draws)
    return paths.estimate(walk[:, -1] >= math.log(target))


def break_even_fraction(law: Law) -> float:
    """The fraction beyond which wealth grows more slowly than cash although the bet has an edge.

    ->  twice Kelly for an Edge, less or more for a Sample; 0 without an edge, infinite where nothing can be lost
    """
    if isinstance(law, Edge):
        return 2.0 * law.excess / law.vol**2
    if law.mean == 0.0:
        return 0.0
    low, high = ruin_fractions(law)
    far = high if law.mean > 0.0 else low
    if math.isinf(far):
        return far
    near, cash = 0.0, math.log1p(law.rate)
    for _ in range(200):  # growth over cash is concave, 0 at 0: above 0 up to the fraction sought
        middle = 0.5 * (near + far)
        near, far = (middle, far) if growth_rate(law, middle) > cash else (near, middle)
    return 0.5 * (near + far)


def _check_span(fraction: float, horizon: float) -> None:
    checked("fraction", fraction, FINITE)
    checked("horizon", horizon, POSITIVE)


def _walk(sample: Sample, fraction: float, horizon: float, draws: Draws | None) -> F64:
    if not float(horizon).is_integer():
        raise TrimtabError(f"horizon is {shortest(horizon)}: a sample of returns knows whole periods only")
    return paths.walks(sample, fraction, int(horizon), draws or Draws())
