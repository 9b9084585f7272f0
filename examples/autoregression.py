"""Autoregression: how the last return bears on the next one, estimated anew every four weeks.

A strategy with a fit in one file: plain Python estimates on a schedule, the compiled step uses what it found. Try it:

    trimtab check examples/autoregression.py
    trimtab strategies show examples/autoregression.py

Idea      after a shock some markets go on and others come back; which of the two, the last months tell.
Formula   return_t = a + slope * return_{t-1} + e over the last `window` bars, by least squares, every `every` days;
          forecast = slope * return_t / deviation(e), cut off at ±1; 0 where |slope| is within two standard errors.
Source    Lo, MacKinlay (1990), Rev. Financial Studies 3(2).
Fails     where the slope is noise, which is nearly always; after a change of regime until the window has forgotten.
Typical   win rate near 50%; holds one bar.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import DAY, F64, Fit, NotEnoughData, Strategy


class Params(NamedTuple):
    """window: bars that are fitted; every: days between two fits."""

    window: int = 250
    every: int = 28


class Fitted(NamedTuple):
    """slope of a return on the one before; deviation of what it does not explain, fraction. NaN: not fitted."""

    slope: float
    deviation: float


class State(NamedTuple):
    """What fit found last, and the last close."""

    fitted: Fitted
    previous: float


@compiled
def init(p: Params) -> State:
    return State(Fitted(np.nan, np.nan), np.nan)


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    close = x[0, 0]
    forecast = s.fitted.slope * (close / s.previous - 1.0) / s.fitted.deviation
    if forecast > 1.0:
        forecast = 1.0
    elif forecast < -1.0:
        forecast = -1.0
    return State(s.fitted, close), forecast


def fit(p: Params, x: F64) -> Fitted:
    """Slope and deviation from a window of rows x (W, legs, fields); a window that cannot be fitted is refused."""
    close = x[:, 0, 0]
    if not (close > 0.0).all():
        raise NotEnoughData("a close of the window is not above 0, so its return is not defined")
    returns = close[1:] / close[:-1] - 1.0
    before, after = returns[:-1] - returns[:-1].mean(), returns[1:] - returns[1:].mean()
    spread = float(before @ before)
    if spread <= 1e-20:
        raise NotEnoughData("the prices of the window stand still")
    slope = float(before @ after) / spread
    deviation = float(np.sqrt(((after - slope * before) ** 2).sum() / (len(after) - 2)))
    if not deviation > 1e-12:
        raise NotEnoughData("each return of the window follows from the one before")
    known = abs(slope) > 2.0 * deviation / np.sqrt(spread)
    return Fitted(slope if known else 0.0, deviation)


def warmup(p: Params) -> int:
    return p.window - 1


STRATEGY = Strategy(
    name="autoregression",
    fields=("close",),
    params=Params(),
    ranges={"window": (30, 5_000), "every": (1, 1_000)},
    init=init,
    step=step,
    warmup=warmup,
    fit=Fit(of=fit, window=lambda p: p.window, every=lambda p: p.every * DAY),
)
