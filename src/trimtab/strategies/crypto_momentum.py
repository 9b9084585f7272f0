"""Crypto momentum: hold the coins that rose over one and over two months, those most whose rise was the smoothest.

Idea      coins trend over weeks, for news spreads slowly among holders who watch few of them; two horizons that agree
          are a trend, one alone is a jump.
Formula   every `every` days, on Mondays where they are whole weeks, on the first close at or after 00:00 UTC: counted
          from a fixed instant (trimtab.schedule) and not from the first bar
          in = close / (close `fast` days ago) > 1 and close / (close `slow` days ago) > 1
          score = mean of the two returns / deviation (ddof = 1) of the last `slow` daily returns; 0 if not in
          forecast = score / 100, at most 1
          Across the coins weight = score / the sum of all scores, at most `max_weight`; what the cap cuts stays cash,
          and so does everything while no coin is in. Between two instants scores stand still, and so do the weights.
Weights   already fractions of the model's budget.
Source    Liu, Tsyvinski (2021), Rev. Financial Studies 34(6) (coins' momentum of one to eight weeks); Barroso,
          Santa-Clara (2015), J. Financial Economics 116(1) (momentum over its volatility).
Fails     at V-shaped turns (May 2021): it sells a week late and is back two months later; and in ranges of a month,
          which buy the top of each swing. All coins fall together, so spreading over them is no protection.
Typical   win rate 40-50%, payoff 2-3; holds two to eight weeks, all in cash a third of the time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import DAY, F64, Fit, NotEnoughData, Strategy, TrimtabError

#: A score this large is a forecast of 1: beyond what any coin has shown, so that no two scores become equal by it.
_FULL = 100.0


class Params(NamedTuple):
    """fast, slow: days of the two returns; every: days between two decisions; max_weight: of one coin, fraction."""

    fast: int = 30
    slow: int = 60
    every: int = 7
    max_weight: float = 0.5


class Fitted(NamedTuple):
    """score: 0 for a coin that is not in, NaN before the first decision."""

    score: float


class State(NamedTuple):
    """fitted: the score of the last decision."""

    fitted: Fitted


@compiled
def init(p: Params) -> State:
    return State(Fitted(np.nan))


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    score = s.fitted.score
    return s, score / _FULL if score < _FULL or score != score else 1.0


def fit(p: Params, x: F64) -> Fitted:
    """The score of a window of closes (slow + 1, 1, 1); refused where one of them is not above 0."""
    close = x[:, 0, 0]
    if not (close > 0.0).all():
        raise NotEnoughData("a close of the window is not above 0, so its returns are not defined")
    fast, slow = close[-1] / close[-1 - p.fast] - 1.0, close[-1] / close[-1 - p.slow] - 1.0
    if not (fast > 0.0 and slow > 0.0):
        return Fitted(0.0)
    deviation = np.std(close[1:] / close[:-1] - 1.0, ddof=1)
    return Fitted(float(0.5 * (fast + slow) / max(deviation, 1e-12)))


@compiled
def across(p: Params, f: F64) -> F64:
    """Weights of the coins that are in.

    f  (N,)  score / 100: 0 not in, NaN abstains
    -> (N,)  in proportion to the scores, at most max_weight each; NaN stays NaN
    """
    total = 0.0
    for i in range(f.shape[0]):
        if f[i] > 0.0:
            total += f[i]
    weights = np.where(np.isnan(f), np.nan, 0.0)
    for i in range(f.shape[0]):
        if f[i] > 0.0:
            weights[i] = min(f[i] / total, p.max_weight)
    return weights


def window(p: Params) -> int:
    return p.slow + 1


def every(p: Params) -> int:
    return p.every * DAY


def warmup(p: Params) -> int:
    if p.fast >= p.slow:
        raise TrimtabError(f"crypto_momentum: fast ({p.fast}) must be below slow ({p.slow}).")
    return p.slow


STRATEGY = Strategy(
    name="crypto_momentum",
    asset_classes=("crypto",),
    timeframes=("1d",),
    fields=("close",),
    params=Params(),
    ranges={"fast": (1, 2_000), "slow": (3, 2_000), "every": (1, 1_000), "max_weight": (0.01, 1.0)},
    init=init,
    step=step,
    warmup=warmup,
    across=across,
    fit=Fit(of=fit, window=window, every=every),
)
