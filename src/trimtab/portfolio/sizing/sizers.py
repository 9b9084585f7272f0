"""Sizers: causal folds that say, row by row, by how much a model's forecast is multiplied.

Each is a pair `init(p) -> s` and `step(p, s, x) -> (s, multiple)` like a strategy's. The weight is budget share x
forecast x multiple; several sizers of one model multiply. A multiple is 0 or more and at most the sizer's cap; NaN
while the sizer is not warm, which abstains: the model keeps what it has.

x is a `Row`: what is known at the close of one bar of the model. No sizer ever sees the account. Those that want to
know how the model does read its own shadow: the return that its standing forecast would have earned since the last bar,
before limits and costs and however much of it the book holds.

A sizer is stepped on every bar of its model. Those that say something else on every bar (`moves`) make a model trade on
every bar, so a spec that names one must give a buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.smoothing import Ewm, annualised, ewm_init, ewm_step
from trimtab.kernels.window import Lag, WindowMoments, deviation, lag_step, moments_init, moments_step, ring_of
from trimtab.portfolio.sizing import formulas
from trimtab.types import F64

_volatility_multiple = inlined(formulas.volatility_multiple)
_confidence_weight = inlined(formulas.confidence_weight)
_kelly_fraction = inlined(formulas.kelly_fraction)
_measured_shrink = inlined(formulas.measured_shrink)
_convex_multiple = inlined(formulas.convex_multiple)

#: The least that a bar leaves of a shadow: after losing all of it there would be no profit any more to speak of.
_LEAST: Final = 1e-6
#: A shadow beyond these bounds is made 1 again, and all that is remembered of it in proportion.
_SMALL: Final = 1e-100
_LARGE: Final = 1e100


class Row(NamedTuple):
    """What a sizer is shown at a close: the model's forecast there (NaN: abstains) and the instrument's close (NaN: no
    bar). Of a pair or basket: its forecast, and the close of its first leg."""

    forecast: float
    close: float


# ---------------------------------------------------------------------------------------------------------------------
# Fixed fraction
# ---------------------------------------------------------------------------------------------------------------------


class FixedParams(NamedTuple):
    """risk: share of the model's equity that a losing trade may take; stop: what such a trade loses of its position."""

    risk: float = 1.0
    stop: float = 1.0


class FixedState(NamedTuple):
    """multiple: the same for ever."""

    multiple: float


@compiled
def fixed_init(p: FixedParams) -> FixedState:
    return FixedState(p.risk / p.stop)


@inlined
def fixed_step(p: FixedParams, s: FixedState, x: Row) -> tuple[FixedState, float]:
    return s, s.multiple


# ---------------------------------------------------------------------------------------------------------------------
# Volatility target
# ---------------------------------------------------------------------------------------------------------------------


class VolatilityParams(NamedTuple):
    """target, floor: volatility per year, fraction; window: bars; periods: bars per year; cap: largest multiple.

    A measured volatility below the floor counts as the floor: a market that stands still is not a safe one.
    """

    target: float = 0.15
    window: int = 60
    periods: float = 252.0
    floor: float = 0.02
    cap: float = 1.0


class SmoothedVolatility(NamedTuple):
    """vol: of returns, exponentially weighted; close: the last one seen; seen: returns read."""

    vol: Ewm
    close: float
    seen: int


class WindowedVolatility(NamedTuple):
    """moments: of the last returns; close: the last one seen."""

    moments: WindowMoments
    close: float


@inlined
def _return(close: float, previous: float) -> float:
    """Simple return since the last close that was seen; NaN without one, and from or to a price that is not positive.

    A move across missing bars counts whole: the position was held through it.
    """
    return close / previous - 1.0 if previous > 0.0 and close > 0.0 else np.nan


@inlined
def _last(close: float, previous: float) -> float:
    return close if close == close else previous  # NaN: no bar


