"""A frame strategy for tests: averages that fade, of two fields that the whole range of a bar is in."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

import trimtab


class Params(NamedTuple):
    half_life: float = 1.5


def forecast(p: Params, frame: pl.DataFrame) -> pl.Series:
    middle, close = (frame["high"] + frame["low"]) / 2.0, frame["close"]
    fast, slow = close.ewm_mean(half_life=p.half_life), middle.ewm_mean(half_life=3.0 * p.half_life)
    return ((fast / slow - 1.0) * 50.0).clip(-1.0, 1.0)


STRATEGY = trimtab.frame_strategy(
    name="framed_ewm",
    forecast=forecast,
    fields=("high", "low", "close"),
    warmup=lambda p: round(120 * p.half_life),
    params=Params(),
    ranges={"half_life": (0.5, 3.0)},
)
