"""Trend regimes: a price against its long average and that average's slope, alone (equity) or with crashes (crypto)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import Lag, WindowSum, lag_init, lag_step, sum_init, sum_step
from trimtab.portfolio.regime.labels import UNKNOWN, Labels
from trimtab.types import F64, TrimtabError

BULL, BEAR, NEUTRAL, CRISIS = 0, 1, 2, 3
NAMES = ("bull", "bear", "neutral", "crisis")


class EquityParams(NamedTuple):
    """average: days; slope: days over which the average's growth is taken; band, flat: fractions."""

    average: int = 200
    slope: int = 20
    band: float = 0.01
    flat: float = 0.001


class CryptoParams(NamedTuple):
    """average, slope, band, flat: as for equity; window: days of the high; crash, calm: falls from it, fractions.

    The bands are five times those of equity, since a coin's daily volatility is about four to five times an index's.
    """

    average: int = 200
    slope: int = 20
    band: float = 0.05
    flat: float = 0.005
    window: int = 30
    crash: float = 0.30
    calm: float = 0.15


class Trend(NamedTuple):
    """total: of the average; past: the average of `slope` days ago; above, rising: -1, 1, or 0 not yet; its label."""

    total: WindowSum
    past: Lag
    above: int
    rising: int
    label: int


class Crypto(NamedTuple):
    """trend; closes: the last `window` of them, 0 where there was none; rows read; crashed: 1 is yes; the label."""

    trend: Trend
    closes: F64
    rows: int
    crashed: int
    label: int


@inlined
def observed(price: float) -> bool:
    return price > 0.0 and price < np.inf


@inlined
def side(before: int, x: float, band: float) -> int:
    """1 above the band, -1 below it, and inside it what it was; NaN changes nothing."""
    if x > band:
        return 1
    return -1 if x < -band else before


@compiled
def trend_init(average: int, slope: int) -> Trend:
    return Trend(sum_init(average), lag_init(slope), 0, 0, UNKNOWN)


@inlined
def trend_step(s: Trend, close: float, band: float, flat: float) -> Trend:
    total = sum_step(s.total, close)
    average = total.total / total.length
    past = lag_step(s.past, average)
    above = side(s.above, close / average - 1.0, band)
    rising = side(s.rising, average / past.value - 1.0, flat)
    label = NEUTRAL
    if past.value != past.value:  # NaN: not warm
        label = UNKNOWN
    elif above > 0 and rising > 0:
        label = BULL
    elif above < 0 and rising < 0:
        label = BEAR
    return Trend(total, past, above, rising, label)


@compiled
def equity_init(p: EquityParams) -> Trend:
    return trend_init(p.average, p.slope)


@inlined
def equity_step(p: EquityParams, s: Trend, x: F64) -> tuple[Trend, int]:
    """Equity: bull, bear or neutral, by an index's 200-day average and the average's slope.

    Idea      a market above a rising average and one below a falling average are different markets: in the second,
              volatility is higher and falls go further. Where price and slope disagree it is neither.
    Formula   above  = 1 when close / average - 1 > band, -1 when < -band, else what it was
              rising = 1 when average / (average of `slope` days ago) - 1 > flat, -1 when < -flat, else what it was
              bull when both are 1, bear when both are -1, else neutral. The average includes the current close.
    Source    Faber (2007), J. Wealth Management 9(4) (the 200-day rule); Brock, Lakonishok, LeBaron (1992), J. Finance
              47(5) (the 1% band). The slope and its dead band are ours: 0.1% is about three days of the slope's noise.
    Fails     late by construction: weeks after a top or a bottom. A fall out of a bull market (August 2011) is neutral
              first, and bear only two months later, when the average has turned. It flips around a flat average.
    """
    close = float(x[0, 0])
    if observed(close):
        s = trend_step(s, close, p.band, p.flat)
    return s, s.label


@compiled
def equity_fold(p: EquityParams, s: Trend, x: F64, out: Labels) -> Trend:
    for t in range(x.shape[0]):
        s, out[t] = equity_step(p, s, x[t])
    return s


def equity_warmup(p: EquityParams) -> int:
    return p.average + p.slope - 1


@compiled
def crypto_init(p: CryptoParams) -> Crypto:
    return Crypto(trend_init(p.average, p.slope), np.zeros(p.window), 0, 0, UNKNOWN)


@inlined
def crypto_step(p: CryptoParams, s: Crypto, x: F64) -> tuple[Crypto, int]:
    """Crypto: bull, bear, neutral or crisis, by Bitcoin's 200-day trend and its fall from the month's high.

    Idea      coins follow Bitcoin. Its slow trend says which way; a fall of a third within a month is a liquidation
              cascade, in which every coin falls and spreads open, whatever the trend was.
    Formula   fall = 1 - close / highest close of the last `window` days, the current one included
              crisis from fall >= crash until fall < calm; else the trend's label, by equity's rule.
              A crisis is named from the second day on: a fall of 30% needs no longer history to be one. Everything else
              is unknown until the trend is warm.
    Source    the trend as for equity, bands widened by the ratio of volatilities; crash 30% in 30 days and calm at half
              of it are round numbers of ours.
    Fails     a bear market that grinds down slower than 30% a month is never a crisis (it is bear). The crisis ends as
              the high leaves the window, so it lasts about a month after the last new low, also at the bottom.
    """
    close = float(x[0, 0])
    if not observed(close):
        return s, s.label
    trend = trend_step(s.trend, close, p.band, p.flat)
    s.closes[s.rows % p.window] = close
    fall = 1.0 - close / s.closes.max()
    crashed = 1 if fall >= (p.calm if s.crashed else p.crash) else 0
    label = CRISIS if crashed else trend.label
    return Crypto(trend, s.closes, s.rows + 1, crashed, label), label


@compiled
def crypto_fold(p: CryptoParams, s: Crypto, x: F64, out: Labels) -> Crypto:
    for t in range(x.shape[0]):
        s, out[t] = crypto_step(p, s, x[t])
    return s


def crypto_warmup(p: CryptoParams) -> int:
    if p.calm > p.crash:
        raise TrimtabError(
            f"crypto: calm ({p.calm}) must not be above crash ({p.crash}); a crisis ends at the smaller fall."
        )
    return p.average + p.slope - 1
