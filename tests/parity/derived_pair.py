"""A pair for tests that reads everything at once: fields, an indicator of each leg, and a fit of windows of both."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit

from trimtab.types import DAY, Fit, Indicator, Strategy


class Params(NamedTuple):
    window: int = 15


class State(NamedTuple):
    fitted: float
    rows: int


def stretch(p, frame):
    """With a null where the volume is not known."""
    close = pl.col("ticks")
    score = (close - close.rolling_mean(p.window)) / (close.rolling_max(p.window) - close.rolling_min(p.window) + 1e-9)
    return pl.when(pl.col("volume").is_not_null()).then(score)


@njit(cache=True)
def init(p):
    return State(np.nan, 0)


@njit(cache=True)
def step(p, s, x):
    gap = np.tanh(x[0, 1] - x[1, 1] - s.fitted)
    if gap != gap:
        gap = 0.0 if s.fitted == s.fitted else np.nan
    return State(s.fitted, s.rows + 1), (-gap if x[0, 0] > 0.0 and s.rows >= 3 * p.window else np.nan)


@njit(cache=True)
def legs(p, s, x, f):
    return np.array([0.5 * f, -0.5 * f])


STRATEGY = Strategy(
    name="derived_pair",
    fields=("close", "stretch"),
    params=Params(),
    ranges={"window": (5, 60)},
    init=init,
    step=step,
    warmup=lambda p: 3 * p.window,
    n_legs=2,
    legs=legs,
    fit=Fit(
        of=lambda p, x: float(np.nanmean(x[:, 0, 1] - x[:, 1, 1])),
        window=lambda p: 2 * p.window,
        every=lambda p: 5 * DAY,
    ),
    indicators=(Indicator("stretch", stretch, ("ticks", "volume"), lambda p: p.window - 1),),
)
