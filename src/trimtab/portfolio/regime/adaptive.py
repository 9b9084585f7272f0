"""AdaptiveSizer: how much of its budget a book uses, by volatility and regime, one row at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.smoothing import Ewm, annualised, ewm_init, ewm_step
from trimtab.types import F64, TrimtabError


class AdaptiveSizer(NamedTuple):
    """A multiplier min(cap, vol_target / vol_annual) x scale, in [0, cap], where scale is the regime's multiplier.

    vol_target  a year, fraction
    vol_window  centre of mass of the exponentially weighted volatility, rows; and rows before the first multiplier
    periods     rows a year (252 sessions, 365 daily bars round the clock)
    cap         the largest multiplier: 1 never adds leverage
    band        the volatility's part moves only when it would move by more; the regime's part always acts

    Source    Moreira, Muir (2017), J. Finance 72(4); the cap and the band are ours.
    Dangerous when volatility is low before it jumps (February 2018): the multiplier is largest just before the loss. A
              cap above 1 makes that leverage. It scales down after a fall and so buys back higher in a fast rebound.
    """

    vol_target: float = 0.15
    vol_window: int = 60
    periods: float = 252.0
    cap: float = 1.0
    band: float = 0.1


#: Inclusive (low, high) per parameter.
RANGES = {
    "vol_target": (0.001, 10.0),
    "vol_window": (2, 5_000),
    "periods": (1.0, 600_000.0),
    "cap": (0.0, 10.0),
    "band": (0.0, 1.0),
}


class State(NamedTuple):
    """vol: of simple returns; previous close; returns read; exposure: the volatility's part; scale: the regime's."""

    vol: Ewm
    previous: float
    returns: int
    exposure: float
    scale: float


@compiled
def init(p: AdaptiveSizer) -> State:
    return State(ewm_init(1.0 / (1.0 + p.vol_window)), np.nan, 0, np.nan, np.nan)


@inlined
def step(p: AdaptiveSizer, s: State, x: F64) -> tuple[State, float]:
    """Read x (1, 2): close and scale. A missing close leaves the volatility, a missing scale the scale, as they were.

    -> the multiplier for the decision of this row, in [0, cap]; NaN until volatility and scale are known
    """
    close = float(x[0, 0])
    scale = float(x[0, 1]) if x[0, 1] == x[0, 1] else s.scale
    vol, previous, returns, exposure = s.vol, s.previous, s.returns, s.exposure
    if close > 0.0 and close < np.inf:
        if previous > 0.0:
            vol = ewm_step(vol, close / previous - 1.0)
            returns += 1
        previous = close
        if returns >= p.vol_window:
            wanted = min(p.cap, p.vol_target / annualised(np.sqrt(vol.variance), p.periods))
            if not abs(wanted - exposure) <= p.band:  # further than the band, or the first
                exposure = wanted
    multiplier = exposure * scale
    if multiplier == multiplier:  # not NaN
        multiplier = max(0.0, min(p.cap, multiplier))
    return State(vol, previous, returns, exposure, scale), multiplier


@compiled
def fold(p: AdaptiveSizer, s: State, x: F64, out: F64) -> State:
    for t in range(x.shape[0]):
        s, out[t] = step(p, s, x[t])
    return s


@compiled
def exposure_fold(p: AdaptiveSizer, s: State, forecast: F64, close: F64, out: F64) -> State:
    """The volatility's part alone, as a sizer of a model is folded; who sizes multiplies by the regime and caps."""
    x = np.ones((1, 2))
    for t in range(out.size):
        x[0, 0] = close[t]
        s, out[t] = step(p, s, x)
    return s


def adaptive_multipliers(sizer: AdaptiveSizer, close: F64, scale: F64) -> F64:
    """The multipliers of all rows.

    close  (T,)  what the book is exposed to (an index, or its largest instrument); NaN where there was no bar
    scale  (T,)  the regime's multiplier known at the close of each row; NaN keeps the last
    ->     (T,)  in [0, cap], row t for the decision made at the close of t; NaN until known

    TrimtabError names a parameter that is out of range, or lengths that differ.
    """
    for name, value in sizer._asdict().items():
        low, high = RANGES[name]
        if not low <= value <= high:
            raise TrimtabError(f"AdaptiveSizer.{name}: expected {low:g} to {high:g}, got {value!r}.")
    if close.shape != scale.shape or close.ndim != 1:
        raise TrimtabError(
            f"adaptive_multipliers: close has shape {close.shape} and scale {scale.shape}; expected (T,) for both."
        )
    out = np.empty(len(close))
    x = np.stack((close, scale), axis=1).astype(np.float64)[:, None, :]
    fold(sizer, init(sizer), x, out)
    return out
