"""Permutation entropy: where returns come in an order that noise does not make, expect what has followed this order.

Idea      the order of successive returns, up and down and by how much, says what a correlation does not see (cycles,
          maps, asymmetric ones), and no single wild return bears on it. Patterns are always counted unevenly; only
          where they are more uneven than noise would leave them is there something to go by.
Formula   x = log returns; each row ends a pattern, the order of the last `order` of them, `delay` bars apart (equal
          ones in the order of their time). H = entropy of the shares of the order! patterns among the last `window`,
          over ln order!. Noise, of whatever distribution, falls below a bound with the probability `level`; nothing is
          traded where H is above it.
          The last order - 1 returns begin a pattern that the next return ends. m = mean of the returns that have ended
          such a beginning in the window, less the mean of all; its error is deviation / sqrt(times); t = m / error.
          Next return = m (1 - 1 / t^2), 0 where |t| < 1: the positive part James-Stein mean, as a mean of few is
          mostly noise. forecast = next return / (deviation * full), at most 1; 0 where |next return| <= edge.
Source    Bandt, Pompe (2002), Physical Review Letters 88, 174102; Elsinger (2010), OeNB working paper 165 (overlapping
          patterns under the null); James, Stein (1961), 4th Berkeley Symposium 1. The forecast is ours.
Fails     where many returns are 0 (thin markets, coarse ticks): ties are orders too, and entropy is low without any
          meaning; where volatility changes by the clock or clusters strongly, which also makes orders (noise passes a
          little more often then); and where the order that was seen ends. While the window holds a return that is not
          defined (a price that is not above 0) it abstains.
Typical   on coins of 2020 to 2023, 1h and 4h, in the market 2-6% of the bars, for one or two at a time; win rate
          50-54%, payoff 0.9-1.1: -1 to 9 bps of gross profit per turnover, mostly less than its costs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.autocorrelation import STILL, sized
from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.ordinal import WindowPatterns, after, beginning, entropy_bound, patterns_init, patterns_step
from trimtab.kernels.window import deviation
from trimtab.types import F64, Reason, Strategy, TrimtabError


class Params(NamedTuple):
    """window: patterns; order: returns of a pattern; delay: bars between them; level: probability that noise is traded.

    full: next return at which the forecast is 1, in deviations of a bar's; edge: below which it is 0, a fraction.
    """

    window: int = 500
    order: int = 4
    delay: int = 1
    level: float = 0.05
    full: float = 0.25
    edge: float = 0.0005


class State(NamedTuple):
    """patterns: the window; previous: log close; bound: of the entropy."""

    patterns: WindowPatterns
    previous: float
    bound: float


@compiled
def init(p: Params) -> State:
    return State(patterns_init(p.window, p.order, p.delay), np.nan, entropy_bound(p.level, p.window, p.order))


@compiled
def foretold(patterns: WindowPatterns, spread: float) -> float:
    """The next return less the mean, by those that have ended the pattern that has begun; shrunk."""
    times, total = after(patterns, beginning(patterns))
    if times == 0 or not spread > STILL:
        return 0.0
    t = total / (spread * math.sqrt(float(times)))
    return total / times * (1.0 - 1.0 / (t * t)) if abs(t) > 1.0 else 0.0


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    level = math.log(x[0, 0]) if x[0, 0] > 0.0 else np.nan
    patterns = patterns_step(s.patterns, level - s.previous)
    forecast = patterns.entropy  # NaN, which compares false
    if patterns.entropy >= s.bound:
        forecast = 0.0
    elif patterns.entropy < s.bound:
        spread = deviation(patterns.values, 1)
        forecast = sized(foretold(patterns, spread), spread, p.full, p.edge)
    return State(patterns, level, s.bound), forecast


def warmup(p: Params) -> int:
    least = 10 * math.factorial(p.order)
    if p.window < least:
        raise TrimtabError(f"permutation_entropy: window ({p.window}) must be at least {least}, ten times {p.order}!.")
    return p.window + (p.order - 1) * p.delay


def explain(p: Params, s: State) -> Reason:
    """The entropy of the window."""
    return Reason("permutation entropy", float(s.patterns.entropy), float(s.bound), math.inf, p.level)


STRATEGY = Strategy(
    name="permutation_entropy",
    timeframes=("1h", "4h"),
    fields=("close",),
    params=Params(),
    ranges={
        "window": (60, 20_000),
        "order": (3, 5),
        "delay": (1, 100),
        "level": (1e-4, 0.5),
        "full": (0.001, 10.0),
        "edge": (0.0, 0.1),
    },
    init=init,
    step=step,
    warmup=warmup,
    explain=explain,
)
