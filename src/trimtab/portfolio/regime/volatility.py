"""Volatility regimes, low to crisis: realised volatility against its own past, or the level of an implied index."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import WindowMoments, deviation, moments_init, moments_step
from trimtab.portfolio.regime.labels import UNKNOWN, Labels
from trimtab.types import F64, TrimtabError

LOW, NORMAL, HIGH, CRISIS = 0, 1, 2, 3
NAMES = ("low", "normal", "high", "crisis")


class VolatilityParams(NamedTuple):
    """window: returns; history, least: days of volatility ranked, at most and before the first label.

    normal, high, crisis: percentiles at which each begins; margin: how far below it must fall to end, in percentiles.
    """

    window: int = 21
    history: int = 2_520
    least: int = 252
    normal: float = 0.25
    high: float = 0.75
    crisis: float = 0.95
    margin: float = 0.05


class VixParams(NamedTuple):
    """normal, high, crisis: levels, in points, at which each begins; margin: how far below to end, share of it."""

    normal: float = 15.0
    high: float = 25.0
    crisis: float = 40.0
    margin: float = 0.1


class Volatility(NamedTuple):
    """returns: moments of the last `window`; previous close; past (history,) volatilities, `written` so far; label."""

    returns: WindowMoments
    previous: float
    past: F64
    written: int
    label: int


class Vix(NamedTuple):
    label: int


@inlined
def grade(label: int, x: float, starts: tuple[float, float, float], ends: tuple[float, float, float]) -> int:
    """The class of x: up as soon as a class's start is reached, down only when x falls below its end (ends <= starts).

    label is the class that stands, or UNKNOWN; x is a number.
    """
    least = int(x >= starts[0]) + int(x >= starts[1]) + int(x >= starts[2])
    most = int(x >= ends[0]) + int(x >= ends[1]) + int(x >= ends[2])
    return min(max(label, least), most)


@compiled
def percentile(past: F64, n: int, x: float) -> float:
    """Share of the first n values that are below x, ties counting half; n >= 1."""
    below = 0
    equal = 0
    for k in range(n):
        below += int(past[k] < x)
        equal += int(past[k] == x)
    return (below + 0.5 * equal) / n


@compiled
def volatility_init(p: VolatilityParams) -> Volatility:
    return Volatility(moments_init(p.window), np.nan, np.zeros(p.history), 0, UNKNOWN)


@inlined
def volatility_step(p: VolatilityParams, s: Volatility, x: F64) -> tuple[Volatility, int]:
    """Volatility: low, normal, high or crisis, by realised volatility's percentile in its own past.

    Idea      volatility comes in clusters, so yesterday's class is a fair forecast of tomorrow's; and what is high
              differs between an index and a coin, so each is ranked in its own history.
    Formula   vol        = deviation of the last `window` simple returns
              percentile = share of the last `history` values of vol below this one (ties half, itself included); all of
                           them while there are fewer, none before `least`
              up to a class as soon as percentile >= where it begins, down only when below that less `margin`.
    Source    a month of days as in Moreira, Muir (2017), J. Finance 72(4); ten years hold at least one of each market.
              Quartiles and the top twentieth are round numbers of ours.
    Fails     percentiles forget: after ten calm years a mild storm ranks as a crisis, and inside a long one a crisis
              ranks as normal. A class says where vol stands, not that it will stay. The window echoes: a single large
              return holds vol up for `window` days and lets it drop in one.
    """
    close = float(x[0, 0])
    if not (close > 0.0 and close < np.inf):
        return s, s.label
    if not s.previous > 0.0:  # the first price: there is no return yet
        return Volatility(s.returns, close, s.past, s.written, s.label), s.label
    returns = moments_step(s.returns, close / s.previous - 1.0)
    vol = deviation(returns, 1)
    written, label = s.written, s.label
    if vol == vol:  # else the window is not full
        s.past[written % p.history] = vol
        written += 1
        if written >= p.least:
            rank = percentile(s.past, min(written, p.history), vol)
            starts = (p.normal, p.high, p.crisis)
            label = grade(label, rank, starts, (p.normal - p.margin, p.high - p.margin, p.crisis - p.margin))
    return Volatility(returns, close, s.past, written, label), label


@compiled
def volatility_fold(p: VolatilityParams, s: Volatility, x: F64, out: Labels) -> Volatility:
    for t in range(x.shape[0]):
        s, out[t] = volatility_step(p, s, x[t])
    return s


def volatility_warmup(p: VolatilityParams) -> int:
    _ordered("volatility", p)
    if p.least > p.history:
        raise TrimtabError(
            f"volatility: least ({p.least}) must not be above history ({p.history}), or no label is ever named."
        )
    return p.window + p.least - 1


@compiled
def vix_init(p: VixParams) -> Vix:
    return Vix(UNKNOWN)


@inlined
def vix_step(p: VixParams, s: Vix, x: F64) -> tuple[Vix, int]:
    """VIX: low, normal, high or crisis, by the level of the implied volatility index.

    Idea      where option markets publish an expected volatility it leads the realised one, and needs no history.
    Formula   up to a class as soon as VIX >= where it begins, down only when below that times (1 - margin).
    Source    Whaley (2009), J. Portfolio Management 35(3) (what the level means). 15, 25 and 40 are round numbers: 31%,
              81% and 97% of the closes of 1990-2015 lay below them. Levels, not percentiles: those are `volatility`'s.
    Fails     levels drift: 2004-2006 and 2017 are almost all low, 1997-2002 almost never. VIX is fear, not loss: it may
              stay high while prices recover.
    """
    level = float(x[0, 0])
    if not (level > 0.0 and level < np.inf):
        return s, s.label
    keep = 1.0 - p.margin
    label = grade(s.label, level, (p.normal, p.high, p.crisis), (p.normal * keep, p.high * keep, p.crisis * keep))
    return Vix(label), label


@compiled
def vix_fold(p: VixParams, s: Vix, x: F64, out: Labels) -> Vix:
    for t in range(x.shape[0]):
        s, out[t] = vix_step(p, s, x[t])
    return s


def vix_warmup(p: VixParams) -> int:
    _ordered("vix", p)
    return 0


def _ordered(name: str, p: VolatilityParams | VixParams) -> None:
    if not p.normal < p.high < p.crisis:
        raise TrimtabError(
            f"{name}: normal ({p.normal}) must be below high ({p.high}), and high below crisis ({p.crisis})."
        )
