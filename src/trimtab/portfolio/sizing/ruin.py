"""Kelly under a promise: the fastest growth that keeps the chance of ever falling below a floor small."""

from __future__ import annotations

import math
from collections.abc import Callable

from trimtab.portfolio.sizing.edges import BETWEEN, Edge, Law, Sample, checked
from trimtab.portfolio.sizing.paths import log_gross, log_power_mean
from trimtab.portfolio.sizing.utility import BISECTIONS, LogUtility
from trimtab.types import TrimtabError


def ruin_exponent(floor: float, risk: float) -> float:
    """lambda = log(risk) / log(floor), above 0: the larger, the more careful.

    floor (alpha) and risk (beta) as in `kelly_with_ruin`, both between 0 and 1.
    """
    return math.log(checked("risk", risk, BETWEEN)) / math.log(checked("floor", floor, BETWEEN))


def kelly_share_with_ruin(floor: float, risk: float) -> float:
    """The share of Kelly that a diffusion may hold, over cash: 2 / (1 + lambda), at most 1. Whatever its edge."""
    return min(1.0, 2.0 / (1.0 + ruin_exponent(floor, risk)))


def kelly_with_ruin(law: Law, floor: float, risk: float) -> float:
    """The largest fraction up to Kelly that keeps P(wealth ever below `floor` times its start) <= `risk`.

    floor  (alpha)  part of the STARTING wealth, not of a running peak; between 0 and 1
    risk   (beta)   largest chance of ever being below it; between 0 and 1
    ->              fraction of wealth, at most Kelly; negative: the short side has the edge; 0 without an edge

    The promise holds wherever E[factor ** -lambda] <= 1 with lambda = log(risk) / log(floor).
    Edge    in closed form, and exactly kept: growth = lambda volatility**2 / 2. With a rate of 0 that is the share
            2 / (1 + lambda) of Kelly.
    Sample  by bisection of that mean, which is convex in the fraction. Steps overshoot the floor, so the chance is
            below `risk`.

    Source: Busseti, Ryu, Boyd (2016), J. Investing 25(3).
    Dangerous when the law is not the true one: an edge that is half as good, or gone, breaks the promise, and so do
    losses larger than the sample's and losses in a row. The floor is relative to where you start: solving again from
    each new peak promises something else (and never lets a profit be risked). A promise about a drawdown from the peak
    it is not: that one comes for certain, sooner or later.

    Raises TrimtabError where no fraction keeps the promise: cash that shrinks falls below any floor in time.
    """
    power = ruin_exponent(floor, risk)
    kelly = LogUtility().fraction(law)
    size = _of_edge(law, power) if isinstance(law, Edge) else _of_sample(law, power, kelly)
    if math.isnan(size):
        raise TrimtabError(
            f"no fraction keeps the chance of ever falling below {floor:g} of the start at {risk:g}: the rate is "
            f"{law.rate:g}, so cash shrinks, and the edge does not make up for it. Accept more risk, or measure wealth "
            "against cash: give the mean or the returns over cash and a rate of 0"
        )
    return math.copysign(min(abs(kelly), size), kelly)


def _of_edge(edge: Edge, power: float) -> float:
    """The larger root of (1 + lambda) vol**2 f**2 - 2 |excess| f - 2 rate = 0; NaN without one."""
    a = (1.0 + power) * edge.vol**2
    b = abs(edge.excess)
    square = b * b + 2.0 * edge.rate * a
    return (b + math.sqrt(square)) / a if square >= 0.0 else math.nan


def _of_sample(sample: Sample, power: float, kelly: float) -> float:
    """The largest |fraction| from 0 to Kelly with log E[factor ** -lambda] <= 0, which is convex; NaN without one."""

    def excess(fraction: float) -> float:
        return log_power_mean(*log_gross(sample, fraction), -power)

    if excess(kelly) <= 0.0:
        return abs(kelly)
    near, far = 0.0, kelly
    if excess(near) > 0.0:
        near = _lowest(excess, kelly)
        if excess(near) > 0.0:
            return math.nan
    for _ in range(BISECTIONS):
        middle = 0.5 * (near + far)
        near, far = (middle, far) if excess(middle) <= 0.0 else (near, middle)
    return abs(near)  # the end that keeps it


def _lowest(f: Callable[[float], float], end: float) -> float:
    """Where a convex function is least between 0 and end."""
    low, high = 0.0, end
    for _ in range(BISECTIONS):
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        low, high = (low, right) if f(left) <= f(right) else (left, high)
    return 0.5 * (low + high)
