"""Volatility breakout: buy a close far above its average, leave when it is back at the average.

A strategy of one's own in one file. Try it:

    trimtab check examples/volatility_breakout.py
    trimtab strategies show examples/volatility_breakout.py

Idea      a close outside its usual range is news, and news takes more than one bar to be priced.
Formula   score = (close - mean) / deviation over the `window` bars BEFORE this one; long when score > entry, flat when
          score < 0, else unchanged.
Source    Bollinger (2001), Bollinger on Bollinger Bands, ch. 15 (volatility breakout).
Fails     in ranges, where the first close outside is the last.
Typical   win rate 35-45%; holds 5-30 bars.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import WindowMoments, deviation, moments_init, moments_step
from trimtab.types import F64, Strategy


class Params(NamedTuple):
    """window: bars; entry: deviations above the mean."""

    window: int = 40
    entry: float = 2.0


class State(NamedTuple):
    """Everything that is remembered: saving it (a deep copy) saves the strategy."""

    past: WindowMoments
    rows: int
    side: float


@compiled
def init(p: Params) -> State:
    return State(moments_init(p.window), 0, 0.0)


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    close = x[0, 0]  # leg 0, field 0: this bar only
    # The state still ends with the bar before. Until its window is full both are NaN and compare false.
    score = (close - s.past.mean) / deviation(s.past, 1)
    side = s.side
    if score > p.entry:
        side = 1.0
    elif score < 0.0:
        side = 0.0
    warm = s.rows >= p.window
    return State(moments_step(s.past, close), s.rows + 1, side), (side if warm else np.nan)


def warmup(p: Params) -> int:
    """Rows before the first forecast."""
    return p.window


STRATEGY = Strategy(
    name="volatility_breakout",
    fields=("close",),
    params=Params(),
    ranges={"window": (2, 5_000), "entry": (0.0, 10.0)},
    init=init,
    step=step,
    warmup=warmup,
)
