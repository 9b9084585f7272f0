"""Variance ratio: with the last move where q bars vary more than q times one bar, against it where they vary less.

Idea      a walk's variance grows in proportion to time. Where that of q bars is larger, moves go on (trend); where it
          is smaller they are taken back (reversion). Over which q is not known before, so several are tried at once.
Formula   X = log close; over the last `window` moves, with their mean m and deviation s:
          VR(q) = variance of X_t - X_{t-q} (overlapping, drift and bias removed) / (q * variance of one move)
          z*(q) = (VR(q) - 1) / its error under changing variance; q = 2, 4, 8, 16.
          The q of the largest |z*| counts if that is above c, which the largest of the four passes on noise with
          probability `level` or less (Chow, Denning: the studentised maximum modulus, c = 2.49 at 5%).
          score = (X_t - X_{t-q} - q m) / (s sqrt(q)); forecast = score / full where VR > 1, -score / full where VR < 1,
          at most 1 in size; 0 where no q counts.
Source    Lo, MacKinlay (1988), Rev. Financial Studies 1(1); Campbell, Lo, MacKinlay (1997), The Econometrics of
          Financial Markets, 2.4; Chow, Denning (1993), J. Econometrics 58(3). The forecast from the score is ours.
Fails     on stale or bouncing prices (VR < 1 that nobody can trade) and where costs eat small moves; q above a tenth of
          the window is biased and skewed. While the window holds a price that is not above 0 it abstains.
Typical   on coins of 2020 to 2023 in the market 0-4% of the bars, mostly with VR < 1, two or three at a time; win rate
          65-70%, payoff about one half: before costs as good as nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.autocorrelation import sidak, spread
from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.variance_ratio import HORIZONS, WindowRatios, move, ratios_init, ratios_step, strongest
from trimtab.types import F64, Reason, Strategy


class Params(NamedTuple):
    """window: moves; level: probability that noise is traded, of all q together; full: score of a forecast of 1."""

    window: int = 500
    level: float = 0.05
    full: float = 1.5


class State(NamedTuple):
    """ratios: the window; bound: of the largest |z*|."""

    ratios: WindowRatios
    bound: float


@compiled
def init(p: Params) -> State:
    return State(ratios_init(p.window), sidak(p.level, len(HORIZONS)))


@compiled
def said(p: Params, ratios: WindowRatios, bound: float) -> float:
    """The forecast; 0 inside the band and where nothing moves, NaN where the window is not whole."""
    if not ratios.moves.cross[0] >= 0.0:
        return np.nan
    best = strongest(ratios.z)
    deviation = spread(ratios.moves)
    if not (abs(ratios.z[best]) > bound and deviation > 0.0):
        return 0.0
    q = 2 << best
    score = (move(ratios, q) - q * ratios.moves.mean) / (deviation * math.sqrt(q))
    sign = 1.0 if ratios.ratio[best] > 1.0 else -1.0
    return min(1.0, max(-1.0, sign * score / p.full))


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    level = math.log(x[0, 0]) if x[0, 0] > 0.0 else np.nan
    ratios = ratios_step(s.ratios, level)
    return State(ratios, s.bound), said(p, ratios, s.bound)


def warmup(p: Params) -> int:
    return p.window


def explain(p: Params, s: State) -> Reason:
    """The horizon whose ratio lies furthest from 1."""
    best = int(strongest(s.ratios.z))
    what = f"robust z of the variance ratio over {HORIZONS[best]} bars (VR = {s.ratios.ratio[best]:.3f})"
    return Reason(what, float(s.ratios.z[best]), -s.bound, s.bound, p.level)


STRATEGY = Strategy(
    name="variance_ratio",
    timeframes=("1h", "4h"),
    fields=("close",),
    params=Params(),
    ranges={"window": (32, 20_000), "level": (1e-6, 0.5), "full": (0.01, 10.0)},
    init=init,
    step=step,
    warmup=warmup,
    explain=explain,
)
