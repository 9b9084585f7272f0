"""Pairs selected: find the pairs that are tied among all instruments of the model, trade their spreads, look again.

Idea      which pairs are tied changes; a test on the last months says which to trade in the next weeks, if the many
          tests are held against the many chances to be lucky.
Selected  every `every` days (on Mondays where they are whole weeks), on the log closes of the last `window` bars, in
          this order:
          screen   returns of the two correlate by min_correlation or more. An instrument that correlates by more than
                   max_correlation with an earlier one of the universe is its copy and is left out
          test     Engle-Granger both ways with `lags`; the smaller p counts twice
          believe  Benjamini-Hochberg over all pairs that were tested: of those believed, a share `rate` may be luck
          confirm  Johansen's trace at 5% finds one tie (two would say that each series comes back by itself, which
                   walks without drift seem to one time in four), the hedge is above 0, and half of a gap closes in
                   min_half_life to max_half_life bars
          choose   smallest p first, each instrument in one pair at most, max_pairs at most
Formula   spread = log(close a) - hedge * log(close b); z = (spread - mean) / deviation (ddof = 1), with the hedge, mean
          and deviation of the window that chose the pair: never of bars that are traded.
          Enter, leave and stop as in pairs_reversion. While a pair is held all three are frozen, and once it is flat
          they are those of the newest selection; a pair that is no longer chosen is closed.
          forecast = max_notional * pairs held / max_pairs: each pair gets an equal part.
Legs      of each pair, neutral 0 (dollar): +1/2, -1/2; neutral 1 (beta): 1, -hedge, scaled to the pair's part.
Source    Engle, Granger (1987), Econometrica 55(2); Johansen (1991), Econometrica 59(6); Benjamini, Hochberg (1995), J.
          Royal Statistical Society B 57(1); Gatev, Goetzmann, Rouwenhorst (2006), Rev. Financial Studies 19(3) (a
          period of formation, then one of trading, with the moments of the first).
Fails     when ties break together (August 2007), and when a spread's mean moves on between two selections. Few pairs of
          coins or of stocks pass honest tests; that it often holds nothing is the tests at work.
Typical   win rate 55-65%, losses larger than wins; holds 5-30 bars, in the market less than half of the time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.cointegration import EngleGranger, discoveries, engle_granger, half_life, johansen, rank_of
from trimtab.kernels.compiled import compiled, inlined
from trimtab.strategies.pairs_reversion import BETA, DOLLAR, turn
from trimtab.types import DAY, F64, I64, Fit, NotEnoughData, Strategy, TrimtabError


class Params(NamedTuple):
    """window: bars that are tested; every: days between two selections; correlations: of log returns per bar.

    rate: of false discoveries; lags: of the tests; half lives: bars; entry_z, exit_z, stop_z: deviations; max_holding:
    bars, 0 no end; neutral: 0 dollar, 1 beta; max_notional: of all pairs together, a fraction of the model's share.
    """

    window: int = 250
    every: int = 28
    min_correlation: float = 0.5
    max_correlation: float = 0.99
    rate: float = 0.1
    lags: int = 1
    min_half_life: float = 2.0
    max_half_life: float = 60.0
    max_pairs: int = 5
    entry_z: float = 2.0
    exit_z: float = 0.5
    stop_z: float = 4.0
    max_holding: int = 60
    neutral: int = BETA
    max_notional: float = 1.0


class Fitted(NamedTuple):
    """pairs: how many were chosen, -1 before the first selection; of each its legs, and what values its spread."""

    pairs: int
    first: I64
    second: I64
    hedge: F64
    mean: F64
    deviation: F64


class State(NamedTuple):
    """fitted; and for each of max_pairs places its legs (-1: free), what values its spread, and what is held of it."""

    fitted: Fitted
    first: I64
    second: I64
    hedge: F64
    mean: F64
    deviation: F64
    side: F64
    held: I64
    blocked: I64


class Place(NamedTuple):
    """What `turn` reads of a pair's state."""

    side: float
    held: int
    blocked: int


@compiled
def init(p: Params) -> State:
    none, nothing, n = np.zeros(0, np.int64), np.zeros(0), p.max_pairs
    fitted = Fitted(-1, none, none.copy(), nothing, nothing.copy(), nothing.copy())
    legs, values = np.full(n, -1, np.int64), np.zeros(n)
    return State(
        fitted, legs, legs.copy(), values, values.copy(), values.copy(), values.copy(), np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )  # fmt: skip


