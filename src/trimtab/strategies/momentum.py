"""Time-series momentum: go with the sign of the past return, sized so that each instrument carries equal risk.

Idea      what rose over the past year tends to go on rising over the next months, and what fell to go on falling.
Formula   target = sign(close_t - close_{t-lookback}) * min(1, vol_target / vol_annual); 0 where the closes are equal.
          vol_annual = sqrt(periods) * deviation of simple per-bar returns, exponentially weighted with centre of mass
          `vol_window`, about their weighted mean, the current bar included.
          The forecast moves to the target only when the target's sign differs from its own, or when they are more than
          `band` apart: a volatility that breathes costs no trades.
Score     z = log(close_t / close_{t-lookback}) / (deviation per bar * sqrt(lookback)): the past return in units of what
          a walk without drift would have made of it.
          `entry_z` above 0: a sign is taken where |z| >= entry_z and given up where |z| < entry_z / 2.
          `full_z` above 0: the target is scaled by the confidence min(1, |z| / full_z).
Regimes   which side of the market it may be in is the book's to say: `regime_budgets: {equity: {bear: 0.5}}` beside the
          model scales its budget by the label that was known at the close, for as long as it stands.
Stops     it has no exit on prices: `limits: {trailing_stop: 10%}` protects what the book holds. After such a stop the
          model's lots are 0 until its sign changes or its forecast passes through 0 (which entry_z makes happen).
Source    Moskowitz, Ooi, Pedersen (2012), J. Financial Economics 104(2), eq. 1 and 5: there lookback 12 months, centre
          of mass 60 days, vol_target 0.40 per instrument of many. The cap at 1 (no leverage) and the band are ours.
          Dudler, Gmür, Malamud (2014), Risk Adjusted Time Series Momentum (the score; its thresholds are ours).
Fails     at sharp reversals after a long trend (2009), in ranges, and when volatility jumps before it can be measured.
          A return from a non-positive close is undefined and passed over (WTI was below zero in April 2020).
Typical   win rate 40-50%, payoff above 1.5; a side is held for one to several months.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.smoothing import Ewm, annualised, ewm_init, ewm_step
from trimtab.kernels.window import Lag, lag_init, lag_step
from trimtab.types import F64, Strategy


class Params(NamedTuple):
    """lookback, vol_window: bars; vol_target: per year, fraction; periods: bars per year; band: of the forecast.

    long_only: a negative sign means flat. entry_z, full_z: scores, 0 for none.
    """

    lookback: int = 252
    vol_window: int = 60
    vol_target: float = 0.15
    periods: float = 252.0
    band: float = 0.1
    long_only: bool = False
    entry_z: float = 0.0
    full_z: float = 0.0


class State(NamedTuple):
    """past: the close of lookback bars ago; vol: of returns; previous close; rows read; the standing forecast."""

    past: Lag
    vol: Ewm
    previous: float
    rows: int
    forecast: float


@compiled
def init(p: Params) -> State:
    return State(lag_init(p.lookback), ewm_init(1.0 / (1.0 + p.vol_window)), np.nan, 0, np.nan)


@inlined
def confidence(p: Params, held: float, sign: float, z: float) -> float:
    """The share of the target that score z is worth, 0 to 1, for one who holds `held`; NaN where z is."""
    if z != z:  # NaN
        return np.nan
    size = abs(z)
    if p.entry_z > 0.0 and size < (0.5 * p.entry_z if held == sign else p.entry_z):
        return 0.0
    return min(1.0, size / p.full_z) if p.full_z > 0.0 else 1.0


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    close = x[0, 0]
    vol = ewm_step(s.vol, close / s.previous - 1.0 if s.previous > 0.0 else np.nan)
    past = lag_step(s.past, close)
    forecast = s.forecast
    # A sign needs both closes and a volatility; without them what stands is kept.
    if s.rows >= p.lookback and s.rows >= p.vol_window and vol.weight > 0.0 and past.value == past.value:
        sign = np.sign(close - past.value)
        if p.long_only:
            sign = max(sign, 0.0)
        held = np.sign(forecast)
        deviation = np.sqrt(vol.variance)
        target = sign * min(1.0, p.vol_target / annualised(deviation, p.periods))
        if p.entry_z > 0.0 or p.full_z > 0.0:
            rise = math.log(close / past.value) if close > 0.0 and past.value > 0.0 else np.nan
            share = confidence(p, held, sign, rise / (deviation * math.sqrt(p.lookback)))
            # Prices that never moved have no score, and no sign either: their target is 0 as it stands.
            target = target * share if share == share else (target if sign == 0.0 else np.nan)
            sign = np.sign(target)
        if target == target and (held != sign or abs(target - forecast) > p.band):
            forecast = target
    return State(past, vol, close, s.rows + 1, forecast), forecast


def warmup(p: Params) -> int:
    return max(p.lookback, p.vol_window)


STRATEGY = Strategy(
    name="momentum",
    fields=("close",),
    params=Params(),
    ranges={
        "lookback": (1, 5_000),
        "vol_window": (2, 5_000),
        "vol_target": (0.001, 10.0),
        "periods": (1.0, 600_000.0),
        "band": (0.0, 1.0),
        "long_only": (0, 1),
        "entry_z": (0.0, 10.0),
        "full_z": (0.0, 10.0),
    },
    init=init,
    step=step,
    warmup=warmup,
)