@inlined
def _read(s: WindowMoments, x: float) -> WindowMoments:
    """The moments with x; as they were if x is NaN.

    A branch that returned one state or the other would count references of the ring on every row, which costs forty
    times the arithmetic. So x is always read, and only the numbers are chosen from: the slot that a NaN was written to
    lies outside the window, and is written again by the next value.
    """
    n = moments_step(s, x)
    good = x == x
    return WindowMoments(
        s.ring,
        n.age if good else s.age,
        s.length,
        n.mean if good else s.mean,
        n.m2 if good else s.m2,
        n.shift if good else s.shift,
        n.offset if good else s.offset,
        n.peak if good else s.peak,
    )


@compiled
def smoothed_volatility_init(p: VolatilityParams) -> SmoothedVolatility:
    return SmoothedVolatility(ewm_init(1.0 / (1.0 + p.window)), np.nan, 0)


@inlined
def smoothed_volatility_step(p: VolatilityParams, s: SmoothedVolatility, x: Row) -> tuple[SmoothedVolatility, float]:
    change = _return(x.close, s.close)
    vol = ewm_step(s.vol, change)
    seen = s.seen + 1 if change == change else s.seen
    multiple = np.nan
    if seen >= p.window:
        multiple = _volatility_multiple(p.target, max(annualised(np.sqrt(vol.variance), p.periods), p.floor), p.cap)
    return SmoothedVolatility(vol, _last(x.close, s.close), seen), multiple


@compiled
def windowed_volatility_init(p: VolatilityParams) -> WindowedVolatility:
    return WindowedVolatility(moments_init(p.window), np.nan)


@inlined
def windowed_volatility_step(p: VolatilityParams, s: WindowedVolatility, x: Row) -> tuple[WindowedVolatility, float]:
    moments = _read(s.moments, _return(x.close, s.close))
    multiple = np.nan
    if moments.age >= 0:
        multiple = _volatility_multiple(p.target, max(annualised(deviation(moments, 1), p.periods), p.floor), p.cap)
    return WindowedVolatility(moments, _last(x.close, s.close)), multiple


# ---------------------------------------------------------------------------------------------------------------------
# Confidence
# ---------------------------------------------------------------------------------------------------------------------


class ConfidenceParams(NamedTuple):
    """threshold: |forecast| up to which nothing is held; power: 1 in proportion beyond it, 2 late, 0.5 early."""

    threshold: float = 0.2
    power: float = 1.0


class ConfidenceState(NamedTuple):
    """rows: rows read."""

    rows: int


@compiled
def confidence_init(p: ConfidenceParams) -> ConfidenceState:
    return ConfidenceState(0)


@inlined
def confidence_step(p: ConfidenceParams, s: ConfidenceState, x: Row) -> tuple[ConfidenceState, float]:
    strength = abs(x.forecast)
    multiple = np.nan
    if strength == 0.0:
        multiple = 0.0
    elif strength > 0.0:  # not NaN
        # The forecast is multiplied by it, so what is wanted is divided by what is there.
        multiple = _confidence_weight(strength, p.threshold, p.power) / strength
    return ConfidenceState(s.rows + 1), multiple


# ---------------------------------------------------------------------------------------------------------------------
# The model's shadow
# ---------------------------------------------------------------------------------------------------------------------


class Shadow(NamedTuple):
    """forecast: the standing one, NaN before the first; close: the last one seen."""

    forecast: float
    close: float


@inlined
def _shadow_step(s: Shadow, x: Row) -> tuple[Shadow, float]:
    """What the forecast that stood until this close earned since the last one; NaN where that is not known."""
    earned = s.forecast * _return(x.close, s.close)
    standing = x.forecast if x.forecast == x.forecast else s.forecast
    return Shadow(standing, _last(x.close, s.close)), earned


class KellyParams(NamedTuple):
    """window: bars; share: of Kelly, 0.5 is half; shrink: for estimation error; rate: of cash per year, fraction;
    periods: bars per year; cap: largest multiple."""

    window: int = 252
    share: float = 0.5
    shrink: bool = True
    rate: float = 0.0
    periods: float = 252.0
    cap: float = 1.0


class KellyState(NamedTuple):
    """shadow: of the model; moments: of what it earned over the last bars."""

    shadow: Shadow
    moments: WindowMoments