@compiled
def settle(s: State) -> None:
    """Free the places of pairs that are no longer chosen, give new pairs a place, value those that are flat anew."""
    new = s.fitted
    for k in range(s.first.shape[0]):
        if s.first[k] < 0:
            continue
        at = -1
        for j in range(new.pairs):
            straight = new.first[j] == s.first[k] and new.second[j] == s.second[k]
            if straight or (new.first[j] == s.second[k] and new.second[j] == s.first[k]):
                at = j
        if at < 0:
            s.first[k], s.second[k], s.side[k], s.held[k], s.blocked[k] = -1, -1, 0.0, 0, 0
        elif s.side[k] == 0.0:
            place(s, k, at)
    # An instrument is in one pair at most, and what is no longer chosen is gone: one common leg means the same pair.
    for j in range(new.pairs):
        free = -1
        for k in range(s.first.shape[0] - 1, -1, -1):
            if s.first[k] == new.first[j] or s.first[k] == new.second[j]:
                free = -2
            elif s.first[k] < 0 and free > -2:
                free = k
        if free >= 0:
            place(s, free, j)


@compiled
def place(s: State, k: int, j: int) -> None:
    """Pair j of the selection in place k."""
    new = s.fitted
    s.first[k], s.second[k] = new.first[j], new.second[j]
    s.hedge[k], s.mean[k], s.deviation[k] = new.hedge[j], new.mean[j], new.deviation[j]


@compiled
def turn_all(p: Params, s: State, x: F64) -> int:
    """Let every pair enter, leave or stop at this row; how many are held after it."""
    held = 0
    for k in range(s.first.shape[0]):
        a, b = s.first[k], s.second[k]
        if a < 0:
            continue
        z = np.nan
        if x[a, 0] > 0.0 and x[b, 0] > 0.0:
            z = (math.log(x[a, 0]) - s.hedge[k] * math.log(x[b, 0]) - s.mean[k]) / s.deviation[k]
        side, since, blocked = turn(p, Place(s.side[k], s.held[k], s.blocked[k]), z, s.hedge[k])
        s.side[k], s.held[k], s.blocked[k] = side, since, blocked
        held += 1 if side != 0.0 else 0
    return held


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    if s.fitted.pairs < 0:
        return s, np.nan
    settle(s)
    return s, p.max_notional * turn_all(p, s, x) / p.max_pairs


@compiled
def legs(p: Params, s: State, x: F64, f: float) -> F64:
    """Leg weights of forecast f, from the state after step.

    -> (L,)  sum of |w| = |f|, in equal parts over the pairs held; 0 for what is in none of them
    """
    weights = np.zeros(x.shape[0])
    held = 0
    for k in range(s.side.shape[0]):
        held += 1 if s.side[k] != 0.0 else 0
    for k in range(s.side.shape[0]):
        if s.side[k] != 0.0:
            ratio = s.hedge[k] if p.neutral == BETA else 1.0
            part = s.side[k] * f / held
            weights[s.first[k]] += part / (1.0 + ratio)
            weights[s.second[k]] -= part * ratio / (1.0 + ratio)
    return weights


# --- selection -------------------------------------------------------------------------------------------------------


class Tested(NamedTuple):
    """A pair of columns, the first on the second, as the more telling of both ways."""

    first: int
    second: int
    test: EngleGranger


