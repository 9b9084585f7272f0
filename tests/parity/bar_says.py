"""A strategy for tests: its forecast is a number in which every field of the bar is, and it says so on every bar."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from trimtab.types import Strategy


class Params(NamedTuple):
    none: int = 0


class State(NamedTuple):
    kept: np.ndarray
    rows: int


@njit(cache=True)
def init(p):
    return State(np.zeros(7), 0)


@njit(cache=True)
def step(p, s, x):
    said = 0.0
    for k in range(7):
        value = x[0, k]
        if value == value:
            said += np.sin(value * (k + 1.0)) / 7.0
        s.kept[k] += said
    return State(s.kept, s.rows + 1), said


def warmup(p):
    return 0


STRATEGY = Strategy(
    name="bar_says",
    fields=("open", "high", "low", "close", "volume", "duration", "ticks"),
    params=Params(),
    ranges={"none": (0, 1)},
    init=init,
    step=step,
    warmup=warmup,
)
