"""Frame reversal: against the distance from the average, in Polars, without a compiled step.

A frame strategy of one's own in one file. Try it:

    trimtab check examples/frame_reversal.py
    trimtab strategies show examples/frame_reversal.py

Idea      a close far from its average, on more volume than usual, is a push that is taken back in part.
Formula   score = (close - mean) / deviation over the last `window` bars; forecast = -score / full_z, within -1 and 1,
          where the volume is above its own average, else 0.
Source    Campbell, Grossman, Wang (1993), Trading Volume and Serial Correlation in Stock Returns, QJE 108(4).
Fails     when the push was news: it is against every trend.
Typical   win rate 55-60%; holds 1-3 bars.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

import trimtab


class Params(NamedTuple):
    """window: bars; full_z: deviations at which the forecast is whole."""

    window: int = 30
    full_z: float = 3.0


def forecast(p: Params, frame: pl.DataFrame) -> pl.Expr:
    """An expression per row of the frame: a window ends with its row, so no row knows a later one."""
    close, volume = pl.col("close"), pl.col("volume")
    score = (close - close.rolling_mean(p.window)) / close.rolling_std(p.window)
    # A price that stands still has a deviation of zero: there is nothing to take back.
    against = pl.when(score.is_finite()).then((-score / p.full_z).clip(-1.0, 1.0)).otherwise(0.0)
    pushed = volume > volume.rolling_mean(p.window, min_samples=1)
    return pl.when(pushed).then(against).otherwise(0.0)


STRATEGY = trimtab.frame_strategy(
    name="frame_reversal",
    forecast=forecast,
    fields=("close", "volume"),
    warmup=lambda p: p.window - 1,
    params=Params(),
    ranges={"window": (3, 1_000), "full_z": (0.5, 10.0)},
)
