"""A frame strategy for tests that is wrong in the way that its parameter says."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

import trimtab


class Params(NamedTuple):
    kind: int = 0
    warmup: int = 20


def forecast(p: Params, frame: pl.DataFrame):
    """Kind 0 is right."""
    if p.kind == 1:
        return pl.col("volume")
    if p.kind == 2:
        raise ValueError("no luck")
    if p.kind == 3:
        return pl.col("close").mean() * 0
    if p.kind == 4:
        return frame["close"].head(3)
    if p.kind == 5:
        return frame
    if p.kind == 6:
        return pl.col("close").cast(pl.String)
    if p.kind == 7:
        return pl.col("close").cast(pl.String).cast(pl.Datetime)
    return pl.col("close") > pl.col("close").shift(1)


STRATEGY = trimtab.frame_strategy(
    name="framed_wrong",
    forecast=forecast,
    fields=("close",),
    warmup=lambda p: p.warmup,
    params=Params(),
    ranges={"kind": (0, 7), "warmup": (-1, 20)},
)
