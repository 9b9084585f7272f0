"""Hurst exponent: with the last moves where the market has memory, against them where it takes moves back.

Idea      fractional noise with H above 1/2 goes on with what it did, at all horizons at once, and below 1/2 takes it
          back. Estimates of H scatter widely: a window of 512 independent returns shows 0.41 to 0.59. Only an exponent
          that noise would not show in a window of this length counts, not one beyond 0.5.
Formula   y = log returns over the deviation of the 32 before each (at most 4 in size), over the last N = 2^octaves.
          H = mean of two: rescaled range, 0.5 + slope of log(R/S / its expectation for noise) (Anis-Lloyd), and
          detrended fluctuation analysis of order 1, slope of log F, both on log size of blocks of 8, 16 … N / 4.
          It counts outside the band that noise leaves with probability `level`, half on each side: quantiles from
          100,000 windows of each length.
          Next y = b * sum of the last q = `memory` y, b = ((q + 1)^2H - q^2H - 1) / (2 q^2H): the regression of a step
          of fractional noise on the sum of the q before. forecast = next return / (deviation * full), at most 1; 0
          inside the band, and where |next return| <= edge.
Source    Hurst (1951), Trans. American Society of Civil Engineers 116; Anis, Lloyd (1976), Biometrika 63(1); Peng et
          al. (1994), Physical Review E 49(2); Mandelbrot, Van Ness (1968), SIAM Review 10(4). The band is ours.
Fails     short memory looks like long memory in a short window (a correlation of neighbours moves H, in its direction);
          an exponent of the last window is late by half of it. Far from 1/2 the corrected range is drawn towards it,
          so b is too small rather than too large. While the window holds a return that is not defined (a price that is
          not above 0) it abstains.
Typical   on coins of 2020 to 2023, 4h, in the market 1-6% of the bars, for two at a time; win rate 40-50%, payoff
          0.8-2.2: -25 to 21 bps of gross profit per turnover. On daily bars 0-6%, in fewer than 40 trades.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.autocorrelation import sized
from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.fractal import WindowHurst, hurst_init, hurst_step
from trimtab.kernels.hurst_bands import hurst_band
from trimtab.kernels.scaling import RECENT, ScaledMoves, scaled_init, scaled_step
from trimtab.types import F64, Reason, Strategy


class Params(NamedTuple):
    """octaves: 2^octaves returns are looked at; level: probability that noise is traded.

    memory: returns whose sum is followed; full: next return at which the forecast is 1, in deviations of a bar's;
    edge: below which it is 0, a fraction.
    """

    octaves: int = 9
    level: float = 0.05
    memory: int = 4
    full: float = 0.25
    edge: float = 0.0005


class State(NamedTuple):
    """moves, hurst: of the window; low, high: the band of noise."""

    moves: ScaledMoves
    hurst: WindowHurst
    low: float
    high: float


@compiled
def init(p: Params) -> State:
    low, high = hurst_band(p.level, p.octaves - 7)
    return State(scaled_init(), hurst_init(1 << p.octaves), low, high)


@inlined
def slope(exponent: float, memory: int) -> float:
    """Of a step of fractional noise on the sum of the `memory` steps before it."""
    h = 2.0 * min(0.99, max(0.01, exponent))
    own = float(memory) ** h
    return ((memory + 1.0) ** h - own - 1.0) / (2.0 * own)


@compiled
def foretold(p: Params, s: State, hurst: WindowHurst) -> float:
    """The next move, in deviations; 0 inside the band, NaN where the window is not whole."""
    if hurst.run < hurst.length:
        return np.nan
    exponent = 0.5 * (hurst.rescaled + hurst.fluctuation)
    if not (exponent < s.low or exponent > s.high):
        return 0.0
    mask, total = np.uint64(hurst.length - 1), 0.0
    for t in range(1, p.memory + 1):
        total += hurst.ring[np.uint64(hurst.row - t) & mask]
    return slope(exponent, p.memory) * total


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    moves = scaled_step(s.moves, math.log(x[0, 0]) if x[0, 0] > 0.0 else np.nan)
    hurst = hurst_step(s.hurst, moves.value)
    move = foretold(p, s, hurst)
    return State(moves, hurst, s.low, s.high), sized(move * moves.spread, moves.spread, p.full, p.edge)


def warmup(p: Params) -> int:
    return RECENT + (1 << p.octaves)


def explain(p: Params, s: State) -> Reason:
    """The exponent, and the two that it is the mean of."""
    what = f"Hurst exponent (rescaled range {s.hurst.rescaled:.3f}, DFA {s.hurst.fluctuation:.3f})"
    return Reason(what, 0.5 * (s.hurst.rescaled + s.hurst.fluctuation), s.low, s.high, p.level)


STRATEGY = Strategy(
    name="hurst_exponent",
    timeframes=("4h", "1d"),
    fields=("close",),
    params=Params(),
    ranges={
        "octaves": (7, 12),
        "level": (0.002, 0.5),
        "memory": (1, 100),
        "full": (0.001, 10.0),
        "edge": (0.0, 0.1),
    },
    init=init,
    step=step,
    warmup=warmup,
    explain=explain,
)
