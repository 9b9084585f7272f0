"""Monte Carlo, where no closed form is exact: seeded, with its standard error, and with as little noise as it can have.

Diffusions are watched at every instant, not only at the steps: between two steps the path is a Brownian bridge, of
which the chance of a crossing and the law of the maximum are known. Samples of returns are watched once a period.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.portfolio.sizing import diffusion
from trimtab.portfolio.sizing.edges import Draws, Edge, Estimate, Sample, gross_of
from trimtab.types import F64

#: Single returns drawn for one probability, about: of whole paths, and of paths up to a level, which differ little.
_BUDGET: Final = 4_000_000
_TILTED_BUDGET: Final = 1_000_000
#: A closed interval for a probability that is narrower than this needs no simulation.
_NARROW: Final = 1e-4
_BLOCK: Final = 64


def estimate(values: NDArray[np.floating] | NDArray[np.bool_]) -> Estimate:
    """Mean of independent draws and its standard error; of True and False, the share that is True."""
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)))


def bridge_crossing(before: F64, after: F64, barrier: F64 | float, variance: F64 | float) -> F64:
    """P(a Brownian bridge between two points touches the barrier below), 1 where an end is on it or beneath.

    before, after, barrier in the same unit; variance of the step, in its square. For a barrier above give all three
    with the other sign. Source: Karatzas, Shreve (1991), 4.3.40.
    """
    room = np.maximum(before - barrier, 0.0) * np.maximum(after - barrier, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.where(room > 0.0, 2.0 * room / variance, 0.0)
    return np.exp(-exponent)


def bridge_maximum(before: F64, after: F64, variance: float, uniform: F64) -> F64:
    """The maximum of a Brownian bridge between two points, drawn by a uniform number in (0, 1]."""
    return 0.5 * (before + after + np.sqrt((after - before) ** 2 - 2.0 * variance * np.log(uniform)))


def below_within(edge: Edge, fraction: float, level: float, horizon: float, draws: Draws) -> Estimate:
    """P(wealth <= level * start by the horizon) of a diffusion; unbiased for any number of steps.

    Here to be compared with `diffusion.prob_below_within`, which is exact.
    """
    rng = np.random.default_rng(draws.seed)
    dt = horizon / draws.steps
    growth, variance = diffusion.growth_rate(edge, fraction) * dt, diffusion.volatility(edge, fraction) ** 2 * dt
    log_wealth, survival, barrier = np.zeros(draws.paths), np.ones(draws.paths), math.log(level)
    for _ in range(draws.steps):
        after = log_wealth + growth + math.sqrt(variance) * rng.standard_normal(draws.paths)
        survival *= 1.0 - bridge_crossing(log_wealth, after, barrier, variance)
        log_wealth = after
    return estimate(1.0 - survival)


def drawdown_within(edge: Edge, fraction: float, depth: float, horizon: float, draws: Draws) -> Estimate:
    """P(a fall of `depth` from a running peak within the horizon) of a diffusion.

    The peak of every step is drawn from its exact law, and the fall is looked for in every bridge; what is neglected is
    a step that holds a new peak and a fall of the whole depth, so there should be many steps to a typical fall.
    """
    rng = np.random.default_rng(draws.seed)
    dt = horizon / draws.steps
    growth, variance = diffusion.growth_rate(edge, fraction) * dt, diffusion.volatility(edge, fraction) ** 2 * dt
    log_wealth, peak, survival = np.zeros(draws.paths), np.zeros(draws.paths), np.ones(draws.paths)
    h = -math.log1p(-depth)
    for _ in range(draws.steps):
        after = log_wealth + growth + math.sqrt(variance) * rng.standard_normal(draws.paths)
        peak = np.maximum(peak, bridge_maximum(log_wealth, after, variance, 1.0 - rng.random(draws.paths)))
        survival *= 1.0 - bridge_crossing(log_wealth, after, peak - h, variance)
        log_wealth = after
    return estimate(1.0 - survival)


# ---------------------------------------------------------------------------------------------------------------------
# Samples of returns
# ---------------------------------------------------------------------------------------------------------------------


def log_gross(sample: Sample, fraction: float) -> tuple[F64, F64]:
    """log of the possible factors of wealth and their probabilities; -inf where everything is lost."""
    live = sample.probability > 0.0
    gross = gross_of(sample, fraction)[live]
    return np.log(gross, out=np.full(gross.size, -np.inf), where=gross > 0.0), sample.probability[live]


def log_power_mean(log_factor: F64, probability: F64, power: float) -> float:
    """log E[factor ** power], by log-sum-exp: for large powers the terms alone would overflow."""
    exponent = power * log_factor
    top = float(exponent.max())
    return top + math.log(float(probability @ np.exp(exponent - top)))


def ever_below(sample: Sample, fraction: float, level: float, draws: Draws) -> Estimate:
    """P(wealth ever <= level * start) when returns are drawn from the sample without end.

    With x the exponent at which E[factor ** -x] = 1, wealth ** -x is a martingale. Under the probabilities that it
    makes, wealth falls below the level for sure, and the probability sought is the mean of (wealth there) ** x: no path
    is cut off, and the noise is only that of the overshoot. Where the overshoot hardly matters the answer is Lundberg's
    interval [(level * worst factor) ** x, level ** x]: its middle, with half its width as the error.
    Source: Siegmund (1976), Annals of Statistics 4(4); Asmussen, Albrecher (2010), Ruin Probabilities, ch. XV.
    """
    x, p = log_gross(sample, fraction)
    worst = float(x.min())
    if worst == -math.inf:
        return Estimate(1.0)  # in endless play, what can take all will
    if worst >= 0.0:
        return Estimate(0.0)
    if float(p @ x) <= 0.0:
        return Estimate(1.0)
    power = _adjustment(x, p)
    barrier = math.log(level)
    high, low = math.exp(power * barrier), math.exp(power * (barrier + worst))
    if high - low < _NARROW:
        return Estimate(0.5 * (high + low), 0.5 * (high - low))
    tilted = p * np.exp(-power * x)
    tilted /= tilted.sum()
    steps = (-barrier - worst) / -float(tilted @ x)
    paths = int(min(draws.paths, max(200.0, _TILTED_BUDGET / steps)))
    return estimate(np.exp(power * _first_below(x, tilted, barrier, paths, draws.seed)))


def _adjustment(x: F64, p: F64) -> float:
    """The positive root of log E[exp(-power * x)], convex, 0 at 0 and falling there."""
    high = 1.0
    while log_power_mean(x, p, -high) < 0.0:
        high *= 2.0
    low = 0.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if log_power_mean(x, p, -middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)


def _first_below(x: F64, p: F64, barrier: float, paths: int, seed: int) -> F64:
    """(paths,) sums of draws from x where they first are at the barrier or below; their mean must be negative."""
    rng = np.random.default_rng(seed)
    found: list[F64] = []
    start = np.zeros(paths)
    while start.size:
        walk = start[:, None] + np.cumsum(x[_drawn(rng, p, (start.size, _BLOCK))], axis=1)
        below = walk <= barrier
        met = below.any(axis=1)
        found.append(walk[met, below[met].argmax(axis=1)])
        start = walk[~met, -1]
    return np.concatenate(found)


def _drawn(rng: np.random.Generator, p: F64, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Indices drawn with probabilities p."""
    if p.min() == p.max():
        return rng.integers(0, p.size, shape)
    edges: F64 = np.cumsum(p)
    uniform: F64 = rng.random(shape)
    return np.asarray(np.searchsorted(edges[:-1], uniform * edges[-1], side="right"), np.int64)


def walks(sample: Sample, fraction: float, periods: int, draws: Draws) -> F64:
    """(paths, periods) log wealth after each period; every fraction on the same draws, long paths fewer of them."""
    rng = np.random.default_rng(draws.seed)
    count = max(500, min(draws.paths, _BUDGET // periods))
    x, p = log_gross(sample, fraction)
    return np.cumsum(x[_drawn(rng, p, (count, periods))], axis=1)


def fell(walk: F64, depth: float) -> NDArray[np.bool_]:
    """(paths,) did it fall by `depth` from its running peak, the start included?"""
    peak = np.maximum(np.maximum.accumulate(walk, axis=1), 0.0)
    with np.errstate(invalid="ignore"):  # what lost all has fallen: -inf less a finite peak
        return np.min(walk - peak, axis=1) <= math.log1p(-depth)
