"""Efficient trend: with the direction of a path that is straight, until it is none any more.

Indicators of one's own, in Polars, read by a compiled step that remembers its side. Try it:

    trimtab check examples/efficient_trend.py
    trimtab strategies show examples/efficient_trend.py

Idea      a price that moves far by few detours is being pushed; one that moves as far by many is noise.
Formula   efficiency = |close - close of `window` bars ago| / sum of the |changes| between; in the direction of the move
          when it rises above `enter`, flat when it falls below `leave`.
Source    Kaufman (1995), Smarter Trading, ch. 7 (efficiency ratio).
Fails     where straight moves are overshoots.
Typical   win rate 35-45%; holds as long as the path is straight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from trimtab import Indicator, Strategy, TrimtabError
from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import F64


class Params(NamedTuple):
    """window: bars; enter, leave: of efficiency, 0 to 1."""

    window: int = 20
    enter: float = 0.45
    leave: float = 0.25


class State(NamedTuple):
    """side: of the position that is wanted."""

    side: float


def move(p: Params, frame: pl.DataFrame) -> pl.Expr:
    return pl.col("close") - pl.col("close").shift(p.window)


def efficiency(p: Params, frame: pl.DataFrame) -> pl.Expr:
    return move(p, frame).abs() / pl.col("close").diff().abs().rolling_sum(p.window)


@compiled
def init(p: Params) -> State:
    return State(0.0)


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    moved, straight = x[0, 0], x[0, 1]  # the fields that STRATEGY names, in that order
    if straight != straight:
        return s, np.nan
    side = s.side
    if straight > p.enter:
        side = 1.0 if moved > 0.0 else -1.0
    elif straight < p.leave:
        side = 0.0
    return State(side), side


def warmup(p: Params) -> int:
    """Rows before the first forecast."""
    if p.leave > p.enter:
        raise TrimtabError(f"efficient_trend: leave = {p.leave:g} is above enter = {p.enter:g}; give it less or equal")
    return p.window


STRATEGY = Strategy(
    name="efficient_trend",
    fields=("move", "efficiency"),
    params=Params(),
    ranges={"window": (2, 1_000), "enter": (0.0, 1.0), "leave": (0.0, 1.0)},
    init=init,
    step=step,
    warmup=warmup,
    indicators=(
        Indicator("move", move, ("close",), warmup),
        Indicator("efficiency", efficiency, ("close",), warmup),
    ),
)
