"""Equity trend: hold the strongest of the instruments that are in an upward trend, equally weighted.

Idea      stocks and indices trend over months; being out of falling markets matters more than being in every rise.
Formula   long when close > mean(close, trend) and close > close `momentum` bars ago, and not under the exit average
          flat when close < mean(close, exit)
          All means include the current bar and are compared cross-multiplied on integer ticks, so ties are exact: at
          equality nothing is entered and nothing is left.
          forecast = 0 when flat, else the trend's strength 1 - close_{t-momentum} / close_t in (0, 1], taken when the
          trend was entered and again every `rerank` bars after (0: never).
          Across the instruments the `max_positions` strongest get 1 / max_positions each, equals in instrument order,
          the others 0. A strength that stands still throws no holder out by noise: only a stronger new trend takes a
          place.
Weights   already fractions of the model's budget: use sizing "fixed".
Source    Faber (2007), J. Wealth Management 9(4) (200-day rule); Jegadeesh, Titman (1993), J. Finance 48(1) (ranking).
Fails     in whipsaws around the averages, and at the first leg of a crash that the 50-day average sees late.
Typical   win rate 35-50%, payoff 2-3; holds one to six months.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import Lag, WindowSum, lag_init, lag_step, sum_init, sum_step
from trimtab.types import F64, Strategy, TrimtabError


class Params(NamedTuple):
    """trend, exit, momentum: days; max_positions: instruments held at once; rerank: days, 0 for never."""

    trend: int = 200
    exit: int = 50
    momentum: int = 60
    max_positions: int = 2
    rerank: int = 0


class State(NamedTuple):
    """slow, fast: sums for the trend and the exit average; past: close of `momentum` days ago; held: days in trend."""

    slow: WindowSum
    fast: WindowSum
    past: Lag
    rows: int
    held: int
    strength: float


@compiled
def init(p: Params) -> State:
    return State(sum_init(p.trend), sum_init(p.exit), lag_init(p.momentum), 0, 0, 0.0)


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    close = x[0, 0]
    slow, fast, past = sum_step(s.slow, close), sum_step(s.fast, close), lag_step(s.past, close)
    warm = s.rows >= p.trend - 1 and s.rows >= p.momentum
    gain = (close - past.value) / close
    under = close * p.exit < fast.total
    enters = close * p.trend > slow.total and gain > 0.0 and not under
    held, strength = s.held, s.strength
    if held == 0:
        held, strength = (1, gain) if warm and enters else (0, 0.0)
    elif under:
        held, strength = 0, 0.0
    else:
        # A trend that is held through a dip of its momentum stays in trend, and ranks last.
        strength = max(gain, 1e-9) if p.rerank > 0 and held % p.rerank == 0 and gain == gain else strength
        held += 1
    return State(slow, fast, past, s.rows + 1, held, strength), (min(strength, 1.0) if warm else np.nan)


@compiled
def across(p: Params, f: F64) -> F64:
    """Weights of the strongest trends.

    f  (N,)  strengths: 0 not in trend, NaN abstains
    -> (N,)  1 / max_positions for the strongest, first instrument first among equals; 0 for the others; NaN stays NaN
    """
    weights = np.where(np.isnan(f), np.nan, 0.0)
    for _ in range(min(p.max_positions, f.shape[0])):
        best = -1
        for i in range(f.shape[0]):
            if weights[i] == 0.0 and f[i] > (0.0 if best < 0 else f[best]):
                best = i
        if best < 0:
            break
        weights[best] = 1.0 / p.max_positions
    return weights


def warmup(p: Params) -> int:
    if p.exit >= p.trend:
        raise TrimtabError(
            f"equity_trend: exit ({p.exit}) must be below trend ({p.trend}); the exit average is the faster one."
        )
    return max(p.trend - 1, p.momentum)


STRATEGY = Strategy(
    name="equity_trend",
    asset_classes=("equity", "index"),
    timeframes=("1d",),
    fields=("ticks",),
    params=Params(),
    ranges={
        "trend": (2, 2_000),
        "exit": (1, 2_000),
        "momentum": (1, 2_000),
        "max_positions": (1, 1_000),
        "rerank": (0, 2_000),
    },
    init=init,
    step=step,
    warmup=warmup,
    across=across,
)
