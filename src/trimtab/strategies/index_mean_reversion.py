"""Index mean reversion: buy short, sharp falls of a broad index and sell the bounce.

Idea      index falls of a few days overshoot: sellers who must sell pay those who need not.
Formula   long  when RSI(close, rsi_length) < entry_rsi and close < lower Bollinger band (window, width)
          flat  when RSI > exit_rsi or close > the middle band
          With `short` mirrored: short when RSI > 100 - entry_rsi and close > upper band; flat when RSI < 100 -
          exit_rsi or close < the middle band. Every comparison is strict: equal does nothing. One change per bar.
          RSI is Wilder's; the bands use the population deviation and include the current bar.
Source    Connors, Alvarez (2009), Short Term Trading Strategies That Work, ch. 9 (RSI 2); Bollinger (2001).
Fails     in crashes: it buys the first fall of many and has no stop of its own. Set limits.stop_loss beside it.
Typical   win rate 65-75%, average win smaller than average loss; holds 2-6 days, in the market 10-20% of the time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.smoothing import Rsi, rsi_init, rsi_step
from trimtab.kernels.window import WindowMoments, bollinger, moments_init, moments_step
from trimtab.types import F64, Strategy, TrimtabError


class Params(NamedTuple):
    """rsi_length, window: bars; width: deviations; entry_rsi, exit_rsi: 0 to 100; short: trade the mirror too."""

    rsi_length: int = 2
    entry_rsi: float = 10.0
    exit_rsi: float = 90.0
    window: int = 20
    width: float = 2.0
    short: bool = False


class State(NamedTuple):
    """strength: RSI; bands: moments of the close; rows read; side held: -1, 0, 1."""

    strength: Rsi
    bands: WindowMoments
    rows: int
    side: float


@compiled
def init(p: Params) -> State:
    return State(rsi_init(p.rsi_length), moments_init(p.window), 0, 0.0)


@inlined
def side_after(p: Params, side: float, rsi: float, close: float, bands: tuple[float, float, float]) -> float:
    """The side to hold after this bar. A NaN among the inputs compares false and so changes nothing."""
    lower, middle, upper = bands
    if side > 0.0:
        return 0.0 if rsi > p.exit_rsi or close > middle else side
    if side < 0.0:
        return 0.0 if rsi < 100.0 - p.exit_rsi or close < middle else side
    if rsi < p.entry_rsi and close < lower:
        return 1.0
    if p.short and rsi > 100.0 - p.entry_rsi and close > upper:
        return -1.0
    return 0.0


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    close = x[0, 0]
    strength = rsi_step(s.strength, close)
    bands = moments_step(s.bands, close)
    side = side_after(p, s.side, strength.value, close, bollinger(bands, p.width))
    warm = s.rows >= p.window - 1 and s.rows >= p.rsi_length
    return State(strength, bands, s.rows + 1, side), (side if warm else np.nan)


def warmup(p: Params) -> int:
    if p.entry_rsi >= p.exit_rsi:
        raise TrimtabError(
            f"index_mean_reversion: entry_rsi ({p.entry_rsi}) must be below exit_rsi ({p.exit_rsi}); lower the entry."
        )
    return max(p.window - 1, p.rsi_length)


STRATEGY = Strategy(
    name="index_mean_reversion",
    asset_classes=("index", "equity"),
    fields=("close",),
    params=Params(),
    ranges={
        "rsi_length": (1, 500),
        "entry_rsi": (0.0, 100.0),
        "exit_rsi": (0.0, 100.0),
        "window": (2, 5_000),
        "width": (0.0, 10.0),
        "short": (0, 1),
    },
    init=init,
    step=step,
    warmup=warmup,
)
