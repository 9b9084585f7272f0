"""One function of a frame for each cheat and each honest near-miss, and the three forms in which a user can have it.

`made(name, frame)` is what somebody computes over all the rows at once: a column, wrong or right. FRAMED, INDICATED and
COLUMN are strategies of it: a frame strategy, an indicator that a compiled step reads, and a column of the data.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import trimtab
from trimtab import Indicator, Strategy
from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import F64

Made = pl.Expr | pl.Series
INSTANT = pl.Datetime("ns", "UTC")
CLOSE, VOLUME = pl.col("close"), pl.col("volume")
#: Bars are known at ts, their close: the day of a bar is that of the instant before.
DAY = (pl.col("ts") - pl.duration(nanoseconds=1)).dt.truncate("1d")


def _low_pass(x: F64, keep: float) -> F64:
    spectrum = np.fft.rfft(x)
    spectrum[int(len(spectrum) * keep) :] = 0.0
    return np.fft.irfft(spectrum, len(x))


def _haar(x: F64, level: int) -> F64:
    """The approximation of the decimated Haar transform: means of blocks."""
    size = 2**level
    padded = np.pad(x, (0, -len(x) % size), mode="edge")
    return padded.reshape(-1, size).mean(axis=1).repeat(size)[: len(x)]


def _stationary_haar(x: F64, level: int) -> F64:
    """The approximation of the stationary Haar transform, periodic as libraries have it."""
    for j in range(level):
        x = (x + np.roll(x, -(2**j))) / 2.0
    return x


def _to_close(made: F64, frame: pl.DataFrame) -> pl.Series:
    return frame["close"] / pl.Series(made) - 1.0


def _resampled(frame: pl.DataFrame, every: str, late: bool) -> pl.Series:
    """The close of each slower bar: from its start on, or from its end on."""
    opened = frame.select((pl.col("ts") - pl.duration(hours=1)).cast(INSTANT).alias("at"), "close")
    slow = opened.group_by_dynamic("at", every=every, label="right" if late else "left", closed="left")
    slow = slow.agg(CLOSE.last().alias("slow"))
    at = frame.select(pl.col("ts").cast(INSTANT) if late else opened["at"].alias("ts"))
    return at.join_asof(slow, left_on="ts", right_on="at", strategy="backward")["slow"]


def _trailing_low_pass(frame: pl.DataFrame) -> pl.Series:
    x = frame["close"].to_numpy()
    out = np.full(len(x), np.nan)
    if len(x) >= 64:
        # The last value of the low-pass of 64 rows is a weighted sum of them.
        weights = _low_pass(np.eye(64)[0], 0.2)
        out[63:] = sum(w * x[63 - k : len(x) - k] for k, w in enumerate(weights))
    return _to_close(out, frame).fill_nan(None)


MACRO: list[Any] = []


def _published(lag_days: float) -> Callable[[pl.DataFrame], Made]:
    """A series by its date label and that many days."""

    def joined(frame: pl.DataFrame) -> Made:
        series = macro_series(frame["ts"].dt.timestamp("ns").to_numpy().astype(np.int64))
        later = series.with_columns(at=(pl.col("at") + pl.duration(hours=int(24 * lag_days))).cast(INSTANT))
        return frame.select(pl.col("ts").cast(INSTANT)).join_asof(
            later, left_on="ts", right_on="at", strategy="backward"
        )["value"]

    return joined


def macro_series(ts: Any) -> pl.DataFrame:
    """A figure for every three days of the rows: date label, value."""
    period = 3 * 86_400_000_000_000
    first = int(ts[0]) // period * period
    labels = np.arange(first, int(ts[-1]), period)
    value = np.random.default_rng(5).normal(size=len(labels)).cumsum()
    return pl.DataFrame({"at": pl.Series(labels).cast(INSTANT), "value": value})


def _hidden(frame: pl.DataFrame) -> pl.Series:
    MACRO.append(float(frame["close"][-1]))
    return frame["close"] / float(np.mean(MACRO[-9:])) - 1.0


def _drawn(frame: pl.DataFrame) -> pl.Series:
    return pl.Series(np.random.uniform(-1.0, 1.0, len(frame)))  # noqa: NPY002


CHEATS: dict[str, Callable[[pl.DataFrame], Made]] = {
    "shift": lambda f: CLOSE.shift(-1),
    "centred mean": lambda f: CLOSE / CLOSE.rolling_mean(21, center=True) - 1.0,
    "centred maximum": lambda f: pl.col("high").rolling_max(21, center=True),
    "extremes": lambda f: (CLOSE - CLOSE.min()) / (CLOSE.max() - CLOSE.min()),
    "largest": lambda f: CLOSE / CLOSE.max(),
    "mean": lambda f: CLOSE - CLOSE.mean(),
    "deviation": lambda f: (CLOSE / CLOSE.shift(1) - 1.0) / (CLOSE / CLOSE.shift(1) - 1.0).std(),
    "mean and deviation": lambda f: (CLOSE - CLOSE.mean()) / CLOSE.std(),
    "rank": lambda f: CLOSE.rank() / CLOSE.len(),
    "fill backwards": lambda f: VOLUME.backward_fill(),
    "fft": lambda f: _to_close(_low_pass(f["close"].to_numpy(), 0.05), f),
    "dwt": lambda f: _to_close(_haar(f["close"].to_numpy(), 3), f),
    "swt": lambda f: _to_close(_stationary_haar(f["close"].to_numpy(), 3), f),
    "day by its open": lambda f: CLOSE.last().over(DAY),
    "day's high by its open": lambda f: pl.col("high").max().over(DAY),
    "resample by the left label": lambda f: _resampled(f, "4h", late=False),
    "macro without lag": _published(0.0),
    "the bar it trades": lambda f: CLOSE.shift(-1) / pl.col("open").shift(-1) - 1.0,
    "its direction": lambda f: (CLOSE.shift(-1) - pl.col("open").shift(-1)).sign(),
    "hidden state": _hidden,
    "where history starts": lambda f: pl.Series((np.arange(len(f)) % 5 - 2) / 2.0),
    "a draw": _drawn,
}

HONEST: dict[str, Callable[[pl.DataFrame], Made]] = {
    "an average": lambda f: CLOSE / CLOSE.rolling_mean(50) - 1.0,
    "a long warm-up": lambda f: CLOSE / CLOSE.rolling_mean(500) - 1.0,
    "a fading average": lambda f: CLOSE / CLOSE.ewm_mean(half_life=1.5) - 1.0,
    "a score of its window": lambda f: (CLOSE - CLOSE.rolling_mean(60)) / CLOSE.rolling_std(60),
    "place between extremes of its window": lambda f: (
        (CLOSE - pl.col("low").rolling_min(40)) / (pl.col("high").rolling_max(40) - pl.col("low").rolling_min(40))
    ),
    "a lag": lambda f: CLOSE.shift(1),
    "a channel": lambda f: pl.col("high").rolling_max(20).shift(1),
    "a causal filter": lambda f: 0.48 * CLOSE + 0.84 * CLOSE.shift(1) + 0.22 * CLOSE.shift(2) - 0.13 * CLOSE.shift(3),
    "a filter of its window": _trailing_low_pass,
    "a fill forwards": lambda f: VOLUME.forward_fill(),
    "high of the day so far": lambda f: pl.col("high").cum_max().over(DAY),
    "slower bars by their end": lambda f: _resampled(f, "4h", late=True),
    "volatility": lambda f: (CLOSE / CLOSE.shift(1) - 1.0).rolling_std(30),
    "volume against its average": lambda f: VOLUME / VOLUME.rolling_mean(30, min_samples=10),
    "reversal": lambda f: 1.0 - CLOSE / CLOSE.shift(3),
    "hour of the day": lambda f: (pl.col("ts").dt.hour().cast(pl.Float64) * (np.pi / 12.0)).sin(),
}

#: Right as columns, where frames begin with the first row; in an indicator they count from the start of its frame.
EXPANDING: dict[str, Callable[[pl.DataFrame], Made]] = {
    "an expanding mean": lambda f: CLOSE / (CLOSE.cum_sum() / pl.int_range(1, pl.len() + 1)) - 1.0,
    "an expanding score": lambda f: _expanding_score(f["close"].to_numpy()),
    "a drawdown": lambda f: CLOSE / CLOSE.cum_max() - 1.0,
    "the high so far": lambda f: pl.col("high").cum_max(),
    "volume on balance": lambda f: (CLOSE.diff().sign() * VOLUME.fill_null(0.0)).cum_sum(),
    "macro with its lag": _published(3.0),
    "noise with a seed": lambda f: pl.Series(np.random.default_rng(1).normal(size=len(f))),
    "an unrelated walk": lambda f: pl.Series(np.random.default_rng(2).normal(size=len(f)).cumsum()),
}


def _expanding_score(x: F64) -> pl.Series:
    count = np.arange(1, len(x) + 1)
    mean = np.cumsum(x) / count
    spread = np.sqrt(np.maximum(np.cumsum(x * x) / count - mean**2, 0.0))
    return pl.Series(np.where(count > 30, (x - mean) / np.where(spread > 0.0, spread, 1.0), np.nan)).fill_nan(None)


ALL = {**CHEATS, **HONEST, **EXPANDING}
NAMES = list(ALL)


def made(name: str, frame: pl.DataFrame) -> F64:
    """The column of a name over all rows of a frame, NaN where it has none."""
    found = ALL[name](frame)
    series = frame.select(found).to_series() if isinstance(found, pl.Expr) else found
    return series.cast(pl.Float64).to_numpy(writable=True)


class Params(NamedTuple):
    """kind: place in NAMES; warmup: rows."""

    kind: int = 0
    warmup: int = 80


class State(NamedTuple):
    rows: int


def make(p: Params, frame: pl.DataFrame) -> Made:
    return ALL[NAMES[p.kind]](frame)


def forecast(p: Params, frame: pl.DataFrame) -> Made:
    """Whatever it is, squeezed into -1 to 1 so that every change shows."""
    found = make(p, frame)
    scaled = found / (1.0 + found.abs())
    return pl.select(scaled).to_series() if isinstance(found, pl.Series) and isinstance(scaled, pl.Expr) else scaled


@compiled
def init(p: Params) -> State:
    return State(0)


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    value = x[0, 0]
    return State(s.rows + 1), (value / (1.0 + abs(value)) if s.rows >= p.warmup else np.nan)


def warmup(p: Params) -> int:
    return p.warmup


READS = ("open", "high", "low", "close", "volume")
GIVEN: dict[str, Any] = {"params": Params(), "ranges": {"kind": (0, len(NAMES) - 1), "warmup": (0, 600)}}
FRAMED = trimtab.frame_strategy(name="framed_maker", forecast=forecast, fields=READS, warmup=warmup, **GIVEN)
INDICATED = Strategy(
    name="indicated_maker",
    fields=("made",),
    init=init,
    step=step,
    warmup=warmup,
    indicators=(Indicator("made", make, READS, warmup),),
    **GIVEN,
)
COLUMN = Strategy(name="column_maker", fields=("made", "close"), init=init, step=step, warmup=warmup, **GIVEN)
STRATEGY = FRAMED
MODULE = sys.modules[__name__]