@compiled
def kelly_init(p: KellyParams) -> KellyState:
    return KellyState(Shadow(np.nan, np.nan), moments_init(p.window))


@inlined
def kelly_step(p: KellyParams, s: KellyState, x: Row) -> tuple[KellyState, float]:
    shadow, earned = _shadow_step(s.shadow, x)
    # Cash is what the money would have earned instead, in proportion to what was forecast.
    moments = _read(s.moments, earned - abs(s.shadow.forecast) * p.rate / p.periods)
    multiple = np.nan
    if moments.age >= 0:
        variance = moments.m2 / moments.length
        multiple = 0.0  # nothing moved: there is no edge to be seen
        if variance > 0.0:
            kelly = p.share * _kelly_fraction(moments.mean, variance)
            if p.shrink:
                kelly *= _measured_shrink(moments.mean * moments.mean / variance, float(moments.length))
            multiple = min(p.cap, max(0.0, kelly))
    return KellyState(shadow, moments), multiple


# ---------------------------------------------------------------------------------------------------------------------
# Convexity
# ---------------------------------------------------------------------------------------------------------------------


class ConvexityParams(NamedTuple):
    """window: bars over which profit counts; slope: by how much the size grows with it, 0 is off; low, high: bounds of
    the multiple, which is 1 without profit or loss."""

    window: int = 126
    slope: float = 2.0
    low: float = 0.5
    high: float = 1.5


class ConvexityState(NamedTuple):
    """shadow: of the model; equity: its forecasts' returns compounded from 1; then: equity of window rows ago."""

    shadow: Shadow
    equity: float
    then: Lag


@compiled
def _divide(ring: F64, by: float) -> None:
    for k in range(ring.size):
        ring[k] /= by


@compiled
def convexity_init(p: ConvexityParams) -> ConvexityState:
    ring = ring_of(p.window)
    ring[:] = 1.0  # before it began the model neither won nor lost, so there is no warm-up
    return ConvexityState(Shadow(np.nan, np.nan), 1.0, Lag(ring, 0, p.window, 1.0))


@inlined
def convexity_step(p: ConvexityParams, s: ConvexityState, x: Row) -> tuple[ConvexityState, float]:
    shadow, earned = _shadow_step(s.shadow, x)
    equity = s.equity
    if earned == earned:  # else nothing stood, or there was no bar
        equity *= max(1.0 + earned, _LEAST)
    if not _SMALL < equity < _LARGE:
        _divide(s.then.ring, equity)
        equity = 1.0
    then = lag_step(s.then, equity)
    return ConvexityState(shadow, equity, then), _convex_multiple(equity / then.value - 1.0, p.slope, p.low, p.high)


# ---------------------------------------------------------------------------------------------------------------------
# Folds: one each, because numba's cache holds a compiled loop only if the step that it calls is a global
# ---------------------------------------------------------------------------------------------------------------------


@compiled
def fixed_fold(p: FixedParams, s: FixedState, forecast: F64, close: F64, out: F64) -> FixedState:
    for t in range(out.size):
        s, out[t] = fixed_step(p, s, Row(forecast[t], close[t]))
    return s


@compiled
def smoothed_volatility_fold(
    p: VolatilityParams, s: SmoothedVolatility, forecast: F64, close: F64, out: F64
) -> SmoothedVolatility:
    for t in range(out.size):
        s, out[t] = smoothed_volatility_step(p, s, Row(forecast[t], close[t]))
    return s


@compiled
def windowed_volatility_fold(
    p: VolatilityParams, s: WindowedVolatility, forecast: F64, close: F64, out: F64
) -> WindowedVolatility:
    for t in range(out.size):
        s, out[t] = windowed_volatility_step(p, s, Row(forecast[t], close[t]))
    return s


@compiled
def confidence_fold(p: ConfidenceParams, s: ConfidenceState, forecast: F64, close: F64, out: F64) -> ConfidenceState:
    for t in range(out.size):
        s, out[t] = confidence_step(p, s, Row(forecast[t], close[t]))
    return s


