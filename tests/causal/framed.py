"""A frame strategy for tests: honest, or a cheat in the way that its parameter says."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

import trimtab

CALLS: list[int] = []


class Params(NamedTuple):
    kind: int = 0
    warmup: int = 60


def forecast(p: Params, frame: pl.DataFrame) -> pl.Expr | pl.Series:
    """Kinds 0 to 9 are honest."""
    close = pl.col("close")
    rose = (close / close.shift(1) - 1.0) * 20.0
    said = {
        0: (close / close.rolling_mean(30) - 1.0) * 5.0,
        1: (close / close.ewm_mean(half_life=1.5) - 1.0) * 5.0,  # 60 rows are 40 half-lives
        2: rose.rolling_quantile(0.3, window_size=50),
        3: close.diff().sign().rolling_sum(20) / 20.0,
        10: (close / close.ewm_mean(half_life=15) - 1.0) * 5.0,
        11: rose.cum_sum() / 10.0,
        12: (close / close.rolling_mean(75) - 1.0) * 5.0,
        20: (close.shift(-1) / close - 1.0) * 5.0,
        21: (close / close.mean() - 1.0) * 5.0,
        22: (close / close.rolling_mean(21, center=True) - 1.0) * 5.0,
    }
    if p.kind == 30:
        CALLS.append(len(frame))
        return frame["close"] * 0.0 + (len(CALLS) % 7) / 7.0
    return said[p.kind].clip(-1.0, 1.0)


STRATEGY = trimtab.frame_strategy(
    name="framed",
    forecast=forecast,
    fields=("close",),
    warmup=lambda p: p.warmup,
    params=Params(),
    ranges={"kind": (0, 30), "warmup": (0, 600)},
)
