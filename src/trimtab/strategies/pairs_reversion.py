"""Pairs reversion: trade the spread of two instruments that move together back to its mean.

Idea      two prices that are tied by the same business or index drift apart for want of liquidity, and come back.
Formula   spread = log(close 1) - hedge * log(close 2), leg 1 the first of the universe
          z = (spread - its mean) / its deviation (ddof = 1) over a window of `lookback` bars, which ends with the
          current one, so |z| is at most (lookback - 1) / sqrt(lookback); or, without `current`, with the one before it.
          The one hedge ratio values the whole window.
          hedge = `hedge_ratio` where that is above 0, else the least-squares slope over the same window
          With `kalman` slope and intercept walk at random and are filtered; hedge is the slope that was known before
          the bar, and z = innovation / its deviation: what the bar brought that was not known before it. `noise` is the
          variance of the spread, and `delta` / (1 - delta) that of a step of slope and intercept; with noise 0 it is
          measured, as the mean of innovation^2 / its variance over the `lookback` bars before, and delta is relative
          to it.
          enter  short the spread when z >= entry_z, long when z <= -entry_z, if |z| < stop_z and hedge > 0
          leave  when |z| < exit_z, or z has crossed to the other side of it
          stop   when |z| >= stop_z on the side of the entry, or after max_holding bars; no entry until |z| < exit_z
          One change per bar. The hedge is frozen at entry and z is that of the frozen hedge while the pair is held
          (with `kalman` z stays the filter's, and the legs keep the hedge); with `rehedge` both follow.
          forecast = side * max_notional, where +1 is long leg 1 and short leg 2.
Legs      neutral 0 (dollar): +1/2, -1/2. neutral 1 (beta): 1, -hedge, scaled so that |w1| + |w2| = |forecast|.
Source    Gatev, Goetzmann, Rouwenhorst (2006), Rev. Financial Studies 19(3); Chan (2013), Algorithmic Trading, ch. 3
          (Kalman: example 3.3, delta 1e-4 and noise 1e-3 on prices); Harvey (1989), sec. 3.4 (the measured noise).
Fails     when the tie breaks (merger, default, an index change): the spread walks off and only stop_z, max_holding and
          the book's limits end it. Any two walks look tied over some window: test for cointegration before trading. A
          large delta lets the filter follow the spread itself, and nothing is left to trade.
Typical   win rate 60-70%, losses larger than wins; holds 5-30 bars.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.kalman import DIFFUSE, Kalman, kalman_init, kalman_step
from trimtab.kernels.regression import WindowPair, pair_init, pair_step, score, slope, zscore
from trimtab.kernels.window import WindowSum, sum_init, sum_step
from trimtab.types import F64, Strategy, TrimtabError

DOLLAR, BETA = range(2)

#: Rows that a filter which knows nothing needs to pin two numbers: their innovations say nothing of the noise.
_PINNED = 2


class Params(NamedTuple):
    """lookback, max_holding: bars (max_holding 0: no end); entry_z, exit_z, stop_z: deviations; hedge_ratio 0: rolling.

    neutral: 0 dollar, 1 beta; max_notional: |leg 1| + |leg 2|, a fraction of the model's share. kalman: the filter's
    hedge and z; delta: share of the noise by which slope and intercept walk per bar; noise: variance of the spread,
    squared logs, 0 measured. current: the window of z ends with the current bar (else with the one before it).
    """

    lookback: int = 60
    entry_z: float = 2.0
    exit_z: float = 0.5
    stop_z: float = 4.0
    max_holding: int = 60
    hedge_ratio: float = 0.0
    neutral: int = DOLLAR
    max_notional: float = 1.0
    rehedge: bool = False
    kalman: bool = False
    delta: float = 1e-5
    noise: float = 0.0
    current: bool = True


class State(NamedTuple):
    """pair: moments of the two log closes; side held; hedge in use; held: bars since entry; blocked: 1 after a stop.

    filter, squares (of innovations over their variances), rows: of the Kalman filter
    """

    pair: WindowPair
    filter: Kalman
    squares: WindowSum
    rows: int
    side: float
    hedge: float
    held: int
    blocked: int


@compiled
def init(p: Params) -> State:
    return State(pair_init(p.lookback), kalman_init(DIFFUSE), sum_init(p.lookback), 0, 0.0, np.nan, 0, 0)


@inlined
def hedge_now(p: Params, s: State, rolling: float) -> float:
    """The hedge ratio that values this row: the frozen one while the pair is held, unless it is rehedged."""
    if s.side != 0.0 and not (p.rehedge and rolling > 0.0):
        return s.hedge
    return rolling


@inlined
def turn(p, s, z: float, hedge: float) -> tuple[float, int, int]:
    """Side, bars held and whether entries are blocked, after a row with this z. A NaN z changes nothing.

    p  has entry_z, exit_z, stop_z and max_holding; s has side, held and blocked: of any strategy that trades spreads
    """
    blocked = 0 if abs(z) < p.exit_z else s.blocked
    if s.side == 0.0:
        if blocked == 0 and hedge > 0.0 and abs(z) >= p.entry_z and abs(z) < p.stop_z:
            return -np.sign(z), 0, 0
        return 0.0, 0, blocked
    against = -s.side * z
    if against < p.exit_z:
        return 0.0, 0, blocked
    held = s.held + 1
    if against >= p.stop_z or (p.max_holding > 0 and held >= p.max_holding):
        return 0.0, 0, 1
    return s.side, held, blocked


@inlined
def filtered(p: Params, s: State, x: float, y: float) -> tuple[Kalman, WindowSum, float]:
    """The filter after a row, the squares after it, and the row's z; NaN where nothing varies."""
    walk = p.delta / (1.0 - p.delta)
    after = kalman_step(s.filter, x, y, walk, p.noise if p.noise > 0.0 else 1.0)
    scale = 1.0 if p.noise > 0.0 else s.squares.total / p.lookback
    variance = after.variance * scale
    z = np.nan
    # Below 1e-12 of the level what is left is the rounding of the two series, not a spread.
    level = 1e-12 * (abs(y) + abs(after.prior * x))
    if s.rows >= _PINNED and variance > level * level:
        z = after.innovation / np.sqrt(variance)
    squares = s.squares
    if s.rows >= _PINNED and after.innovation == after.innovation:
        squares = sum_step(s.squares, after.innovation * after.innovation / after.variance)
    return after, squares, z


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    first = math.log(x[0, 0]) if x[0, 0] > 0.0 else np.nan
    second = math.log(x[1, 0]) if x[1, 0] > 0.0 else np.nan
    rows = s.rows + 1
    if p.kalman:
        line, squares, z = filtered(p, s, second, first)
        hedge = hedge_now(p, s, line.prior)
        side, held, blocked = turn(p, s, z, hedge)
        warm = s.rows >= p.lookback + _PINNED
        side = side if warm else 0.0
        return State(s.pair, line, squares, rows, side, hedge, held, blocked), side * p.max_notional if warm else np.nan
    if p.current:
        pair = pair_step(s.pair, second, first)
        hedge = hedge_now(p, s, p.hedge_ratio if p.hedge_ratio > 0.0 else slope(pair))
        z = zscore(pair, hedge)
        warm = pair.age >= 0
    else:
        # The window is read before the row is written into its rings.
        hedge = hedge_now(p, s, p.hedge_ratio if p.hedge_ratio > 0.0 else slope(s.pair))
        z = score(s.pair, second, first, hedge)
        warm = s.pair.age >= 0
        pair = pair_step(s.pair, second, first)
    side, held, blocked = turn(p, s, z, hedge)
    return State(pair, s.filter, s.squares, rows, side, hedge, held, blocked), side * p.max_notional if warm else np.nan


