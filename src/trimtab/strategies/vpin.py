"""VPIN: where trading has been more one-sided than it mostly is, go with the side that has bought or sold; or go home.

Idea      who knows something trades it, one way and in size, until the price has it. So volume that stays on one side
          is a sign of informed traders; it is measured per volume and not per hour, as they come with volume.
Formula   bought share of a bar = Phi(price change / sigma), sigma = deviation (ddof 1) of the `sigma_window` changes
          before it. Bars fill `buckets` buckets of equal volume, split where they do not fit; a new one holds `size`
          times the mean volume of the last `volume_window` bars, as it is known before the bar that opens it.
          VPIN = sum of |bought - sold| over the volume of the last `buckets`, net = the same without the bars.
          Toxic: of the VPIN that stood at each of the last `history` bars a share of `percentile` or more is below it.
          forecast = net / VPIN, in [-1, 1], while toxic and for `hold` bars after it, else 0; with `aside` it is 0
          where that rule trades, and 1 elsewhere (0 while VPIN is 0): long, but not through toxic flow.
Source    Easley, López de Prado, O'Hara (2012), Rev. Financial Studies 25(5): there buckets of a fiftieth of a day's
          volume, 50 of them, from bars of a minute, and no forecast of a side: that is ours. Andersen, Bondarenko
          (2014), J. Financial Markets 17, find that it mostly repeats volume and volatility.
Fails     where one-sided flow is not informed (forced selling comes back), where volume is false or not known (bars
          without it are passed over, and the strategy abstains on them), and on bars so long that a bucket holds one.
          Bulk classification sees prices and volume only: it guesses sides.
Typical   on coins of 2020 to 2023, 1h, in the market 11% of the bars, 14 at a time; win rate 48-50%, payoff 1.05-1.13:
          7 to 11 bps of gross profit per turnover.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.vpin import Buckets, bought, buckets_init, buckets_step
from trimtab.kernels.window import WindowMoments, WindowSum, deviation, moments_init, moments_step, sum_init, sum_step
from trimtab.types import F64, Reason, Strategy


class Params(NamedTuple):
    """buckets: of VPIN; size: of one, in mean volumes of a bar; sigma_window, volume_window, history, hold: bars.

    percentile: of its own past at which VPIN is extreme, a fraction; aside: see above.
    """

    buckets: int = 10
    size: float = 5.0
    sigma_window: int = 50
    volume_window: int = 100
    history: int = 500
    percentile: float = 0.9
    hold: int = 0
    aside: bool = False


class State(NamedTuple):
    """changes: of the price; volumes; previous: close; past (history,): VPIN at the last bars, a ring; rows read.

    share: of the past that VPIN is above; left: bars until a forecast ends; forecast: the standing one
    """

    flow: Buckets
    changes: WindowMoments
    volumes: WindowSum
    previous: float
    past: F64
    rows: int
    share: float
    left: int
    forecast: float


@compiled
def init(p: Params) -> State:
    changes, volumes = moments_init(p.sigma_window), sum_init(p.volume_window)
    past = np.full(p.history, np.nan)
    return State(buckets_init(p.buckets), changes, volumes, np.nan, past, 0, np.nan, 0, 0.0)


@compiled
def share_below(past: F64, value: float) -> float:
    """The share of the past that is known and below the value; NaN where less than half of it is known."""
    below, known = 0, 0
    for k in range(past.shape[0]):
        below += past[k] < value
        known += past[k] == past[k]
    return below / known if 2 * known >= past.shape[0] else np.nan


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    close, volume = x[0, 0], x[0, 1]
    if not (close > 0.0 and volume >= 0.0 and close + volume < np.inf):
        return s, np.nan
    change = close - s.previous
    flow, changes = s.flow, s.changes
    mean = s.volumes.total / p.volume_window
    if mean > 0.0:
        flow = buckets_step(flow, volume, bought(change, deviation(changes, 1)), p.size * mean)
    if change == change:
        changes = moments_step(changes, change)
    volumes = sum_step(s.volumes, volume)
    share = share_below(s.past, flow.vpin)
    s.past[s.rows % p.history] = flow.vpin
    left, forecast = max(s.left - 1, 0), s.forecast
    if share >= p.percentile and flow.vpin > 0.0:
        left, forecast = p.hold + 1, flow.net / flow.vpin
    elif left == 0:
        forecast = 0.0
    told = forecast
    if p.aside:
        told = 1.0 if left == 0 and flow.vpin > 0.0 else 0.0
    warm = s.rows >= warm_after(p)
    s = State(flow, changes, volumes, close, s.past, s.rows + 1, share, left, forecast)
    return s, (told if warm else np.nan)


@inlined
def warm_after(p: Params) -> int:
    """Bars before the first forecast, if each had the mean volume."""
    return p.volume_window + math.ceil(p.buckets * p.size) + p.history


def warmup(p: Params) -> int:
    return p.volume_window + math.ceil(p.buckets * p.size) + p.history


def explain(p: Params, s: State) -> Reason:
    """Where VPIN stands in its own past."""
    return Reason("the share of its past that VPIN is above", float(s.share), -math.inf, p.percentile)


STRATEGY = Strategy(
    name="vpin",
    asset_classes=("crypto",),
    timeframes=("15m", "30m", "1h"),
    fields=("close", "volume"),
    params=Params(),
    ranges={
        "buckets": (1, 1_000),
        "size": (0.01, 1_000.0),
        "sigma_window": (2, 5_000),
        "volume_window": (2, 20_000),
        "history": (10, 20_000),
        "percentile": (0.5, 1.0),
        "hold": (0, 1_000),
        "aside": (0, 1),
    },
    init=init,
    step=step,
    warmup=warmup,
    explain=explain,
)