@compiled
def kelly_fold(p: KellyParams, s: KellyState, forecast: F64, close: F64, out: F64) -> KellyState:
    for t in range(out.size):
        s, out[t] = kelly_step(p, s, Row(forecast[t], close[t]))
    return s


@compiled
def convexity_fold(p: ConvexityParams, s: ConvexityState, forecast: F64, close: F64, out: F64) -> ConvexityState:
    for t in range(out.size):
        s, out[t] = convexity_step(p, s, Row(forecast[t], close[t]))
    return s


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------


class Sizer(msgspec.Struct, frozen=True, kw_only=True):
    """A sizer is a value: compiled `init(p) -> s` and `step(p, s, x) -> (s, multiple)` with what is known of them.

    about           one line for people, with when it is dangerous
    params, ranges  a NamedTuple of defaults; per name the inclusive (low, high) that is accepted
    moves           its multiple changes on every bar, so the model needs a buffer
    fold(p, s, forecast, close, out) -> s    step over rows (T,), multiples into out (T,)
    """

    name: str
    about: str
    params: Any
    ranges: Mapping[str, tuple[float, float]]
    init: Callable[..., Any]
    step: Callable[..., Any]
    fold: Callable[..., Any]
    moves: bool


_VOLATILITY: Final = {
    "target": (0.001, 10.0),
    "window": (2, 5_000),
    "periods": (1.0, 600_000.0),
    "floor": (1e-6, 10.0),
    "cap": (0.0, 100.0),
}

#: Name in a spec -> sizer.
SIZERS: Final[Mapping[str, Sizer]] = {
    sizer.name: sizer
    for sizer in (
        Sizer(
            name="fixed_fraction",
            about="the same share at risk in every trade: risk over the stop's distance. Dangerous where prices gap "
            "over the stop, and beyond twice Kelly",
            params=FixedParams(),
            ranges={"risk": (0.0, 1.0), "stop": (1e-4, 1.0)},
            init=fixed_init,
            step=fixed_step,
            fold=fixed_fold,
            moves=False,
        ),
        Sizer(
            name="volatility_target",
            about="target over the volatility of closed bars, exponentially weighted. Dangerous after quiet times: "
            "largest just before the jump",
            params=VolatilityParams(),
            ranges=_VOLATILITY,
            init=smoothed_volatility_init,
            step=smoothed_volatility_step,
            fold=smoothed_volatility_fold,
            moves=True,
        ),
        Sizer(
            name="volatility_target_window",
            about="target over the volatility of the last bars, all alike. Dangerous as volatility_target, and it "
            "jumps when an old shock leaves the window",
            params=VolatilityParams(),
            ranges=_VOLATILITY,
            init=windowed_volatility_init,
            step=windowed_volatility_step,
            fold=windowed_volatility_fold,
            moves=True,
        ),
        Sizer(
            name="confidence",
            about="little for a weak forecast, nothing below a threshold. Dangerous where strong forecasts are not "
            "righter ones",
            params=ConfidenceParams(),
            ranges={"threshold": (0.0, 0.999), "power": (0.1, 10.0)},
            init=confidence_init,
            step=confidence_step,
            fold=confidence_fold,
            moves=False,
        ),
        Sizer(
            name="kelly",
            about="a share of Kelly by mean and variance of what the model earned lately, shrunk for estimation error. "
            "Dangerous where the recent past was luck",
            params=KellyParams(),
            ranges={
                "window": (20, 20_000),
                "share": (0.0, 1.0),
                "shrink": (0, 1),
                "rate": (-1.0, 1.0),
                "periods": (1.0, 600_000.0),
                "cap": (0.0, 100.0),
            },
            init=kelly_init,
            step=kelly_step,
            fold=kelly_fold,
            moves=True,
        ),
        Sizer(
            name="convexity",
            about="more while the model wins, less while it loses, by its own shadow equity. Dangerous for what "
            "reverts: it buys the top of its own curve",
            params=ConvexityParams(),
            ranges={"window": (1, 20_000), "slope": (0.0, 100.0), "low": (0.0, 1.0), "high": (1.0, 100.0)},
            init=convexity_init,
            step=convexity_step,
            fold=convexity_fold,
            moves=True,
        ),
    )
}