@compiled
def legs(p: Params, s: State, x: F64, f: float) -> F64:
    """Leg weights of forecast f, from the state after step.

    -> (2,)  |w1| + |w2| = |f|; NaN where f is NaN
    """
    ratio = s.hedge if p.neutral == BETA and s.side != 0.0 else 1.0
    gross = 1.0 + abs(ratio)
    return np.array([f / gross, -f * ratio / gross])


def warmup(p: Params) -> int:
    if not p.exit_z < p.entry_z < p.stop_z:
        raise TrimtabError(
            f"pairs_reversion: expected exit_z < entry_z < stop_z, got {p.exit_z}, {p.entry_z}, {p.stop_z}; "
            "set stop_z to 100 for no stop."
        )
    if p.kalman and p.hedge_ratio > 0.0:
        raise TrimtabError("pairs_reversion: kalman finds its own hedge; expected hedge_ratio 0 with it.")
    if p.kalman:
        return p.lookback + _PINNED
    return p.lookback - 1 if p.current else p.lookback


STRATEGY = Strategy(
    name="pairs_reversion",
    n_legs=2,
    fields=("close",),
    params=Params(),
    ranges={
        "lookback": (3, 5_000),
        "entry_z": (0.1, 10.0),
        "exit_z": (0.0, 10.0),
        "stop_z": (0.2, 100.0),
        "max_holding": (0, 100_000),
        "hedge_ratio": (0.0, 100.0),
        "neutral": (DOLLAR, BETA),
        "max_notional": (0.001, 1.0),
        "rehedge": (0, 1),
        "kalman": (0, 1),
        "delta": (1e-12, 0.1),
        "noise": (0.0, 1e6),
        "current": (0, 1),
    },
    init=init,
    step=step,
    warmup=warmup,
    legs=legs,
)