def fit(p: Params, x: F64) -> Fitted:
    """The pairs of a window of closes (W, L, 1); instruments with a close that is not above 0 are left out.

    NotEnoughData where fewer than two instruments moved.
    """
    close = x[:, :, 0]
    columns = [i for i in range(close.shape[1]) if (close[:, i] > 0.0).all()]
    logs = {i: np.log(close[:, i]) for i in columns}
    moves = {i: np.diff(logs[i]) for i in columns}
    moved = [i for i in columns if np.ptp(moves[i]) > 1e-9]
    if len(moved) < 2:
        raise NotEnoughData(f"{len(moved)} of {close.shape[1]} instruments moved in the window; a pair needs two")
    correlation = np.corrcoef([moves[i] for i in moved])
    distinct = _distinct(correlation, p.max_correlation)
    tested = [
        _both_ways(moved[i], moved[j], logs, p.lags)
        for n, i in enumerate(distinct)
        for j in distinct[n + 1 :]
        if correlation[i, j] >= p.min_correlation
    ]
    believed = discoveries(np.array([pair.test.p for pair in tested]), p.rate)
    chosen = _chosen(p, [tested[k] for k in believed], logs)
    spreads = [logs[pair.first] - pair.test.slope * logs[pair.second] for pair in chosen]
    return Fitted(
        len(chosen),
        np.array([pair.first for pair in chosen], np.int64),
        np.array([pair.second for pair in chosen], np.int64),
        np.array([pair.test.slope for pair in chosen], np.float64),
        np.array([spread.mean() for spread in spreads], np.float64),
        np.array([spread.std(ddof=1) for spread in spreads], np.float64),
    )


def _distinct(correlation: F64, most: float) -> list[int]:
    """The instruments that are no copy of an earlier one."""
    kept: list[int] = []
    for j in range(len(correlation)):
        if not any(abs(correlation[i, j]) > most for i in kept):
            kept.append(j)
    return kept


def _both_ways(a: int, b: int, logs: dict[int, F64], lags: int) -> Tested:
    """The direction with the smaller p, which counts twice: it was the better of two."""
    one, two = engle_granger(logs[a], logs[b], lags), engle_granger(logs[b], logs[a], lags)
    if math.isnan(one.p) or math.isnan(two.p):
        return Tested(a, b, one._replace(p=math.nan))
    first, second, test = (b, a, two) if two.p < one.p else (a, b, one)
    return Tested(first, second, test._replace(p=min(1.0, 2.0 * test.p)))


def _chosen(p: Params, believed: list[Tested], logs: dict[int, F64]) -> list[Tested]:
    """Of the believed pairs those that Johansen confirms and that come back in time; no instrument twice."""
    chosen: list[Tested] = []
    taken: set[int] = set()
    for pair in believed:
        if len(chosen) == p.max_pairs:
            break
        y, x = logs[pair.first], logs[pair.second]
        if pair.test.slope > 0.0 and not {pair.first, pair.second} & taken:
            life = half_life(y - pair.test.slope * x)
            if p.min_half_life <= life <= p.max_half_life and _tied(y, x, p.lags):
                chosen.append(pair)
                taken |= {pair.first, pair.second}
    return chosen


def _tied(y: F64, x: F64, lags: int) -> bool:
    try:
        return rank_of(johansen(np.stack((y, x), axis=1), lags)) == 1
    except TrimtabError:  # not independent of each other: one series twice
        return False


def window(p: Params) -> int:
    return p.window


def every(p: Params) -> int:
    return p.every * DAY


def warmup(p: Params) -> int:
    if not p.exit_z < p.entry_z < p.stop_z:
        raise TrimtabError(
            f"pairs_selected: expected exit_z < entry_z < stop_z, got {p.exit_z}, {p.entry_z}, {p.stop_z}; set stop_z "
            "to 100 for no stop."
        )
    for low, high in (("min_correlation", "max_correlation"), ("min_half_life", "max_half_life")):
        if not getattr(p, low) < getattr(p, high):
            raise TrimtabError(f"pairs_selected: expected {low} < {high}, got {getattr(p, low)}, {getattr(p, high)}.")
    return p.window - 1


STRATEGY = Strategy(
    name="pairs_selected",
    n_legs=0,
    fields=("close",),
    params=Params(),
    ranges={
        "window": (60, 5_000),
        "every": (1, 1_000),
        "min_correlation": (-1.0, 1.0),
        "max_correlation": (0.0, 1.0),
        "rate": (0.001, 1.0),
        "lags": (0, 10),
        "min_half_life": (0.0, 1_000.0),
        "max_half_life": (0.1, 100_000.0),
        "max_pairs": (1, 100),
        "entry_z": (0.1, 10.0),
        "exit_z": (0.0, 10.0),
        "stop_z": (0.2, 100.0),
        "max_holding": (0, 100_000),
        "neutral": (DOLLAR, BETA),
        "max_notional": (0.001, 1.0),
    },
    init=init,
    step=step,
    warmup=warmup,
    legs=legs,
    fit=Fit(of=fit, window=window, every=every),
)
